"""The recipe "grounded" for small models: the request states sentences of the chunk, and the model asks about each.

A small model that copies its evidence makes some up, so it has none to choose. It is asked about more sentences than pairs
are wanted; of the pairs that pass the checks, the best are kept. The schema bounds lengths, so the reply always ends. A
question that does not say what it is about is given the title of its paper.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from typing import Any

from engine.requests import AnswerSchema, Request
from jobs.generation.evidence import best_sentences, worth_asking
from jobs.generation.grounded import Reading, Task, about, entries, explained, object_schema, source
from jobs.generation.manner import NO_MANNER, Manner
from jobs.generation.pair_checks import STATED, GroundedPair, duplicates, fault, joined, support, uncited
from jobs.generation.question_types import MULTI_STEP, TYPES
from jobs.generation.subjects import impersonal, named, without_paper
from jobs.generation.words import NAME, subject_terms, terms, unlinked
from jobs.models.chat import Malformed, chat
from jobs.models.prompts import filled, own_prompt
from jobs.records import Chunk

__all__ = ["Stated"]

_SENTENCES_PER_PAIR = 2
_TOKENS_PER_PAIR = 200  # what fits into the lengths of the schema, and half as much again
_QUESTION_CHARACTERS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fact:
    """A sentence that is asked about; with ``second``, a sentence of the second chunk, where two are."""

    evidence: str
    type: str = ""
    second: str = ""

    def __str__(self) -> str:
        return f"{self.evidence} And, from the second excerpt: {self.second}" if self.second else self.evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Stated:
    """``own`` is a user's prompt in place of ours. ``name_paper`` gives titles to questions that need one."""

    own: str = ""
    manner: Manner = NO_MANNER
    name_paper: bool = True

    def can_ask(self, chunk: Chunk) -> bool:
        """See `Form`."""
        return bool(worth_asking(chunk.text))

    def request(self, task: Task) -> Request | None:
        """See `Form`."""
        facts = _facts(task)
        if not facts:
            return None
        pair = {
            "question": {"type": "string", "maxLength": _QUESTION_CHARACTERS},
            "answer": {"type": "string", "maxLength": STATED.longest},
        }
        pairs = object_schema({f"fact_{number}": object_schema(pair) for number in range(1, len(facts) + 1)})
        return chat(
            "generator",
            self._messages(task, facts),
            max_tokens=_TOKENS_PER_PAIR * len(facts),
            schema=AnswerSchema(name="pairs", schema=pairs),
        )

    def read(self, reply: str, task: Task) -> Reading:
        """See `Form`. Of the pairs that pass, the best `task.count` are kept; reasons are counted for those that lack.

        Raises `Malformed`.
        """
        facts = _facts(task)
        given = entries(reply)[: len(facts)]
        pairs = [_pair(fact, each) for fact, each in zip(facts, given, strict=False)]
        if pairs and not any(pairs):
            raise Malformed("None of its pairs has question and answer.")
        reasons = ["malformed" if pair is None else self._fault(pair, task) for pair in pairs]
        passed = [pair for pair, reason in zip(pairs, reasons, strict=True) if pair and not reason]
        kept = _best(passed, task)
        rejected = [reason for reason in reasons if reason][: task.count - len(kept)]
        title = self._title(task)
        return Reading(
            pairs=tuple(replace(pair, question=named(pair.question, title)) for pair in passed if pair in kept),
            rejected=dict(Counter(rejected)),
        )

    def _title(self, task: Task) -> str:
        return task.chunk.title if self.name_paper else ""

    def _fault(self, pair: GroundedPair, task: Task) -> str:
        """The first check that `pair` fails, or "". Its paper may be spoken of where its title will be said."""
        texts = [joined(chunk.text) for chunk in (task.chunks if pair.type == MULTI_STEP else task.chunks[:1])]
        title = self._title(task)
        if title:
            pair = replace(pair, question=joined(without_paper(pair.question)), answer=without_paper(pair.answer))
        standard = replace(STATED, same_words=self.manner.shares_words(texts[0]))
        return fault(pair, texts, task.besides, standard, title=title)

    def _messages(self, task: Task, facts: Sequence[_Fact]) -> list[Mapping[str, str]]:
        """What all requests share stands first, where the server's prefix cache finds it."""
        listed = "\n".join(f"{number}. {fact}" for number, fact in enumerate(facts, 1))
        types = [fact.type for fact in facts if fact.type]
        if self.own:
            known = explained(task.types or tuple(TYPES))
            user = filled(self.own, text=task.text, count=len(facts), types=known, **about(task.chunk))
            return self.manner.before([{"role": "user", "content": f"{user}\n\nFacts of the excerpt:\n{listed}"}])
        user = filled(own_prompt("stated_user"), title=source(task.chunk), text=task.text, facts=listed)
        if types:
            user += (
                f"\nThey are of these types, in this order: {', '.join(types)}.\nThe types mean: {explained(types)}."
            )
        return self.manner.before(
            [{"role": "system", "content": own_prompt("stated_system")}, {"role": "user", "content": user}]
        )


def _facts(task: Task) -> list[_Fact]:
    """What is asked about, with the type that each question is to have."""
    used = {pair.evidence for pair in task.besides}
    chosen = best_sentences(task.chunk.text, task.chunk.title, _SENTENCES_PER_PAIR * task.count, besides=used)
    typed = zip(chosen, cycle(task.types or [""]), strict=False)
    return [_Fact(evidence=each, type=type_, second=_second(each, type_, task)) for each, type_ in typed]


def _second(evidence: str, type_: str, task: Task) -> str:
    """The sentence of the second chunk that has the most in common with `evidence`; "" where one is enough."""
    if type_ != MULTI_STEP or task.second is None:
        return ""
    said = subject_terms(evidence)
    return max(worth_asking(task.second.text), key=lambda sentence: len(said & terms(sentence)), default="")


def _pair(fact: _Fact, value: Any) -> GroundedPair | None:
    try:
        fields = {str(key).casefold(): text for key, text in value.items()}
        question, answer = uncited(fields["question"]), impersonal(unlinked(uncited(fields["answer"])))
        f"{question}{answer}".encode()  # JSON can spell what UTF-8 cannot
    except (AttributeError, KeyError, TypeError, UnicodeEncodeError):
        return None
    return GroundedPair(
        evidence=fact.evidence,
        question=impersonal(question),
        answer=answer,
        type=fact.type,
        second_evidence=fact.second,
    )


def _best(passed: Sequence[GroundedPair], task: Task) -> list[GroundedPair]:
    """The best `task.count` pairs, as many of each type as are wanted, no two of which ask the same."""
    kept: list[GroundedPair] = []
    left = Counter(task.types)
    for pair in sorted(passed, key=_goodness, reverse=True):
        wanted = left[pair.type] > 0 if task.types else len(kept) < task.count
        if wanted and not duplicates(pair, kept):
            kept.append(pair)
            left[pair.type] -= 1
    return kept


def _goodness(pair: GroundedPair) -> float:
    """How much of the evidence question and answer say, how much of the answer is in it, and names in the question."""
    evidence = f"{pair.evidence} {pair.second_evidence}"
    said, known = terms(f"{pair.question} {pair.answer}"), terms(evidence)
    covered = len(said & known) / len(known) if known else 0.0
    return covered + support(pair, evidence) + 0.25 * min(2, len(set(NAME.findall(pair.question))))
