"""What became of the papers, step by step, and what each job cost: figures for bars."""

from __future__ import annotations

import msgspec

from jobs.report.data import ReportData, cost_known, total_usage
from jobs.review.figures import sentence

__all__ = ["Bar", "Stage", "costs", "funnel"]


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """One step of the way: ``count`` things came out of ``of`` that could have; ``lost`` says what became of others."""

    name: str
    count: int
    of: int
    lost: str = ""

    @property
    def share(self) -> float:
        return min(1.0, self.count / self.of) if self.of else 0.0


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """One bar: its length from 0 to 1, and its value in words."""

    name: str
    share: float
    value: str


def funnel(data: ReportData) -> list[Stage]:
    """Papers, chunks, questions, pairs, kept pairs, reviewed pairs: each with the part of the step before that it is.

    A step that the run does not have is left out: papers where the pairs are from a file, reviews where there are none.
    """
    coverage, product = data.coverage, data.product
    failed = {job.job: sum(job.failures.values()) for job in data.jobs}
    refused = sum(coverage.rejected.values())
    steps = [
        Stage(name="papers read", count=coverage.papers_parsed, of=coverage.papers, lost=_lost(failed, "parse")),
        Stage(
            name="chunks asked about",
            count=coverage.text.asked,
            of=coverage.chunks,
            lost=_several(sum(coverage.text.skipped.values()), "not worth asking"),
        ),
        Stage(name="questions", count=coverage.questions, of=coverage.questions, lost=_lost(failed, "ask")),
        Stage(name="pairs", count=coverage.pairs, of=coverage.questions, lost=_lost(failed, "answer")),
        Stage(name="kept pairs", count=product.kept, of=coverage.pairs, lost=_several(refused, "refused")),
        Stage(
            name="reviewed pairs",
            count=data.reviews.reviewed,
            of=product.kept + data.reviews.rejected,
            lost=sentence(data.reviews).partition(": ")[2],
        ),
    ]
    if not coverage.papers:
        steps = [msgspec.structs.replace(each, of=each.of or coverage.pairs) for each in steps[3:]]
    return [each for each in steps if each.of and (each.count or each.name != "reviewed pairs")]


def costs(data: ReportData) -> list[Bar]:
    """The jobs that asked a model by what they cost: in dollars where all prices are known, else in tokens."""
    jobs = [job for job in data.jobs if job.usage.requests]
    dollars = all(map(cost_known, jobs)) and total_usage(jobs).cost_usd > 0
    spent = {
        job.job: job.usage.cost_usd if dollars else job.usage.prompt_tokens + job.usage.completion_tokens
        for job in jobs
    }
    whole, most = sum(spent.values()), max(spent.values(), default=0)
    return [
        Bar(
            name=job,
            share=value / most,
            value=f"{f'${value:,.2f}' if dollars else f'{value:,} tokens'}, {100 * value / whole:.0f} %",
        )
        for job, value in spent.items()
        if value
    ]


def _lost(failed: dict[str, int], job: str) -> str:
    return _several(failed.get(job, 0), "failed")


def _several(count: int, what: str) -> str:
    return f"{count:,} {what}" if count else ""
