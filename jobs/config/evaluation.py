"""The section [evaluate]: how models are compared."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from jobs.config.section import Section

__all__ = ["Evaluate"]


class Evaluate(Section):
    """How models are compared."""

    sample: int = Field(
        50, gt=0, description="Pairs of each split that are evaluated, chosen by hash; may be raised later."
    )
    without_retrieval: bool = Field(
        False,
        description="Whether every model also answers the bare questions, so that the table shows what retrieval adds.",
    )
    pairs: str = Field(
        "",
        description="A file whose pairs are evaluated in place of the run's own, as `gristmill evaluate FILE` sets it.",
    )
    method: Literal["auto", "score", "agreement"] = Field(
        "auto",
        description='How the judge scores. "score": LlamaIndex\'s 1 to 5. "agreement": the probability that the judge '
        'agrees with the reference answer, for models too small to give a score. "auto": "agreement" for a local '
        'judge, else "score".',
    )
    rejudge: int = Field(
        0,
        ge=0,
        description="Pairs of each split in the sample whose answers are judged a second time, to measure how far the "
        "judge agrees with itself.",
    )
    pairwise: int = Field(
        0,
        ge=0,
        description="Pairs of each split in the sample for which the judge compares each model's answer with the base's, "
        "in both orders.",
    )
    metrics: tuple[str, ...] = Field(
        (),
        description='Further metrics. "exact_match", "token_f1" and "rouge_l" compare words and cost nothing; '
        '"faithfulness", "relevancy" and "llama:CLASS", an evaluator of LlamaIndex by its class, make one request per '
        "response.",
    )

    @field_validator("metrics")
    @classmethod
    def _once_each(cls, metrics: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(metrics))
