"""How far the judge agrees with itself: when it is asked again, and when two answers change places.

A difference between models that is smaller than the judge's own variation means nothing for a single answer. Over many
answers the variation averages out, and the intervals include it already.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from jobs.records import Preference, Rejudgement
from jobs.report.data import SPLITS, Noise, Preferences

__all__ = ["judge_noise", "preferences"]

_DECIMALS = 4


def judge_noise(rejudgements: Iterable[Rejudgement]) -> Noise | None:
    """How the second scores of the sample agree with the first; None if nothing was asked twice."""
    rows = list(rejudgements)
    if not rows:
        return None
    twice = [(row.first, row.second) for row in rows if row.first is not None and row.second is not None]
    if not twice:
        return Noise(exact=None, close=None, absolute=None, deviation=None, scored=0, total=len(rows))
    apart = np.array([second - first for first, second in twice])
    return Noise(
        exact=round(float((np.abs(apart) < 1e-9).mean()), _DECIMALS),
        close=round(float((np.abs(apart) < 0.5 + 1e-9).mean()), _DECIMALS),
        absolute=round(float(np.abs(apart).mean()), _DECIMALS),
        deviation=round(float(apart.std()), _DECIMALS),
        scored=len(twice),
        total=len(rows),
    )


def preferences(rows: Iterable[Preference]) -> list[Preferences]:
    """The judge's choices between two models, counted once a question over both orders; validation first."""
    splits = list(SPLITS)
    groups: dict[tuple[str, bool, str, str], list[Preference]] = {}
    for row in rows:
        groups.setdefault((row.split, row.retrieval, row.model, row.against), []).append(row)

    def place(side: tuple[str, bool, str, str]) -> tuple[int, bool]:
        return splits.index(side[0]) if side[0] in splits else len(splits), not side[1]

    return [_counted(groups[side]) for side in sorted(groups, key=place)]


def _counted(rows: list[Preference]) -> Preferences:
    winners: dict[str, dict[str, str | None]] = {}
    for row in rows:
        winners.setdefault(row.pair_id, {})[row.order] = row.winner
    readable = [list(by_order.values()) for by_order in winners.values() if _both(by_order)]
    won = sum(choices == ["model", "model"] for choices in readable)
    lost = sum(choices == ["against", "against"] for choices in readable)
    return Preferences(
        model=rows[0].model,
        against=rows[0].against,
        split=rows[0].split,
        retrieval=rows[0].retrieval,
        won=won,
        tied=len(readable) - won - lost,
        lost=lost,
        inconsistent=sum(first != second for first, second in readable),
        unscored=len(winners) - len(readable),
        total=len(winners),
    )


def _both(by_order: dict[str, str | None]) -> bool:
    return len(by_order) == 2 and None not in by_order.values()
