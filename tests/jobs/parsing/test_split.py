from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.parsing.pdf import extract
from jobs.parsing.split import chunk_key, paper_key, side

PAPERS = Path(__file__).resolve().parents[3].parent / "shared" / "papers"


@given(st.integers(), st.text())
def test_the_side_is_one_of_two_and_stays(seed: int, key: str) -> None:
    """The same seed and key give the same side; the ends of the range leave one side empty."""
    assert side(seed=seed, key=key, train=0.5) == side(seed=seed, key=key, train=0.5)
    assert side(seed=seed, key=key, train=1.0) == "train"
    assert side(seed=seed, key=key, train=0.0) == "val"


@given(st.integers(), st.text(), st.floats(0, 1), st.floats(0, 1))
def test_a_larger_share_only_adds(seed: int, key: str, one: float, other: float) -> None:
    """What trains at a small share trains at a larger one."""
    small, large = sorted((one, other))
    if side(seed=seed, key=key, train=small) == "train":
        assert side(seed=seed, key=key, train=large) == "train"


def test_the_share_is_kept_and_the_seed_matters() -> None:
    """About the asked share of many keys trains, and another seed draws others."""
    sides = [[side(seed=seed, key=str(number), train=0.7) for number in range(5000)] for seed in (0, 1)]
    assert all(3350 < drawn.count("train") < 3650 for drawn in sides)
    assert sides[0] != sides[1]


def test_known_sides() -> None:
    """Sides are part of every row: they must be the same in every version and on every machine."""
    assert [side(seed=0, key=str(number), train=0.7) for number in range(8)] == [
        "train",
        "val",
        "train",
        "train",
        "train",
        "train",
        "train",
        "train",
    ]


def test_a_title_unites_versions() -> None:
    """Case, spaces, punctuation and the whole text may differ."""
    key = paper_key("A Study of Mills: What They Grind", "first version")
    assert paper_key("A STUDY OF MILLS –\nWhat they grind ", "second version, rewritten") == key
    assert paper_key("A Study of Mills: What They Spill", "first version") != key


@pytest.mark.parametrize("title", ["", "Editorial", "Deep Learning", "On the Web", "1 2 3 4 5 6 7 8 9"])
def test_weak_titles_do_not_unite_papers(title: str) -> None:
    """Where the title tells little, the text decides."""
    assert paper_key(title, "one text about mills and grain") != paper_key(title, "another text about sails and wind")


@given(st.text(), st.text())
def test_every_paper_has_a_key(title: str, text: str) -> None:
    """No text is too short or too odd."""
    assert paper_key(title, text)


@pytest.mark.slow
def test_versions_without_a_title_mostly_meet() -> None:
    """With one word in two hundred changed, most texts keep their key."""
    words = random.Random(0)
    kept = 0
    for _ in range(100):
        text = [f"w{words.randrange(5000)}" for _ in range(2000)]
        changed = [word if words.random() > 1 / 200 else "changed" for word in text]
        kept += paper_key("", " ".join(text)) == paper_key("", " ".join(changed))
    assert kept > 85


def test_chunks_with_the_same_letters_share_a_key() -> None:
    """A chunk's key ignores spaces and case, and nothing else."""
    assert chunk_key("One chunk.\n\nIts text") == chunk_key("one chunk its TEXT")
    assert chunk_key("One chunk") != chunk_key("Two chunks")


@pytest.mark.papers
def test_variants_of_real_papers_meet() -> None:
    """Re-saved, rotated, locked, damaged and poisoned copies have the key of the paper that they were made from."""
    variants = ["duplicate-same-bytes", "duplicate-resaved", "rotated-pages", "owner-password-nocopy", "zeroed-blocks"]
    variants += ["hidden-prompt-injection"]
    original = next((PAPERS / "good").glob("bobocep*"))
    keys = {key_of(path) for path in [original, *(PAPERS / "nasty" / f"synth-A-{name}.pdf" for name in variants)]}
    assert len(keys) == 1
    original = next((PAPERS / "good").glob("2506.04071*"))
    assert key_of(next((PAPERS / "nasty").glob("synth-A*100%.PDF"))) == key_of(original)
    assert len({key_of(path) for path in (PAPERS / "good").glob("*.pdf") if path.stat().st_size < 10**6}) == 5


@pytest.mark.papers
@pytest.mark.parametrize("name", ["duplicate-resaved", "rotated-pages", "owner-password-nocopy"])
def test_variants_meet_by_their_text_alone(name: str) -> None:
    """Copies with the same words meet even where no title is found."""
    original = extract(str(next((PAPERS / "good").glob("bobocep*"))))
    copy = extract(str(PAPERS / "nasty" / f"synth-A-{name}.pdf"))
    assert paper_key("", "\n".join(copy.pages)) == paper_key("", "\n".join(original.pages))


def key_of(path: Path) -> str:
    extracted = extract(str(path))
    return paper_key(extracted.title, "\n".join(extracted.pages))
