from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from random import Random

import pytest
from fake_disk import Disk, Fault, contents, kill_at, live

from engine.datasets import Dataset
from engine.errors import BadInput, Fatal
from engine.job import Step
from engine.records import make_id
from engine.signals import Stop, Stopped
from jobs.parsing.deal import Catalogue, deal, shard_size
from jobs.parsing.find import Place, count_papers, find_papers
from jobs.records import Paper


class Run:
    """What dealing needs of a run: its papers and its catalogue, opened anew for each start."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        (folder / "papers").mkdir(exist_ok=True)
        self.stop = Stop()
        self.papers = Dataset(folder / "papers", Paper)
        self.catalogue = Catalogue(folder / "papers" / "catalogue.sqlite3")

    async def deal(self, *paths: Path, per_shard: int = 32) -> list[list[Paper]]:
        step: Step = deal(paths, self.papers, self.catalogue, per_shard=per_shard, stop=self.stop)
        try:
            await step.run()
        finally:
            self.catalogue.close()
        return [self.papers.read(index) for index in self.papers.sealed()]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "in"
    made.mkdir()
    return made


def write(folder: Path, *names: str) -> list[Path]:
    paths = [folder / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"%PDF of " + os.fsencode(path.name))
    return paths


def names(places: Sequence[Place]) -> list[str]:
    return [Path(place.name).name for place in places]


# Finding


def test_the_order(folder: Path) -> None:
    """Papers come folder by folder in order of name, below each folder too, and in the order that was given."""
    write(folder, "b.pdf", "a/z.pdf", "a/y/x.PDF", "c.Pdf", "notes.doc", "a.pdf.bak", "d")
    assert names(list(find_papers([folder]))) == ["x.PDF", "z.pdf", "b.pdf", "c.Pdf"]
    assert names(list(find_papers([folder / "c.Pdf", folder / "a"]))) == ["c.Pdf", "x.PDF", "z.pdf"]


def test_a_named_file_needs_no_suffix(folder: Path) -> None:
    """A file that is named is a paper whatever it is called; parsing says what it is not."""
    assert names(list(find_papers(write(folder, "paper.ps")))) == ["paper.ps"]


def test_symlinks(folder: Path, tmp_path: Path) -> None:
    """Links to papers and folders are followed, each folder once, so a loop ends."""
    [outside, _] = write(tmp_path, "elsewhere/outside.pdf", "shelf/x.pdf")
    (folder / "shelf").symlink_to(tmp_path / "shelf")
    (folder / "shelf-again").symlink_to(tmp_path / "shelf")
    (folder / "link.pdf").symlink_to(outside)
    (folder / "loop").symlink_to(folder)
    (folder / "broken.pdf").symlink_to(folder / "nowhere")
    (folder / "itself.pdf").symlink_to(folder / "itself.pdf")
    (folder / "endless").symlink_to(folder / "endless")
    assert names(list(find_papers([folder]))) == ["broken.pdf", "itself.pdf", "link.pdf", "x.pdf"]
    (tmp_path / "given").symlink_to(folder)
    assert names(list(find_papers([tmp_path / "given"]))) == ["broken.pdf", "itself.pdf", "link.pdf", "x.pdf"]


def test_runs_hold_no_papers(folder: Path) -> None:
    """A run below a folder of papers is not looked into: its rows and exports are no papers."""
    write(folder, "a.pdf", "run/run.toml", "run/chunks/b.pdf")
    assert names(list(find_papers([folder]))) == ["a.pdf"]


def test_what_is_not_there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path that is not there, and a folder that cannot be listed, are bad input that is named."""
    with pytest.raises(BadInput, match=r"there is no file or folder .*gone"):
        list(find_papers([folder / "gone"]))

    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(BadInput, match=r"cannot read the folder .*in: Permission denied"):
        list(find_papers([folder]))


def test_counting(folder: Path) -> None:
    """Papers are counted no further than is asked; none at all is bad input, unless none was asked for."""
    with pytest.raises(BadInput, match="no papers found"):
        count_papers([folder], enough=20)
    write(folder, *(f"{number}.pdf" for number in range(7)))
    assert count_papers([folder], enough=20) == 7
    assert count_papers([folder], enough=3) == 3
    assert count_papers([], enough=3) == 0


# Dealing


async def test_the_sizes_of_shards(folder: Path, tmp_path: Path) -> None:
    """The first shards are small, so that work starts at once, up to the size that was set; the order is kept."""
    write(folder, *(f"{number:02}.pdf" for number in range(30)))
    shards = await Run(tmp_path / "run").deal(folder, per_shard=9)
    assert [len(shard) for shard in shards] == [2, 4, 8, 9, 7]
    assert [Path(row.path).name for shard in shards for row in shard] == [f"{number:02}.pdf" for number in range(30)]


def test_shards_grow_with_the_corpus() -> None:
    sizes = [shard_size(index, "auto") for index in range(4200)]
    assert sizes[:7] == [2, 4, 8, 16, 32, 32, 32]
    assert [sizes[index] for index in (63, 64, 127, 128, 191, 192, 4000)] == [32, 64, 64, 128, 128, 256, 256]
    assert sum(sizes) > 1_000_000
    assert {shard_size(index, 5) for index in range(3, 300)} == {5}


async def test_the_row(folder: Path, tmp_path: Path) -> None:
    """A paper's row has its absolute path, its size and its checksum; the id comes from the bytes, not the place."""
    [path] = write(folder, "a.pdf")
    [[row]] = await Run(tmp_path / "run").deal(path)
    digest = sha256(path.read_bytes()).hexdigest()
    assert row == Paper(
        id=make_id("paper", digest, 0), parent="", path=str(path), sha256=digest, bytes=len(path.read_bytes())
    )
    [moved] = write(tmp_path / "other", "a.pdf")
    [[again]] = await Run(tmp_path / "run2").deal(moved)
    assert again.id == row.id


async def test_relative_paths(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path that was given from somewhere else is the same paper."""
    write(folder, "a.pdf")
    monkeypatch.chdir(tmp_path)
    [[row]] = await Run(tmp_path / "run").deal(Path("in"))
    assert row.path == str(folder / "a.pdf")
    assert len(await Run(tmp_path / "run").deal(folder, Path("in"), folder / "a.pdf")) == 1


async def test_one_folder_spelt_in_two_ways(folder: Path, tmp_path: Path) -> None:
    """The papers of a folder that is named again by another path, or through a link, are not dealt again."""
    write(folder, "a.pdf")
    (tmp_path / "link").symlink_to(folder)
    dealt = await Run(tmp_path / "run").deal(folder)
    again = (folder / ".." / "in", tmp_path / "link", tmp_path / "link" / "a.pdf")
    assert await Run(tmp_path / "run").deal(*again) == dealt


async def test_same_bytes_twice(folder: Path, tmp_path: Path) -> None:
    """Copies get rows of their own with ids of their own, within a shard, over shards and over restarts."""
    for name in ("a.pdf", "b.pdf", "c.pdf"):
        (folder / name).write_bytes(b"%PDF the same")
    await Run(tmp_path / "run").deal(folder)
    (folder / "d.pdf").write_bytes(b"%PDF the same")
    rows = [row for shard in await Run(tmp_path / "run").deal(folder) for row in shard]
    assert [Path(row.path).name for row in rows] == ["a.pdf", "b.pdf", "c.pdf", "d.pdf"]
    assert [row.id for row in rows] == [make_id("paper", rows[0].sha256, copy) for copy in range(4)]


async def test_a_corpus_at_another_path(folder: Path, tmp_path: Path) -> None:
    """Papers that were dealt are known by their bytes when their folder has moved or is copied; new ones are dealt."""
    write(folder, "a.pdf", "b.pdf", "c.pdf")
    (folder / "same.pdf").write_bytes((folder / "a.pdf").read_bytes())
    first = await Run(tmp_path / "run").deal(folder)
    copied = shutil.copytree(folder, tmp_path / "copied")
    moved = shutil.move(folder, tmp_path / "moved")
    for place in (moved, copied, moved):
        assert await Run(tmp_path / "run").deal(place) == first
    write(copied, "d.pdf")
    rows = [row for shard in await Run(tmp_path / "run").deal(copied) for row in shard]
    assert [Path(row.path).name for row in rows] == ["a.pdf", "b.pdf", "c.pdf", "same.pdf", "d.pdf"]


async def test_two_folders_at_once(folder: Path, tmp_path: Path) -> None:
    """Two folders of one session that hold the same bytes are both dealt, also when the second comes later."""
    write(folder, "one/a.pdf", "two/a.pdf")
    assert len((await Run(tmp_path / "both").deal(folder / "one", folder / "two"))[0]) == 2
    await Run(tmp_path / "later").deal(folder / "one")
    rows = [row for shard in await Run(tmp_path / "later").deal(folder / "one", folder / "two") for row in shard]
    assert len(rows) == 2


async def test_unreadable_files(folder: Path, tmp_path: Path) -> None:
    """A file that cannot be read has a row without checksum, and so has each other one: parsing says why."""
    write(folder, "good.pdf")
    for name in ("broken.pdf", "dangling.pdf"):
        (folder / name).symlink_to(folder / "nowhere")
    os.mkfifo(folder / "pipe.pdf")
    rows = [row for shard in await Run(tmp_path / "run").deal(folder) for row in shard]
    assert [(Path(row.path).name, bool(row.sha256), bool(row.bytes)) for row in rows] == [
        ("broken.pdf", False, False),
        ("dangling.pdf", False, False),
        ("good.pdf", True, True),
        ("pipe.pdf", False, False),
    ]
    assert len({row.id for row in rows}) == 4


async def test_an_unreadable_file_by_permission(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that may not be opened is dealt like any other."""
    write(folder, "closed.pdf")
    opened = Path.open

    def refuse(path: Path, *arguments: object, **named: object) -> object:
        if path.name == "closed.pdf":
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *arguments, **named)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", refuse)
    [[row]] = await Run(tmp_path / "run").deal(folder)
    assert (row.sha256, row.bytes) == ("", 0)


async def test_names_that_are_not_utf8(folder: Path, tmp_path: Path) -> None:
    """Names that are not UTF-8 are dealt under names that JSON can hold, each its own, once."""
    for name in (b"caf\xe9.pdf", b"caf\xe8.pdf"):
        write(folder, os.fsdecode(name))
    dealt = [row.path for shard in await Run(tmp_path / "run").deal(folder) for row in shard]
    assert dealt == [f"{folder}/caf\\xe8.pdf", f"{folder}/caf\\xe9.pdf"]
    assert sum(map(len, await Run(tmp_path / "run").deal(folder))) == 2


async def test_new_papers_become_new_shards(folder: Path, tmp_path: Path) -> None:
    """What was dealt is not dealt again and not read again; what is new comes into the next shards."""
    write(folder, "b.pdf", "c.pdf")
    before = await Run(tmp_path / "run").deal(folder)
    (folder / "b.pdf").write_bytes(b"%PDF changed since")
    write(folder, "a.pdf")
    after = await Run(tmp_path / "run").deal(folder)
    assert after[:1] == before
    assert [[Path(row.path).name for row in shard] for shard in after[1:]] == [["a.pdf"]]


async def test_nothing_to_deal(folder: Path, tmp_path: Path) -> None:
    """Without papers no shard is made."""
    assert await Run(tmp_path / "run").deal(folder) == []
    assert await Run(tmp_path / "run").deal() == []


async def test_a_crash_between_seal_and_catalogue(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shard that was sealed and not entered is entered at the next start: nothing is dealt twice."""
    write(folder, *(f"{number}.pdf" for number in range(9)))
    with monkeypatch.context() as broken:
        entered = Catalogue.enter

        def crash(catalogue: Catalogue, papers: Sequence[Paper]) -> None:
            if any("3.pdf" in paper.path for paper in papers):
                raise RuntimeError("crash")
            entered(catalogue, papers)

        broken.setattr(Catalogue, "enter", crash)
        with pytest.raises(RuntimeError, match="crash"):
            await Run(tmp_path / "run").deal(folder)
    assert Dataset(tmp_path / "run" / "papers", Paper).sealed() == [0, 1]
    shards = await Run(tmp_path / "run").deal(folder)
    assert [len(shard) for shard in shards] == [2, 4, 3]
    assert [Path(row.path).name for shard in shards for row in shard] == [f"{number}.pdf" for number in range(9)]


@pytest.mark.slow
def test_killed_at_every_operation(folder: Path, tmp_path: Path) -> None:
    """Wherever the process or the power dies while papers are dealt, the next start ends with the undisturbed bytes."""
    write(folder, *(f"{number}.pdf" for number in range(9)))

    def life(name: str, fault: Fault) -> tuple[Disk, bool]:
        place = tmp_path / name
        run = Run(place)
        disk = Disk(place / "papers", fault, ours=lambda path: ".sqlite3" not in path)
        return disk, live(disk, lambda: run.deal(folder))

    undisturbed, _ = life("whole", kill_at(10_000))
    for number in range(len(undisturbed.operations)):
        name = f"killed {number}"
        disk, killed = life(name, kill_at(number))
        assert killed
        if number % 2:
            disk.crash(Random(number))
        life(name, kill_at(10_000))
        assert rows_and_seals(tmp_path / name) == rows_and_seals(tmp_path / "whole")


def rows_and_seals(run: Path) -> dict[str, bytes]:
    return {name: data for name, data in contents(run / "papers").items() if ".sqlite3" not in name}


async def test_a_lost_catalogue(folder: Path, tmp_path: Path) -> None:
    """A catalogue that is gone is made anew from the shards; one that is damaged ends in a line that says so."""
    write(folder, *(f"{number}.pdf" for number in range(9)))
    before = await Run(tmp_path / "run").deal(folder)
    catalogue = tmp_path / "run" / "papers" / "catalogue.sqlite3"
    catalogue.write_bytes(b"no database" * 200)
    with pytest.raises(Fatal, match="delete it and run the same command again"):
        await Run(tmp_path / "run").deal(folder)
    catalogue.unlink()
    write(folder, "x.pdf")
    after = await Run(tmp_path / "run").deal(folder)
    assert after[:-1] == before
    assert [Path(row.path).name for row in after[-1]] == ["x.pdf"]


async def test_a_lost_shard_of_papers(folder: Path, tmp_path: Path) -> None:
    """A shard that is gone from between others ends the run in one line: what stands behind it is not left out."""
    write(folder, *(f"{number}.pdf" for number in range(7)))
    assert len(await Run(tmp_path / "run").deal(folder, per_shard=2)) > 2
    run = Run(tmp_path / "run")
    run.papers.shard(1).done.unlink()
    with pytest.raises(Fatal, match=r"papers/00001\.jsonl has neither a seal nor a checkpoint"):
        await run.deal(folder)
    run.papers.shard(1).data.unlink()
    with pytest.raises(Fatal, match=r"papers/00001\.jsonl is missing, and its seal with it"):
        await run.deal(folder)


async def test_a_stop(folder: Path, tmp_path: Path) -> None:
    """A requested stop deals no further shard; the next start goes on."""
    write(folder, "a.pdf", "b.pdf")
    run = Run(tmp_path / "run")
    run.stop.request()
    with pytest.raises(Stopped):
        await run.deal(folder)
    assert run.papers.sealed() == []
    assert len(await Run(tmp_path / "run").deal(folder)) == 1


# The catalogue


def test_claims(tmp_path: Path) -> None:
    """A text belongs to the paper that claimed it first, for ever; given up, it can be claimed anew."""
    path = tmp_path / "catalogue.sqlite3"
    catalogue = Catalogue(path)
    assert catalogue.claim([("t1", "p1"), ("t2", "p2"), ("t1", "p3")]) == ["p1", "p2", "p1"]
    catalogue.close()
    again = Catalogue(path)
    assert again.claim([("t1", "p9")]) == ["p1"]
    again.forget_texts()
    assert again.claim([("t1", "p9")]) == ["p9"]
    again.close()


def test_entering_twice(tmp_path: Path) -> None:
    """Entering the same papers again changes nothing."""
    catalogue = Catalogue(tmp_path / "catalogue.sqlite3")
    rows = [Paper(id="p", parent="", path="/a.pdf", sha256="s", bytes=1)]
    for _ in range(2):
        catalogue.enter(rows)
    assert catalogue.dealt("/a.pdf")
    assert not catalogue.dealt("/b.pdf")
    assert catalogue.copies("s") == 1
    catalogue.close()


def test_a_run_that_is_refused_leaves_no_file(tmp_path: Path) -> None:
    """A catalogue that was never asked makes no file."""
    Catalogue(tmp_path / "catalogue.sqlite3").close()
    assert list(tmp_path.iterdir()) == []
