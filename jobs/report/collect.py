"""The state of a run, read from its seals and checkpoints; nothing here changes a file.

`gristmill status`, the exit code and the report use the same figures.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from engine.datasets import Dataset
from engine.requests import Usage
from engine.shards import total
from jobs.config import Config
from jobs.curation.curate import kept_pairs, rejections
from jobs.evaluation.asked import Shows, ways
from jobs.evaluation.sample import choose
from jobs.generation.worth_asking import worth_asking
from jobs.models.roles import used
from jobs.records import Paper, Response
from jobs.registry import declared
from jobs.report.changes import changes
from jobs.report.comparison import Cell, Verdicts
from jobs.report.data import Coverage, JobSummary, ReportData, RetrievalQuality
from jobs.report.failure_list import failures, first_of_each, jobs_made, naming_papers
from jobs.report.job_times import read_job_seconds
from jobs.report.join import joined
from jobs.report.judge_agreement import judge_noise, preferences
from jobs.report.product import product
from jobs.report.retrieval_quality import retrieval_quality
from jobs.report.shown import preferred, rejudged
from jobs.report.text_coverage import read_papers, text_coverage
from jobs.review.figures import review_figures
from jobs.run.batches import by_state, read_batches
from jobs.run.folder import RunFolder
from jobs.run.model_names import EMBEDDED_EMBEDDING, is_small, model_name
from jobs.tuning.lora.losses import read_losses

__all__ = ["JobState", "job_state", "job_states", "judge_note", "report_data"]


class JobState(msgspec.Struct, frozen=True, kw_only=True):
    """One job's figures: sealed and open shards, finished inputs, rows, failures by kind, and cost."""

    job: str
    sealed: int
    open: int
    inputs: int
    rows: int
    failures: dict[str, int]
    usage: Usage


def job_states(datasets: Mapping[str, Dataset[Any]]) -> list[JobState]:
    """The figures of every job; blocks."""
    made = jobs_made(datasets)
    return [job_state(job.name, made[job]) for job in made if not job.optional or made[job].folder.exists()]


def job_state(job: str, dataset: Dataset[Any]) -> JobState:
    """The figures of one job from the dataset that it writes; blocks."""
    seals = list(dataset.seals())
    unsealed = dataset.unsealed()
    entries = [entry for shard in unsealed for entry in shard.peek()]
    kinds = Counter(failure.kind for seal in seals for failure in seal.failures)
    kinds.update(entry.error.kind for entry in entries if entry.error)
    return JobState(
        job=job,
        sealed=len(seals),
        open=len(unsealed),
        inputs=sum(seal.inputs for seal in seals) + sum(1 for entry in entries if entry.id),
        rows=sum(seal.rows for seal in seals) + sum(entry.rows for entry in entries),
        failures=dict(sorted(kinds.items())),
        usage=total([*(seal.usage for seal in seals), *(entry.usage for entry in entries)]),
    )


def judge_note(config: Config) -> str:
    """A note for the column of correctness if it is not a rating; else ""."""
    if config.evaluate.method == "agreement":
        generator = used(config).get("generator")
        same = generator is not None and model_name(config.models.judge) == model_name(generator)
        judge = config.models.judge
        who = "a small local model" if is_small(judge) else "the local judge" if judge.local else "the judge"
        return (
            f"demo judge: 1 + 4 × the probability that {who} gives to “agrees with the reference”"
            f"{', by the same model that wrote the questions' if same else ''}; not a rating. "
            "Semantic similarity carries the meaning here"
        )
    if is_small(config.models.judge):
        return "the judge is a small local model, which cannot rate from 1 to 5 reliably"
    return ""


def report_data(
    config: Config,
    folder: RunFolder,
    datasets: Mapping[str, Dataset[Any]],
    models: Mapping[str, str],
    embedded: str,
    shows: Shows,
) -> ReportData:
    """All data of the report; blocks.

    `models` are those of the table, by row name; `embedded` names the weights behind model = "local". Only the
    responses for which `shows` is true are in it.
    """
    responses = list(filter(shows, datasets["responses"].rows()))
    states = job_states(datasets)
    note = judge_note(config)
    verdicts = _verdicts(config, datasets, models, responses)
    gains, losses = changes(verdicts, datasets, "semantic_similarity" if note else "correctness")
    return ReportData(
        title=folder.path.resolve().name,
        rows=verdicts.rows(),
        differences=verdicts.differences(),
        retrieval_effects=verdicts.retrieval_effects(),
        histograms=verdicts.histograms(),
        scatters=verdicts.scatters(),
        gains=gains,
        losses=losses,
        found=_found(datasets, responses, config.seed),
        noise=judge_noise(rejudged(config, datasets, responses)),
        preferences=preferences(preferred(config, datasets, responses)),
        loss_curve=read_losses(folder.losses),
        coverage=_coverage(config, datasets, states, verdicts),
        product=product(config, datasets, _parsed(states)),
        reviews=review_figures(folder, datasets),
        jobs=[_summary(state, config) for state in states],
        failures=first_of_each(naming_papers(failures(datasets), datasets["papers"])),
        models=_names(config, models, embedded),
        judge_note=note,
        settings=config.model_dump(exclude_none=True),
        seconds=read_job_seconds(folder.log),
        batches=by_state(read_batches(folder.batches)),
    )


def _verdicts(
    config: Config, datasets: Mapping[str, Dataset[Any]], models: Mapping[str, str], responses: Sequence[Response]
) -> Verdicts:
    found = joined(datasets, responses, config.evaluate.metrics)
    return Verdicts(found, list(models), asked=_asked(config, datasets, models), seed=config.seed)


def _names(config: Config, models: Mapping[str, str], embedded: str) -> dict[str, str]:
    sections = used(config).items()
    roles = {role: model_name(model, embedded) for role, model in sections if role.partition(".")[2] not in models}
    if config.models.embedding.local:
        roles["embedding"] = EMBEDDED_EMBEDDING
    return {**roles, **models}


def _asked(config: Config, datasets: Mapping[str, Dataset[Any]], models: Mapping[str, str]) -> dict[Cell, int]:
    """How many answers each cell of the table should have: those that failed before scoring count as unscored."""
    settings = config.evaluate
    sampled = choose(kept_pairs(datasets, config), settings.sample, config.seed)
    with_contexts = {example.pair_id for example in datasets["examples"].rows()} if settings.pairs else sampled.keys()
    counts = Counter(
        (drawn.split, way) for id_, drawn in sampled.items() for way in ways(settings, contexts=id_ in with_contexts)
    )
    return {Cell(split, way, model): count for model in models for (split, way), count in counts.items()}


def _found(datasets: Mapping[str, Dataset[Any]], responses: Sequence[Response], seed: int) -> list[RetrievalQuality]:
    asked = {response.pair_id for response in responses}
    sources = {pair.id: pair.chunk_id for pair in datasets["pairs"].rows() if pair.chunk_id and pair.id in asked}
    return retrieval_quality(responses, sources, seed=seed) if sources else []


def _coverage(
    config: Config, datasets: Mapping[str, Dataset[Any]], states: Sequence[JobState], verdicts: Verdicts
) -> Coverage:
    rows = Counter({state.job: state.rows for state in states})
    sides = Counter(example.split for example in datasets["examples"].rows())
    papers: Dataset[Paper] = datasets["papers"]
    parsed = next((state for state in states if state.job == "parse"), None)
    return Coverage(
        papers=sum(seal.rows for seal in papers.seals()),
        papers_parsed=_parsed(states),
        papers_failed=parsed.failures if parsed else {},
        chunks=rows["parse"],
        questions=rows["ask"],
        pairs=rows["answer"] + rows["deal"],
        rejected=rejections(datasets["curated"]),
        examples=rows["augment"],
        train=sides["train"],
        val=sides["val"],
        evaluated=verdicts.evaluated(),
        text=text_coverage(read_papers(datasets["chunks"].rows(), worth_asking(config.ask))),
    )


def _parsed(states: Sequence[JobState]) -> int:
    """How many papers were read."""
    return sum(state.inputs - sum(state.failures.values()) for state in states if state.job == "parse")


def _summary(state: JobState, config: Config) -> JobSummary:
    return JobSummary(
        job=state.job,
        inputs=state.inputs,
        rows=state.rows,
        failures=state.failures,
        usage=state.usage,
        priced=all(config.model(section).priced for section in _asked_by(state.job, config)),
    )


def _asked_by(job: str, config: Config) -> list[str]:
    role = declared("papers")[job].role
    return [section for section in config.models.sections() if section == role or (job == "respond" and "." in section)]
