from __future__ import annotations

from jobs.records import Preference, Rejudgement
from jobs.report.data import Noise
from jobs.report.judge_agreement import judge_noise, preferences


def again(first: float | None, second: float | None) -> Rejudgement:
    return Rejudgement(
        id="j", parent="v", pair_id="1", paper_id="p", model="base", split="val", retrieval=True,
        first=first, second=second,
    )  # fmt: skip


def choice(pair: str, order: str, winner: str | None, split: str = "val") -> Preference:
    return Preference(
        id=f"{pair}{order}", parent="r", pair_id=pair, paper_id="p", model="tuned", against="base", order=order,
        winner=winner, split=split, retrieval=True, feedback="",
    )  # fmt: skip


def test_the_judges_own_noise() -> None:
    """Of three answers that were scored twice, one had another score, a point apart; an unread one is only counted."""
    found = judge_noise([again(4, 4), again(3, 4), again(5, 5), again(2, None)])
    assert found == Noise(exact=0.6667, close=0.6667, absolute=0.3333, deviation=0.4714, scored=3, total=4)


def test_nothing_was_judged_twice() -> None:
    """Without a sample there is nothing to say; with one that could not be read, that is said."""
    assert judge_noise([]) is None
    assert judge_noise([again(None, 3)]) == Noise(
        exact=None, close=None, absolute=None, deviation=None, scored=0, total=1
    )


def test_a_preference_must_survive_the_swap() -> None:
    """Won and lost are what both orders agree on; what turns with the order is a tie; what was not read is neither."""
    rows = [
        choice(pair, order, winner)
        for pair, winners in {
            "1": ("model", "model"), "2": ("model", "against"), "3": ("against", "against"), "4": ("tie", "tie"),
            "5": ("model", None), "6": ("tie", "model"),
        }.items()
        for order, winner in zip(("model first", "against first"), winners, strict=True)
    ]  # fmt: skip
    (found,) = preferences([*rows, choice("7", "model first", "model")])
    assert (found.won, found.lost, found.tied, found.inconsistent) == (1, 1, 3, 2)
    assert (found.unscored, found.total) == (2, 7)


def test_preferences_are_kept_apart_by_split() -> None:
    """Validation and training have a row each, validation first."""
    found = preferences([choice("1", "model first", "tie", "train"), choice("2", "model first", "tie")])
    assert [each.split for each in found] == ["val", "train"]
