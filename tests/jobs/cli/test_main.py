from __future__ import annotations

import tomllib

import pytest
from conftest import ROOT

from jobs.cli.main import main

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    """`gristmill --version` says that of the project, on stdout, and ends well."""
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"gristmill {PROJECT['version']}\n"


def test_what_the_package_says_of_itself() -> None:
    """Type checkers find our types, and the metadata says where to look for more."""
    for package in ("engine", "jobs"):
        assert (ROOT / package / "py.typed").is_file()
    assert PROJECT["urls"].keys() == {"Repository", "Documentation", "Changelog", "Issues"}
    assert "Typing :: Typed" in PROJECT["classifiers"]
