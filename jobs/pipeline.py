"""The pipeline: which jobs there are, what each is made with, and what makes its rows stale.

Reading this file from top to bottom is reading a run. A fingerprint holds what changes the meaning of rows; limits,
timeouts and lengths are not in it, because they change none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.datasets import Dataset
from engine.events import Hook, Note
from engine.files import naming_the_disk, write_atomic
from engine.job import Job, Pipeline, Step
from engine.processes import usable_cores
from engine.records import make_id
from engine.signals import Stop
from engine.workers import Workers
from jobs.config import Config, Model, api_key
from jobs.curation.critique import critique
from jobs.curation.curate import curate, kept_pairs
from jobs.curation.probe import probe
from jobs.curation.rules import RULES_VERSION
from jobs.evaluation import judge as judging
from jobs.evaluation.assess import assess
from jobs.evaluation.pairwise import prefer
from jobs.evaluation.rejudge import rejudge
from jobs.evaluation.respond import Compared, respond
from jobs.generation import ask as asking
from jobs.generation.answer import answer
from jobs.generation.deal_pairs import deal_pairs
from jobs.models.roles import EMBEDDED_EMBEDDING, local_file, model_name, slots
from jobs.parsing.deal import Catalogue, deal
from jobs.parsing.parse import parse
from jobs.parsing.split import side
from jobs.retrieval.augment import augment
from jobs.retrieval.index import Retriever, index
from jobs.run.background_imports import imported
from jobs.run.folder import RunFolder

if TYPE_CHECKING:
    from jobs.report.data import ReportData

__all__ = ["Mill", "build", "worker_count"]

_PROMPTS = {"llama_index": "0.14"}
"""The release line whose prompts are used: part of what a row means, and cheaper to know than the prompts' text."""


@dataclass(frozen=True, kw_only=True)
class Mill:
    """What the jobs of one run are made with, as `jobs.cli.session` has opened it.

    `embedded` names the `weights` behind model = "local"; `tuned` gives the tuned model's name, None while there is
    none; `show` is handed what the report says.
    """

    config: Config
    folder: RunFolder
    datasets: Mapping[str, Dataset[Any]]
    papers: Sequence[Path]
    workers: Workers
    catalogue: Catalogue
    embedded: str
    weights: Path | None
    tuned: Callable[[], str | None]
    show: Callable[[ReportData], None]
    stop: Stop
    hook: Hook

    def name(self, model: Model) -> str:
        """What `model` is called in fingerprints and tables."""
        return model_name(model, self.embedded)

    def compared(self) -> dict[str, Compared]:
        """The models of the table by the names of their rows: base, tuned when there is one, then the candidates."""
        models, tuned = self.config.models, self.tuned()
        base = Compared(model=self.name(models.base), to="base", max_tokens=models.base.max_tokens)
        rows = {"base": base, **({"tuned": replace(base, model=tuned, to="tuned")} if tuned else {})}
        for name, model in models.candidates.items():
            rows[name] = Compared(model=self._told(model), to=f"candidates.{name}", max_tokens=model.max_tokens)
        return rows

    def _told(self, candidate: Model) -> str:
        """A candidate's name, with its temperature where that is not the base's."""
        same = candidate.temperature == self.config.models.base.temperature
        return self.name(candidate) + ("" if same else f", temperature {candidate.temperature}")


def build(mill: Mill) -> Pipeline:
    """Every job and step, in order; with the pairs of a file, those that compare models on them."""
    retriever, evaluate = Retriever(mill.folder.store), mill.config.evaluate
    if evaluate.pairs:
        given = deal_pairs(Path(evaluate.pairs), mill.datasets, sample=evaluate.sample, stop=mill.stop, hook=mill.hook)
        return [given, *_comparing(mill, retriever), _report(mill)]
    return [
        *_parsing(mill),
        *_generating(mill),
        *_retrieving(mill, retriever),
        _export(mill),
        _finetune(mill),
        *_comparing(mill, retriever),
        _report(mill),
    ]


def _parsing(mill: Mill) -> Pipeline:
    config, catalogue = mill.config, mill.catalogue

    async def claim(claims: Sequence[tuple[str, str]]) -> Sequence[str]:
        return await asyncio.to_thread(catalogue.claim, claims)

    return [
        deal(mill.papers, mill.datasets["papers"], catalogue, per_shard=config.parse.papers_per_shard, stop=mill.stop),
        parse(
            workers=mill.workers,
            chunk_size=config.parse.chunk_size,
            chunk_overlap=config.parse.chunk_overlap,
            split_by=config.split.by,
            train=config.split.train,
            seed=config.seed,
            claim_text=claim,
        ),
    ]


def _generating(mill: Mill) -> Pipeline:
    settings, model = mill.config.ask, mill.config.models.generator
    evidence = settings.recipe == "evidence"
    fingerprint = {
        **_PROMPTS,
        "model": mill.name(model),
        "temperature": model.temperature,
        "recipe": settings.recipe,
    }
    return [
        asking.ask(
            recipe=asking.evidence(mill.hook) if evidence else asking.llama_index(model.max_tokens),
            questions_per_chunk=settings.questions_per_chunk,
            max_questions=settings.max_questions,
            chunks=mill.datasets["chunks"],
            side_of_question=_side_of_question(mill.config),
            fingerprint={
                **fingerprint,
                "questions_per_chunk": settings.questions_per_chunk,
                "max_questions": settings.max_questions,
            },
            slots=slots(model),
        ),
        answer(
            max_tokens=model.max_tokens,
            quotes=mill.config.answer.quotes,
            fingerprint={**fingerprint, **mill.config.answer.model_dump()},
            slots=slots(model),
        ),
    ]


def _retrieving(mill: Mill, retriever: Retriever) -> Pipeline:
    config, model = mill.config, mill.config.models.embedding
    fingerprint = {"embedding": model_name(model, EMBEDDED_EMBEDDING)}
    in_flight = max(slots(model), 2 * model.batch_size)  # so that one batch fills while another is answered
    draws = {"seed": config.seed} if config.augment.distractors else {}
    return [
        index(
            chunks=mill.datasets["chunks"],
            written=mill.datasets["index"],
            fingerprint=fingerprint,
            slots=in_flight,
            retriever=retriever,
        ),
        *_curating(mill, retriever, fingerprint, in_flight),
        augment(
            retriever=retriever,
            settings=config.augment,
            curated=config.curate.on,
            probed=config.curate.embeds,
            seed=config.seed,
            fingerprint={
                **_PROMPTS,
                **fingerprint,
                **config.augment.model_dump(),
                **draws,
                "curated": config.curate.on,
            },
            slots=in_flight,
        ),
    ]


def _curating(mill: Mill, retriever: Retriever, embedding: Mapping[str, Any], in_flight: int) -> Pipeline:
    """The checks that are switched on: those that cost something as jobs of their own, then `curate`."""
    settings, judge = mill.config.curate, mill.config.models.judge
    rules = {"rules": RULES_VERSION, **settings.model_dump(include=_RULES)} if settings.rules else {}
    retrieval = {"round_trip": settings.round_trip_top_k, "scope": mill.config.augment.scope}
    probing = {**rules, **embedding, **(retrieval if settings.round_trip is True else {})}
    critic = {"judge": mill.name(judge), "temperature": judge.temperature}
    jobs: list[Job | Step] = []
    if settings.embeds:
        scope = mill.config.augment.scope
        jobs.append(probe(retriever=retriever, settings=settings, scope=scope, fingerprint=probing, slots=in_flight))
    if settings.critic:
        jobs.append(
            critique(
                settings=settings,
                max_tokens=judge.max_tokens,
                fingerprint={**(probing if settings.embeds else rules), **critic},
                slots=slots(judge),
            )
        )
    if settings.on:
        jobs.append(
            curate(
                settings=settings,
                datasets=mill.datasets,
                hook=mill.hook,
                fingerprint={**settings.model_dump(), **({"rules": RULES_VERSION} if settings.rules else {})},
            )
        )
    return jobs


_RULES = {"shortest_question", "longest_question", "shortest_answer", "longest_answer"}


def _comparing(mill: Mill, retriever: Retriever) -> Pipeline:
    config, models = mill.config, mill.config.models
    system_prompt = config.export.system_prompt
    return [
        respond(
            pairs=kept_pairs(mill.datasets, mill.config),
            retriever=retriever,
            models=mill.compared,
            system_prompt=lambda title: system_prompt.replace("{title}", title),
            settings=config.evaluate,
            seed=config.seed,
            fingerprint={**_PROMPTS, "temperature": models.base.temperature, "system_prompt": system_prompt},
            slots=sum(map(slots, (models.base, *models.candidates.values()))),
        ),
        judging.similarity(
            fingerprint={"embedding": model_name(models.embedding, EMBEDDED_EMBEDDING)}, slots=slots(models.embedding)
        ),
        *_judging(mill, retriever),
    ]


def _judging(mill: Mill, retriever: Retriever) -> Pipeline:
    """What the judge says of each answer, and where it is asked for, once more and of two side by side."""
    settings, model, seed = mill.config.evaluate, mill.config.models.judge, mill.config.seed
    pairs = kept_pairs(mill.datasets, mill.config)
    method = judging.by_agreement if settings.method == "agreement" else judging.by_score
    asked = {**_PROMPTS, "judge": mill.name(model), "temperature": model.temperature}
    judged = {**asked, "method": settings.method}
    assessed = assess(
        metrics=settings.metrics,
        written=mill.datasets["assessments"],
        retriever=retriever,
        max_tokens=model.max_tokens,
        # Each metric has rows of its own, so which they are changes the meaning of none.
        fingerprint=asked,
        slots=slots(model),
    )
    again = rejudge(
        method=method, pairs=pairs, sample=settings.rejudge, seed=seed, fingerprint=judged, slots=slots(model)
    )
    beside = prefer(
        pairs=pairs,
        sample=settings.pairwise,
        seed=seed,
        max_tokens=model.max_tokens,
        fingerprint=asked,
        slots=slots(model),
    )
    return [
        judging.judge(method=method, fingerprint=judged, slots=slots(model)),
        *([assessed] if settings.metrics else []),
        *([again] if settings.rejudge else []),
        *([beside] if settings.pairwise else []),
    ]


def _side_of_question(config: Config) -> Callable[[str], str] | None:
    if config.split.by != "question":
        return None
    return lambda id_: side(seed=config.seed, key=id_, train=config.split.train)


def _export(mill: Mill) -> Step:
    """The training files, written anew when an example, a pair or the system prompt has changed."""
    config, folder, datasets = mill.config, mill.folder, mill.datasets

    def write() -> bool:
        from jobs.tuning.export import write_dataset

        made_from = [seal.sha256 for name in ("examples", "pairs", "curated") for seal in datasets[name].seals()]
        stamp = make_id(config.export.system_prompt, config.seed, *made_from).encode()
        path = folder.dataset / ".stamp"
        if path.exists() and path.read_bytes() == stamp:
            return False
        with naming_the_disk(folder.dataset):
            folder.dataset.mkdir(exist_ok=True)
            path.unlink(missing_ok=True)
        write_dataset(
            folder.dataset,
            datasets["examples"].rows(),
            kept_pairs(datasets, config).rows(),
            system_prompt=config.export.system_prompt,
            seed=config.seed,
        )
        with naming_the_disk(folder.dataset):
            write_atomic(path, stamp)
        return True

    async def run() -> None:
        if await asyncio.to_thread(write):
            mill.hook(Note(job="export", text=f"training data is in {folder.dataset}"))

    return Step(name="export", run=run, waits_for=("augment", "curate", "answer"))


def _finetune(mill: Mill) -> Step:
    """One fine-tuning job, started or taken up; nothing where no backend is configured."""
    backends = {"none": _no_tuning, "openai": _tune_at_provider, "lora": _tune_here}
    run = backends[mill.config.finetune.backend]
    return Step(name="finetune", run=lambda: run(mill), waits_for=("export",))


async def _no_tuning(mill: Mill) -> None:
    pass


async def _tune_at_provider(mill: Mill) -> None:
    from jobs.tuning.openai_job import finetune
    from jobs.tuning.tuning_jobs import Hyperparameters

    settings, base = mill.config.finetune, mill.config.model("base")
    await imported("openai")
    await finetune(
        folder=mill.folder.path,
        base_url=base.base_url,
        api_key=api_key(base, "base"),
        model=base.model,
        hyperparameters=Hyperparameters(
            epochs=settings.epochs,
            batch_size=settings.batch_size,
            learning_rate_multiplier=settings.learning_rate_multiplier,
            seed=mill.config.seed,
        ),
        poll_s=settings.poll_s,
        on_event=mill.hook,
        sleep=mill.stop.sleep,
    )


async def _tune_here(mill: Mill) -> None:
    from jobs.tuning.lora.protocol import LoraSettings
    from jobs.tuning.lora.tune import tune

    settings, base = mill.config.finetune, mill.config.models.base
    await tune(
        folder=mill.folder.path,
        base=await asyncio.to_thread(local_file, base, mill.weights),
        base_name=mill.name(base),
        settings=LoraSettings(
            epochs=settings.epochs or 3,
            batch_size=settings.batch_size or 4,
            learning_rate=settings.learning_rate,
            rank=settings.rank,
            alpha=settings.alpha,
            dropout=settings.dropout,
            max_length=settings.max_length,
            precision=settings.precision,
            seed=mill.config.seed,
        ),
        checkpoint_every=settings.checkpoint_every,
        validate_every=settings.validate_every,
        stop=mill.stop,
        hook=mill.hook,
    )


def _report(mill: Mill) -> Step:
    """``results.json`` and ``report.html``, from what the seals and verdicts say."""

    async def run() -> None:
        from jobs.report.collect import report_data
        from jobs.report.page import write_report

        models = {row: compared.model for row, compared in mill.compared().items()}
        data = await asyncio.to_thread(report_data, mill.config, mill.folder, mill.datasets, models, mill.embedded)
        await asyncio.to_thread(write_report, data, mill.folder.path)
        mill.show(data)

    return Step(name="report", run=run, waits_for=("judge", "assess", "rejudge", "prefer"))


def worker_count(config: Config) -> int:
    """Processes that parse: as configured, else one for each core that we may use."""
    return config.parse.workers or usable_cores()
