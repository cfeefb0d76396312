"""A report of everything at once, made up from a seed: three models, two splits, with and without retrieval.

``python tests/jobs/report_sample.py FILE`` writes it to look at in a browser.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import msgspec
import numpy as np

from engine.requests import Usage
from jobs.config import Config
from jobs.records import Context, Preference, Rejudgement, Response, Verdict
from jobs.report.comparison import Cell, Verdicts
from jobs.report.data import Change, Coverage, Failure, JobSummary, Passage, ReportData
from jobs.report.judge_agreement import judge_noise, preferences
from jobs.report.page import report_html
from jobs.report.product import Product, ShownPair, split_words, spread
from jobs.report.retrieval_quality import retrieval_quality
from jobs.report.text_coverage import TextCoverage
from jobs.review.figures import ReviewFigures
from jobs.tuning.lora.losses import Loss

MODELS = ("base", "tuned", "a-rather-long-candidate-name-7b-instruct")
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&\u202egnp\x00\x1b[31m\ud800"
LONG = (
    "A full disk, a corrupt shard or a second process in the same run each end in one clear line that says what to do. "
    "Nothing that was answered and committed is asked again, because the journal names the byte at which the rows of "
    "each finished input end. "
)


def sample(questions: int = 48, papers: int = 14, *, text: str = LONG) -> ReportData:
    """A report on `questions` of each split about `papers` papers; `text` stands wherever a model or a paper speaks."""
    made = list(_verdicts(questions, papers, text))
    asked = {Cell(verdict.split, verdict.retrieval, verdict.model): questions for verdict in made}
    verdicts = Verdicts(made, MODELS, asked=asked)
    gains = [_change(number, text, by) for number, by in enumerate((2.5, 2.0, 1.5, 1.5, 1.0, 1.0, 0.5))]
    return ReportData(
        title="retrieval-papers-2026",
        rows=verdicts.rows(),
        differences=verdicts.differences(),
        retrieval_effects=verdicts.retrieval_effects(),
        histograms=verdicts.histograms(),
        scatters=verdicts.scatters(),
        gains=gains,
        losses=[_change(number, text, -by) for number, by in enumerate((2.0, 1.0, 0.5))],
        found=retrieval_quality(*_retrieved(questions, papers)),
        noise=judge_noise(_rejudged()),
        preferences=preferences(_preferred()),
        loss_curve=_loss_curve(),
        coverage=Coverage(
            papers=papers + 2,
            papers_parsed=papers,
            papers_failed={"encrypted": 1, "no_text": 1},
            chunks=1312,
            questions=2624,
            pairs=2480,
            examples=2255,
            train=1602,
            val=653,
            evaluated=2 * questions,
            text=TextCoverage(chunks=1312, asked=1187, skipped={"numbers": 92, "section": 33}),
            rejected={"not_found": 131, "about_form": 58, "near_duplicate": 24, "too_short": 12},
        ),
        jobs=_jobs(),
        failures=[
            Failure(job="parse", kind="encrypted", id="0a", reason="it needs a password", paper="/papers/" + "x" * 90),
            Failure(job="judge", kind="timeout", id="0b" * 16, reason=text),
        ],
        models={"generator": "writer-9", "base": "small-1b", "tuned": "small-1b:tuned", "judge": "large-2"},
        settings={"seed": 0, "ask": {"questions_per_chunk": 2}},
        product=_product(text),
        reviews=ReviewFigures(
            reviewed=200, accepted=185, edited=9, rejected=6, sampled=150, sampled_accepted=139, low=0.8725, high=0.9591
        ),
        seconds={"parse": 41.2, "ask": 312.0, "answer": 318.4, "finetune": 4210.0, "respond": 95.0, "judge": 88.1},
    )


def _product(text: str) -> Product:
    random = np.random.default_rng(16)
    shown = [
        ShownPair(
            question=f"What does shard {number} keep? {text[:90]}",
            answer=text,
            title="Crash-safe batches" if number % 2 else text,
            page=number,
            split="val" if number % 3 else "train",
        )
        for number in range(12)
    ]
    refused = [
        msgspec.structs.replace(pair, reason=reason, detail=detail)
        for pair, reason, detail in zip(
            shown,
            ("about_form", "near_duplicate", "near_duplicate", "not_found", "too_short"),
            ("it asks about a figure", "cosine 0.981 with the question of pair 0f", text, "not among 10", "2 words"),
            strict=False,
        )
    ]
    return Product(
        kept=2255,
        sample=shown,
        refused=refused,
        lengths=[
            spread("words of a question", Counter(random.poisson(13, 2255).tolist())),
            spread("words of an answer", Counter(random.geometric(0.02, 2255).tolist())),
        ],
        per_paper=spread("pairs of a paper", Counter({0: 1, 90: 2, 140: 5, 160: 4, 199: 2})),
        split=split_words(Config().resolved(papers=50)),
    )


def _verdicts(questions: int, papers: int, text: str) -> list[Verdict]:
    random = np.random.default_rng(11)
    rows = []
    for split in ("val", "train"):
        hard = np.repeat(random.normal(0, 0.5, papers), -(-questions // papers))[:questions]
        for number in range(questions):
            difficulty = hard[number] + random.normal(0, 0.6)
            for skill, model in enumerate(MODELS):
                for retrieval in (True, False):
                    level = 3.6 + difficulty + 0.35 * (skill == 1) - 1.1 * (not retrieval) + random.normal(0, 0.6)
                    correctness = float(np.clip(round(2 * level) / 2, 1, 5))
                    similarity = float(np.clip(0.6 + 0.07 * level + random.normal(0, 0.03), -1, 1))
                    rows.append(
                        Verdict(
                            id=f"{split}{number}{model}{retrieval}",
                            parent="",
                            pair_id=f"{split}{number}",
                            paper_id=f"{split}{number * papers // questions}",
                            model=model,
                            correctness=None if random.random() < 0.04 else correctness,
                            passing=correctness >= 4,
                            feedback=text,
                            semantic_similarity=round(similarity, 6),
                            split=split,
                            retrieval=retrieval,
                            scores=_scores(similarity, retrieval),
                        )
                    )
    return rows


def _scores(similarity: float, retrieval: bool) -> dict[str, float | None]:
    """Every kind of further metric: of words, of the contexts where there are any, on a scale of its own."""
    supported = {"faithfulness": float(similarity > 0.85), "relevancy": None if similarity < 0.75 else 1.0}
    return {
        "exact_match": float(similarity > 0.95),
        "token_f1": round(similarity / 2, 4),
        "rouge_l": round(similarity / 3, 4),
        **(supported if retrieval else {}),
        "llama:plugged.in.GuidelineEvaluatorOfSomeLength": round(4 * similarity, 2),
    }


def _retrieved(questions: int, papers: int) -> tuple[list[Response], dict[str, str]]:
    random = np.random.default_rng(12)
    responses = [
        Response(
            id=f"r{split}{number}",
            parent="",
            pair_id=f"{split}{number}",
            paper_id=f"{split}{number % papers}",
            model="base",
            question="?",
            reference="",
            response="",
            contexts=[
                Context(chunk_id="source" if rank == place else "other", rank=rank, score=0.5) for rank in range(5)
            ],
            split=split,
        )
        for split in ("val", "train")
        for number, place in enumerate(random.geometric(0.6, questions) - 1)
    ]
    return responses, {response.pair_id: "source" for response in responses}


def _rejudged() -> list[Rejudgement]:
    random = np.random.default_rng(13)
    scores = np.clip(random.integers(4, 11, 40) / 2, 1, 5)
    again = np.clip(scores + random.choice([-0.5, 0, 0, 0, 0.5], 40), 1, 5)
    return [
        Rejudgement(
            id=f"j{number}", parent="", pair_id=str(number), paper_id="", model="base", split="val", retrieval=True,
            first=float(first), second=None if number == 7 else float(second),
        )
        for number, (first, second) in enumerate(zip(scores, again, strict=True))
    ]  # fmt: skip


def _preferred() -> list[Preference]:
    random = np.random.default_rng(14)
    return [
        Preference(
            id=f"{model}{number}{order}", parent="", pair_id=str(number), paper_id="", model=model, against="base",
            order=order, winner=str(random.choice(["model", "model", "against", "tie"])), split="val", retrieval=True,
            feedback="",
        )
        for model in MODELS[1:]
        for number in range(24)
        for order in ("model first", "against first")
    ]  # fmt: skip


def _loss_curve() -> list[Loss]:
    random = np.random.default_rng(15)
    return [
        Loss(
            step=step,
            epoch=step / 50,
            train=1.1 + 1.3 * 0.985**step + float(random.normal(0, 0.06)),
            val=1.45 + 0.9 * 0.97**step + 0.002 * step if step % 25 == 0 else None,
        )
        for step in range(0, 151, 5)
    ]


def _change(number: int, text: str, by: float) -> Change:
    return Change(
        model="tuned",
        against="base",
        split="val",
        metric="correctness",
        question=f"What happens when the disk is full in the middle of shard {number}? {text[:80]}",
        reference=text,
        passages=[
            Passage(title="Crash-safe batches", page=3 + number, text=text * 4, source=True),
            Passage(title=text, page=1, text="w" * 300, source=False),
        ],
        answers=(text, text * 2),
        scores=(2.5, 2.5 + by) if by > 0 else (4.5, 4.5 + by),
        feedback=("Misses what is done with the journal.\n" + text, text),
    )


def _jobs() -> list[JobSummary]:
    paid = Usage(requests=1312, prompt_tokens=1_943_221, completion_tokens=210_442, cost_usd=1.3925)
    return [
        JobSummary(job="parse", inputs=16, rows=1312, failures={"encrypted": 1, "no_text": 1}, usage=Usage()),
        JobSummary(job="ask", inputs=1312, rows=2624, failures={}, usage=paid, priced=True),
        JobSummary(job="answer", inputs=2624, rows=2480, failures={"content_filter": 144}, usage=paid, priced=True),
        JobSummary(job="respond", inputs=576, rows=576, failures={}, usage=paid),
        JobSummary(job="judge", inputs=576, rows=552, failures={"timeout": 24}, usage=paid, priced=True),
    ]


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(report_html(sample()))
