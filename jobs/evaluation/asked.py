"""Which answers the current configuration asks for: by its models, its sample, and with or without retrieval.

Older answers stay on disk when the sample is lowered, a candidate is dropped or the models change, because they were
paid for. They are neither judged nor shown until the configuration asks for them again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from engine.datasets import Dataset
from engine.job import Prepared
from engine.records import make_id
from jobs.config import Evaluate
from jobs.evaluation.sample import Sample
from jobs.records import Example, Pair, Response

__all__ = ["Asked", "Compared", "Shows", "response_id", "ways"]

_ALONE = "without retrieval"

Shows = Callable[[Response], bool]
"""Whether a response is asked for now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A model of the table: its name, the section that its requests go to, and the most tokens of an answer.

    If ``model`` changes under the same row's name, the new model answers everything.
    """

    model: str
    to: str
    max_tokens: int


class Asked:
    """The sample of pairs, and how each of them is asked. Empty until it is drawn, when all pairs exist."""

    def __init__(self, pairs: Dataset[Pair], examples: Dataset[Example], settings: Evaluate, seed: int) -> None:
        self.sample = Sample(pairs, settings.sample, seed)
        self._examples = examples
        self._settings = settings
        self._with_contexts: set[str] = set()

    async def draw(self) -> None:
        """Draw the sample, again if there are new pairs."""
        await self.sample.draw()
        if self._settings.pairs:  # in a run of papers every pair has contexts
            rows = self._examples.rows
            self._with_contexts.update(await asyncio.to_thread(lambda: {example.pair_id for example in rows()}))

    @property
    def prepared(self) -> Prepared:
        """What was drawn, for a process that draws nothing."""
        return self.sample.prepared + Prepared(
            dump=lambda: sorted(self._with_contexts), load=self._with_contexts.update
        )

    def stamp(self, models: Mapping[str, Compared]) -> str:
        """A string that changes with what is asked, for a job's ``variant``."""
        names = (part for name, model in models.items() for part in (name, model.model))
        return make_id(self.sample.stamp(), *names, *([_ALONE] if self._settings.without_retrieval else []))

    def shows(self, response: Response, models: Mapping[str, Compared]) -> bool:
        """Whether `response` is one of the answers of `models` that are asked for."""
        model = models.get(response.model)
        version = self.sample.version(response.pair_id)
        if model is None or version is None:
            return False
        contexts = response.pair_id in self._with_contexts
        asked = response.retrieval in ways(self._settings, contexts=contexts)
        return asked and response.id == response_id(version, response.model, model.model, response.retrieval)


def response_id(version: str, row: str, model: str, retrieval: bool) -> str:
    """The id of the response of `model`, under the name of its `row`, to a pair in the words of `version` (as in
    `Pair.version`), with retrieval or without."""
    return make_id("response", version, row, model, *([] if retrieval else [_ALONE]))


def ways(settings: Evaluate, *, contexts: bool) -> tuple[bool, ...]:
    """How a pair is asked: with retrieval, without, or both. A pair of a file without `contexts` is asked without."""
    if settings.pairs and not contexts:
        return (False,)
    return (True, False) if settings.without_retrieval else (True,)
