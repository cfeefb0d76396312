"""The second judgements and the preferences that belong to the current configuration."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from engine.datasets import Dataset
from engine.records import make_id
from jobs.config import Config
from jobs.curation.curate import kept_pairs
from jobs.evaluation.pairwise import duel_ids
from jobs.evaluation.sample import choose
from jobs.records import Preference, Rejudgement, Response

__all__ = ["preferred", "rejudged"]


def rejudged(config: Config, datasets: Mapping[str, Dataset[Any]], responses: Sequence[Response]) -> list[Rejudgement]:
    """The second judgements of the answers that are shown, as many as the configuration asks for."""
    chosen = _chosen(config, datasets, config.evaluate.rejudge)
    verdicts = {make_id("verdict", response.id) for response in responses if chosen(response.pair_id)}
    rows: Iterator[Rejudgement] = datasets["rejudgements"].rows()
    return [row for row in rows if row.parent in verdicts]


def preferred(config: Config, datasets: Mapping[str, Dataset[Any]], responses: Sequence[Response]) -> list[Preference]:
    """The preferences between the answers that are shown, as many as the configuration asks for."""
    chosen = _chosen(config, datasets, config.evaluate.pairwise)
    duels = duel_ids([response for response in responses if chosen(response.pair_id)])
    rows: Iterator[Preference] = datasets["preferences"].rows()
    return [row for row in rows if row.id in duels]


def _chosen(config: Config, datasets: Mapping[str, Dataset[Any]], size: int) -> Callable[[str], bool]:
    """Whether a pair is among the `size` of each split; all are when that option is off, and what was made is shown."""
    if not size:
        return lambda pair_id: True
    return choose(kept_pairs(datasets, config), size, config.seed).__contains__
