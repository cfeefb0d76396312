"""The reference page of the configuration, and its JSON schema."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from conftest import ROOT

from jobs.config import Config
from jobs.config.reference import files, page, schema

PAGE = page()


def keys(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every key of every section, as "SECTION.KEY", but for those that are sections themselves."""
    for section, part in {"Config": schema, **schema["$defs"]}.items():
        for name, key in part["properties"].items():
            if not ("$ref" in key or key.get("type") == "object"):
                yield f"{section}.{name}", key


@pytest.mark.parametrize("name", files())
def test_the_files_are_up_to_date(name: str) -> None:
    """What stands in docs/ is what `make docs` writes."""
    assert (ROOT / "docs" / name).read_text("utf-8") == files()[name], "run make docs"


def test_every_key_is_described() -> None:
    """Each key has a description of a few sentences, and it stands on the page with its default."""
    for name, key in keys(schema()):
        said = key["description"]
        assert said.endswith("."), name
        assert len(said) < 350, name
        assert f"| `{name.partition('.')[2]}` | " in PAGE, name
        assert f" | {said} |" in PAGE, name


def test_every_section_is_on_the_page() -> None:
    """The page has a heading for each section of a configuration that has keys."""
    titles = " ".join(line for line in PAGE.splitlines() if line.startswith("## "))
    sections = {name for name, value in Config().model_dump().items() if isinstance(value, dict)}
    assert not [name for name in sections - {"models"} if f"[{name}" not in titles]
    assert "[models.judge], [models.embedding], [models.candidates.NAME]" in titles
