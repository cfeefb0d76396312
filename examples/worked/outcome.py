"""The outcome of the worked example: paired differences of every training against the base and the main one, and a plot."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from jobs.evaluation.lexical import token_f1
from jobs.records import Response, Similarity, Verdict
from jobs.report.intervals import Difference, Mean, mean, paired_difference
from jobs.run.folder import RunFolder
from jobs.tuning.lora.losses import Loss

METRICS = {"token F1": (0.0, 1.0), "semantic similarity": (-1.0, 1.0), "correctness": (1.0, 5.0)}
"""The ends of each scale; the first two are primary."""

Scores = Mapping[str, Mapping[str, float | None]]
"""By metric, then by pair."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """The scored answers of one model; `words` are the numbers of words of each."""

    scores: Scores
    words: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What each model answered, in the order of the trainings, and the paper and the question of each pair."""

    answers: Mapping[str, Answers]
    papers: Mapping[str, str]
    questions: Mapping[str, str] = field(default_factory=dict)

    def mean(self, name: str, metric: str) -> Mean:
        scores = self.answers[name].scores[metric]
        pairs = list(self.papers)
        return mean([scores.get(pair) for pair in pairs], [self.papers[pair] for pair in pairs], bounds=METRICS[metric])

    def difference(self, name: str, against: str, metric: str, among: Collection[str] | None = None) -> Difference:
        """Of the answers to each question, over all questions or those `among` the ids of pairs."""
        one, other = self.answers[name].scores[metric], self.answers[against].scores[metric]
        pairs = [pair for pair in self.papers if among is None or pair in among]
        return paired_difference(
            [(one.get(pair), other.get(pair)) for pair in pairs],
            [self.papers[pair] for pair in pairs],
            bounds=METRICS[metric],
        )


def read_outcome(run: Path, order: Sequence[str], judged: Path | None = None) -> Outcome:
    """The answers in the folder `run`, and the verdicts in `judged`, a run of the same questions with fewer models."""
    datasets = RunFolder(run).datasets()
    responses: list[Response] = [row for row in datasets["responses"].rows() if row.retrieval]
    similarities: list[Similarity] = list(datasets["similarities"].rows())
    verdicts: list[Verdict] = list(RunFolder(judged or run).datasets()["verdicts"].rows())
    similar = {row.parent: row.semantic_similarity for row in similarities}
    correct = {row.parent: row.correctness for row in verdicts}
    answers = {}
    for name in order:
        own = [row for row in responses if row.model == name]
        if own:
            answers[name] = Answers(
                scores={
                    "token F1": {row.pair_id: token_f1(row.response, row.reference) for row in own},
                    "semantic similarity": {row.pair_id: similar.get(row.id) for row in own},
                    "correctness": {row.pair_id: correct.get(row.id) for row in own},
                },
                words={row.pair_id: len(row.response.split()) for row in own},
            )
    return Outcome(
        answers=answers,
        papers={row.pair_id: row.paper_id for row in responses},
        questions={row.pair_id: row.question for row in responses},
    )


PRIMARY = tuple(METRICS)[:2]


def means_table(outcome: Outcome, why: Mapping[str, str]) -> str:
    """A row for each model: the means of the primary metrics, and the median number of words of its answers."""
    lines = [_row(["model", "what it is", *PRIMARY, "words"]), _row(["---"] * (3 + len(PRIMARY)))]
    for name, answers in outcome.answers.items():
        means = [_mean(outcome.mean(name, metric)) for metric in PRIMARY]
        lines.append(_row([name, why[name], *means, str(_median(answers.words))]))
    return "\n".join(lines) + "\n"


def differences_table(outcome: Outcome, against: Mapping[str, str]) -> str:
    """A row for each comparison: every training with the base, and with the one that `against` names for it."""
    lines = [_row(["difference", *PRIMARY, "won, lost"]), _row(["---"] * (2 + len(PRIMARY)))]
    names = [name for name in outcome.answers if name != "base"]
    pairs = [(name, "base") for name in names]
    pairs += [(name, against[name]) for name in names if against[name] in names and against[name] != name]
    for name, other in pairs:
        found = [outcome.difference(name, other, metric) for metric in PRIMARY]
        games = f"{found[0].won}, {found[0].lost}"
        lines.append(_row([f"{name} − {other}", *map(_difference, found), games]))
    return "\n".join(lines) + "\n"


def secondary(outcome: Outcome, main: str) -> str:
    """A line on correctness, where both the base and the `main` training were judged; else ""."""
    if main not in outcome.answers:
        return ""
    found = outcome.difference(main, "base", "correctness")
    if not found.scored:
        return ""
    means = [_mean(outcome.mean(name, "correctness")) for name in ("base", main)]
    return f"Correctness by agreement (a demo judge): base {means[0]}, {main} {means[1]}, {_difference(found)}.\n"


def leakage(outcome: Outcome, seen: Collection[str], leaking: str, clean: str) -> str:
    """How much higher `leaking` is than `clean` on the questions that it was trained on, and on the others; else ""."""
    if not {leaking, clean} <= outcome.answers.keys():
        return ""
    known = {pair for pair, question in outcome.questions.items() if question in seen}
    lines = [
        _row(["questions", "metric", f"{leaking} − base", f"{clean} − base", f"{leaking} − {clean}"]),
        _row(["---"] * 5),
    ]
    for what, among in (("in training", known), ("not in training", set(outcome.questions) - known)):
        for metric in PRIMARY if among else ():
            pairs = ((leaking, "base"), (clean, "base"), (leaking, clean))
            cells = [_difference(outcome.difference(one, other, metric, among)) for one, other in pairs]
            lines.append(_row([f"{len(among)} {what}", metric, *cells]))
    return "\n".join(lines) + "\n"


def by_retrieval(outcome: Outcome, found: Collection[str]) -> str:
    """Every training against the base, on the questions whose own chunk is among the contexts (`found`), and on the others.

    A gain of form alone would be the same on both.
    """
    there = {pair for pair, question in outcome.questions.items() if question in found}
    sides = ((f"{len(there)} with their chunk", there), ("the others", set(outcome.questions) - there))
    heads = [f"{metric}, {what}" for metric in PRIMARY for what, _ in sides]
    lines = [_row(["difference", *heads]), _row(["---"] * (1 + len(heads)))]
    for name in outcome.answers:
        if name != "base":
            cells = [
                _difference(outcome.difference(name, "base", metric, among)) for metric in PRIMARY for _, among in sides
            ]
            lines.append(_row([f"{name} − base", *cells]))
    return "\n".join(lines) + "\n"


def picture(outcome: Outcome, metric: str) -> str:
    """An SVG of the differences from the base in `metric`, each with its interval, one line a model."""
    found = {name: outcome.difference(name, "base", metric) for name in outcome.answers if name != "base"}
    shown = [(name, each.mean, each.low, each.high) for name, each in found.items() if each.mean is not None]
    ends = [0.0, *(end for _, _, low, high in shown for end in (low, high) if end is not None)]
    across = _scale(min(ends), max(ends))
    height = 34 + 26 * len(shown) + 24
    style = 'font-family="sans-serif" font-size="12" fill="#555"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" {style}>',
        '<rect width="100%" height="100%" fill="#fff"/>',
        f'<text x="{_EDGE}" y="18">{escape(metric)}: difference from the base, 95 % interval</text>',
        f'<line x1="{across(0):.1f}" x2="{across(0):.1f}" y1="26" y2="{height - 22}" stroke="#bbb"/>',
    ]
    for number, (name, value, low, high) in enumerate(shown):
        y = 44 + 26 * number
        parts.append(f'<text x="{_EDGE - 8}" y="{y + 4}" text-anchor="end">{escape(name)}</text>')
        if low is not None and high is not None:
            parts.append(
                f'<line x1="{across(low):.1f}" x2="{across(high):.1f}" y1="{y}" y2="{y}" stroke="#c2410c" stroke-width="2"/>'
            )
        parts.append(f'<circle cx="{across(value):.1f}" cy="{y}" r="4" fill="#c2410c"/>')
    parts += [
        f'<text x="{across(end):.1f}" y="{height - 8}" text-anchor="middle">{_number(end)}</text>'
        for end in (min(ends), 0.0, max(ends))
    ]
    return "\n".join([*parts, "</svg>\n"])


def loss_picture(losses: Sequence[Loss]) -> str:
    """An SVG of the loss of one training by step, on its own examples and on validation examples."""
    curves = [[(each.step, each.train) for each in losses], [(each.step, each.val) for each in losses]]
    last = max(losses[-1].step, 1)
    top = max(loss for curve in curves for _, loss in curve if loss is not None)
    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 680 260" font-family="sans-serif" font-size="12" fill="#555">',
        '<rect width="100%" height="100%" fill="#fff"/>',
        *(
            f'<text x="38" y="{234 - 210 * share:.0f}" text-anchor="end">{top * share:.1f}</text>'
            for share in (0, 0.5, 1)
        ),
        '<text x="44" y="248">step 0</text>',
        f'<text x="640" y="248" text-anchor="end">step {last}</text>',
    ]
    for curve, name, colour, y in zip(
        curves, ("training", "validation"), ("#8a8f98", "#c2410c"), (20, 36), strict=True
    ):
        points = " ".join(
            f"{44 + 596 * step / last:.1f},{230 - 210 * loss / top:.1f}" for step, loss in curve if loss is not None
        )
        parts.append(f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{points}"/>')
        parts.append(f'<text x="550" y="{y}" fill="{colour}">{name} loss</text>')
    return "\n".join([*parts, "</svg>\n"])


_WIDTH, _EDGE = 640, 120


def _scale(low: float, high: float) -> Callable[[float], float]:
    span = high - low or 1.0
    return lambda value: _EDGE + (_WIDTH - _EDGE - 40) * (value - low) / span


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _mean(found: Mean) -> str:
    if found.mean is None or found.low is None or found.high is None:
        return "–"
    return f"{found.mean:.3f} [{found.low:.3f}, {found.high:.3f}]".replace("-", "−")


def _difference(found: Difference) -> str:
    if found.mean is None or found.low is None or found.high is None:
        return "–"
    p = "" if found.p is None else ", p < 0.001" if found.p < 0.001 else f", p = {found.p:.3f}"
    return f"{_number(found.mean)} [{_number(found.low)}, {_number(found.high)}]{p}"


def _number(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−") if value else "0"


def _median(words: Mapping[str, int]) -> int:
    return sorted(words.values())[len(words) // 2] if words else 0
