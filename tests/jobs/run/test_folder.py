from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from fake_disk import Disk

from engine.errors import BadInput, Fatal
from jobs.config import Config
from jobs.records import Chunk, Verdict
from jobs.run.configfile import validate
from jobs.run.folder import RunFolder

CONTRACT = [
    *("papers", "chunks", "questions", "pairs", "index", "probes", "critiques", "curated"),
    *("examples", "responses", "similarities", "verdicts", "assessments", "rejudgements", "preferences"),
]


def test_the_layout(tmp_path: Path) -> None:
    """Every dataset has its folder in the run, in the order in which they are made; naming them makes none."""
    folder = RunFolder(tmp_path / "run")
    datasets = folder.datasets()
    assert list(datasets) == CONTRACT
    assert [dataset.folder for dataset in datasets.values()] == [tmp_path / "run" / name for name in CONTRACT]
    assert (datasets["chunks"].row, datasets["verdicts"].row) == (Chunk, Verdict)
    assert not (tmp_path / "run").exists()


def test_what_can_become_a_run(tmp_path: Path) -> None:
    """A folder that is not there, an empty one and a run can be used; a file or somebody's folder cannot."""
    run = RunFolder(tmp_path / "a" / "run")
    run.check_usable()
    (tmp_path / "empty").mkdir()
    RunFolder(tmp_path / "empty").check_usable()
    with run.held(Config()):
        pass
    run.check_usable()
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match="is a file; name a folder"):
        RunFolder(tmp_path / "file").check_usable()
    with pytest.raises(BadInput, match="not a run, and not empty"):
        RunFolder(tmp_path).check_usable()


def test_the_configuration_is_kept(tmp_path: Path) -> None:
    """While it is held a run has its configuration, and keeps it afterwards."""
    folder = RunFolder(tmp_path / "run")
    config = validate({"seed": 7, "split": {"by": "paper"}})
    assert not folder.exists
    with folder.held(config):
        assert folder.config() == config
    assert folder.config() == config
    with folder.held(Config()):
        pass
    assert folder.config() == Config()


def test_what_is_no_run(tmp_path: Path) -> None:
    """A folder without run.toml is no run, and says how to make one."""
    with pytest.raises(BadInput, match=r"is not a run \(it has no run\.toml\); make one with gristmill run"):
        RunFolder(tmp_path).config()


def test_a_second_process(tmp_path: Path) -> None:
    """Who comes second is refused and changes nothing; after the first has gone, the run can be held again."""
    folder, second = RunFolder(tmp_path / "run"), RunFolder(tmp_path / "run")
    with folder.held(validate({"seed": 1})):
        with pytest.raises(Fatal), second.held(validate({"seed": 2})):
            pass
        assert folder.config().seed == 1
    with second.held(validate({"seed": 2})):
        assert folder.config().seed == 2


def test_a_new_run_outlives_a_power_cut(tmp_path: Path) -> None:
    """Once a run is held, its folder and those that were made for it are on the disk, by name too."""
    disk, folder = Disk(tmp_path), RunFolder(tmp_path / "runs" / "first" / "run")
    with disk.mounted(), folder.held(Config()):
        pass
    for seed in range(20):
        disk.crash(Random(seed))
        assert folder.exists
        assert (folder.path / "papers").is_dir()
