"""The section [curate]: which checks a pair must pass."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from jobs.config.section import Section

__all__ = ["Curate"]


class Curate(Section):
    """What a pair must pass before it is used. Each check has its own switch; with all off there is no curation."""

    rules: bool = Field(True, description="Whether to check the words of each pair. This costs no request.")
    shortest_question: int = Field(3, ge=0, description="Fewest words of a question; checked by `rules`.")
    longest_question: int = Field(80, gt=0, description="Most words of a question; checked by `rules`.")
    shortest_answer: int = Field(2, ge=0, description="Fewest words of an answer; checked by `rules`.")
    longest_answer: int = Field(400, gt=0, description="Most words of an answer; checked by `rules`.")
    round_trip: bool | Literal["auto"] = Field(
        "auto",
        description="Whether retrieval by the question must find its chunk. It chooses the questions by which retrieval "
        'is measured later, so "auto" is on only for the recipe "grounded" with a local generator, which asks vague '
        "questions.",
    )
    round_trip_top_k: int = Field(10, gt=0, description="How many retrieved chunks `round_trip` searches.")
    near_duplicates: bool = Field(
        True, description="Whether to keep only the first of questions that ask the same, over the whole run."
    )
    near_duplicate_cosine: float = Field(
        0.97,
        ge=0.8,
        le=1,
        description="Questions ask the same when the cosine of their embeddings is at least this and their numbers are "
        "equal.",
    )
    critic: bool = Field(
        False, description="Whether the judge's model rates each pair from 1 to 5 by a rubric: one request per pair."
    )
    critic_passing: int = Field(3, ge=1, le=5, description="Lowest rating by `critic` that passes.")

    @property
    def embeds(self) -> bool:
        """Whether a check needs the embedding of the question."""
        return self.round_trip is True or self.near_duplicates

    @property
    def on(self) -> bool:
        return self.rules or self.embeds or self.critic
