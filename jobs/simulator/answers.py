"""The answers of the simulated endpoint: pure functions of seed and prompt, built from the prompt's own words."""

from __future__ import annotations

import re
import string
from functools import lru_cache
from typing import Any
from zlib import crc32

import msgspec
import numpy as np

from jobs.simulator.settings import Simulation, draw, lognormal

__all__ = ["count_tokens", "cut", "embed", "say"]

_PUNCTUATION = string.punctuation.encode()


def count_tokens(text: str) -> int:
    """Tokens of the simulated tokenizer: each word and each ASCII punctuation mark is one."""
    data = text.encode("utf-8", "surrogatepass")
    return len(data.split()) + len(data) - len(data.translate(None, _PUNCTUATION))


def cut(text: str, tokens: int) -> str:
    """Whole words from the start of `text`, at most `tokens` tokens and few fewer."""
    while (over := count_tokens(text) - tokens) > 0:
        kept, *dropped = text.rsplit(None, max(1, over * 3 // 4))
        text = kept if dropped else ""
    return text


_RULE = "---------------------"  # surrounds the context in LlamaIndex's prompts
_QUESTIONS = re.compile(
    r"\b(?:generate|set ?up|write|create|ask|make|pose)\b\D{0,60}?\b(\d+|an?|one)\s+(?:[\w-]+\s+){0,3}questions?\b",
    re.IGNORECASE,
)
_BESIDE = re.compile(r"\[The Start of [^\]]+\]\n(.*?)\n\[The End of", re.DOTALL)
_YES_OR_NO = re.compile(r"\byes\s?(?:or|/) no\b", re.IGNORECASE)
_SCORED = re.compile(r"\bscore from 1\b[^\n]{0,40}\bto 5\b", re.IGNORECASE)
_SECOND = "\n\nSecond excerpt:\n"
_TYPES = re.compile(r"types, in this order: ([a-z_]+(?:, [a-z_]+)*)")
_OVER_TWO = "multi_step"
_FACTS = re.compile(r"^Facts of the excerpt:\n((?:\d+\. .*\n?)+)", re.MULTILINE)
_FACT = re.compile(r"\$\.fact_(\d+)\.")
_SENTENCE_END = re.compile(r"[.!?][\"')\]]?\s+")


def say(simulation: Simulation, *, key: str, model: str, prompt: str, schema: Any = None) -> str:
    """The answer to `prompt` (all messages, one per line), built from the prompt's own words.

    A question-writing prompt gets numbered questions; LlamaIndex's correctness prompt a score and a reason, its pairwise
    prompt a preference; one that asks for a score from 1 to 5 a score; a prompt that says "Yes or No" one of the two; a
    JSON `schema` JSON that conforms to it; any other one sentences of its context, after one in ``<quote>`` where the
    prompt asks for quotes.
    """
    context, around = _parts(prompt)
    if schema is not None:
        return msgspec.json.encode(_Conforming(simulation.seed, key, prompt, schema).value(schema, "$")).decode()
    if "## Generated Answer" in prompt:
        return _verdict(prompt, draw(simulation.seed, key, "score"))
    if len(_BESIDE.findall(prompt)) >= 3:
        return _preference(prompt, draw(simulation.seed, key, "score"))
    if "question" in around and (asked := _QUESTIONS.search(around)):
        count = int(asked[1]) if asked[1].isdecimal() else 1
        start = draw(simulation.seed, key, "place")
        lines = (f"{i + 1}. {_question(context, (start + i / count) % 1, i)}" for i in range(min(count, 1000)))
        return "\n".join(lines)
    if _YES_OR_NO.search(prompt):
        return "Yes" if draw(simulation.seed, key, "score") < 0.7 else "No"
    if _SCORED.search(around):
        score = 1 + round(8 * draw(simulation.seed, key, "score")) / 2
        return f"{score}\nThe simulated judge gives this score by chance."
    passage = _passage(simulation, key, model, context, around)
    if "</quote>" in around:
        return f"<quote>{cut(_sentence(context, draw(simulation.seed, key, 'place')), 40)}</quote> {passage}"
    return passage


def _parts(prompt: str) -> tuple[str, str]:
    """The context of a prompt, and the instructions around it; both are the whole prompt if it has no separators."""
    first, last = prompt.find(_RULE), prompt.rfind(_RULE)
    if first == last:
        return prompt, prompt
    return prompt[first + len(_RULE) : last].strip(), prompt[:first] + prompt[last + len(_RULE) :]


def _verdict(prompt: str, luck: float) -> str:
    """A score from 1 to 5 in steps of 0.5: half random, half from the words that answer and reference share."""
    reference, _, answer = prompt.rpartition("## Reference Answer")[2].partition("## Generated Answer")
    overlap = _overlap(reference, answer)
    score = min(5.0, round(2 * (1.5 + 2 * luck + 2 * overlap)) / 2)
    return f"{score}\nThe answer shares {overlap:.0%} of its words with the reference."


def _preference(prompt: str, luck: float) -> str:
    """Which of two answers is better: half random, half from the words that each shares with the reference."""
    reference, *answers = _BESIDE.findall(prompt)
    first, second = (_overlap(reference, answer) for answer in answers[:2])
    lead = first - second + luck - 0.5
    return f"One shares {first:.0%} of its words with the reference, the other {second:.0%}.\n" + (
        "[[C]]" if abs(lead) < 0.05 else "[[A]]" if lead > 0 else "[[B]]"
    )


def _overlap(one: str, other: str) -> float:
    """The share of common words among all words of both texts."""
    words, others = set(one.lower().split()), set(other.lower().split())
    return len(words & others) / len(words | others) if words else 0.0


def _passage(simulation: Simulation, key: str, model: str, context: str, around: str) -> str:
    """Sentences copied from the context. A tuned model finds those that the query is about more often."""
    tokens = lognormal(simulation.output_tokens_mean, simulation.output_tokens_sigma, simulation.seed, key, "length")
    start = _sentence_start(context, int(draw(simulation.seed, key, "place") * len(context)))
    quality = 0.9 if model.startswith("ft:") else 0.6
    if (query := around.rpartition("Query:")[2]) != around and draw(simulation.seed, key, "quality") < quality:
        words = sorted(re.findall(r"\w{5,}", query), key=len, reverse=True)
        start = next((_sentence_before(context, at) for word in words if (at := context.find(word)) >= 0), start)
    wanted = start + max(1, int(tokens * 5))
    while 0 < len(context) < wanted:
        context += " " + context
    end = _SENTENCE_END.search(context, wanted)
    return cut(context[start : end.end() if end else None].strip(), max(1, round(tokens)))


def _sentence_start(text: str, at: int) -> int:
    end = _SENTENCE_END.search(text, at)
    return end.end() if end and end.end() < len(text) else 0


def _sentence_before(text: str, at: int) -> int:
    from_ = max(0, at - 500)
    return next((from_ + end.end() for end in reversed(list(_SENTENCE_END.finditer(text[from_:at])))), from_)


def _sentence(text: str, share: float) -> str:
    """The sentence that begins after the given share of the text, word for word, at most 400 characters."""
    start = _sentence_start(text, int(share * len(text)))
    end = _SENTENCE_END.search(text, min(len(text), start + 20))
    return text[start : end.end() if end else None][:400].strip()


_FORMS = (
    "What connects {} with {}?",
    "How is {} related to {}?",
    "Why does {} matter for {}?",
    "What is known of {} with regard to {}?",
)


def _question(text: str, share: float, number: int) -> str:
    """A question made of six words that follow each other in one sentence."""
    words = re.findall(r"[^\W\d_]{3,}", _sentence(text, share)) or ["this", "text"]
    start = int(share * 7919) % max(1, len(words) - 5)
    words = words[start : start + 6]
    half = (len(words) + 1) // 2
    return _FORMS[number % len(_FORMS)].format(" ".join(words[:half]), " ".join(words[half:]) or "the rest")


class _Conforming:
    """Values that conform to a JSON schema, their strings taken word for word from the context's sentences.

    Where the prompt names types "in this order", a list of things with a type has one of each. A question over two
    excerpts is answered from both. Where the prompt states facts, the strings of "fact_2" are taken from the second one.
    """

    def __init__(self, seed: int, key: str, prompt: str, root: Any) -> None:
        self._seed, self._key, self._root = seed, key, root
        context, around = _parts(prompt)
        self._context, _, self._second = context.partition(_SECOND)
        asked = _TYPES.search(around)
        self._types = asked[1].split(", ") if asked else []
        stated = _FACTS.search(around)
        self._facts = [line.partition(". ")[2] for line in stated[1].splitlines()] if stated else []

    def value(self, schema: Any, path: str, name: str = "") -> Any:
        """``path`` is where the value stands, ``name`` its property. The strings of one object share a sentence."""
        deep = path.count(".") > 8  # the end of a recursive schema
        schema = self._resolved(schema if isinstance(schema, dict) else {}, deep=deep)
        luck = draw(self._seed, self._key, path)
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return schema["enum"][int(luck * len(schema["enum"]))]
        kind = schema.get("type", "object" if "properties" in schema else "string")
        match kind[0] if isinstance(kind, list) else kind:
            case "object":
                names = schema.get("required", []) if deep else schema.get("properties", {})
                made = {of: self.value(schema.get("properties", {}).get(of), f"{path}.{of}", of) for of in names}
                return _over_two(made)
            case "array":
                count = self._count(schema, 0.0 if deep else luck)
                items = schema.get("items")
                if self._types and isinstance(items, dict) and "type" in items.get("properties", {}):
                    typed = [_of_type(items, type_) for type_ in self._types]
                    return [self.value(each, f"{path}[{i}]", name) for i, each in enumerate(typed)]
                return [self.value(items, f"{path}[{i}]", name) for i in range(count)]
            case "integer":
                low = schema.get("minimum", schema.get("exclusiveMinimum", -1) + 1)
                high = schema.get("maximum", schema.get("exclusiveMaximum", low + 11) - 1)
                return low + int(luck * (high - low + 1))
            case "number":
                low = schema.get("minimum", schema.get("exclusiveMinimum", 0))
                return low + luck * (schema.get("maximum", schema.get("exclusiveMaximum", low + 10)) - low)
            case "boolean":
                return luck < 0.5
            case "null":
                return None
        return self._string(schema, path, name)

    def _resolved(self, schema: dict[str, Any], *, deep: bool) -> dict[str, Any]:
        while True:
            if "$ref" in schema:
                target = self._root
                for step in str(schema["$ref"]).removeprefix("#").strip("/").split("/"):
                    target = target.get(step, {}) if step else target
                schema = target
            elif options := schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf"):
                schema = options[-1 if deep else 0]
            else:
                return schema

    def _count(self, schema: dict[str, Any], luck: float) -> int:
        low = int(schema.get("minItems", min(1, schema.get("maxItems", 1))))
        high = int(schema.get("maxItems", low + 2))
        return low + int(luck * (high - low + 1))

    def _string(self, schema: dict[str, Any], path: str, name: str) -> str:
        whole = path if path.endswith("]") else path.rpartition(".")[0]
        share = draw(self._seed, self._key, f"sentence {whole}")
        context = self._second if name.startswith("second") and self._second else self._context
        if (fact := _FACT.match(path)) and int(fact[1]) <= len(self._facts):
            context = self._facts[int(fact[1]) - 1]
        text = _question(context, share, 0) if "question" in name else _sentence(context, share)
        return text.ljust(schema.get("minLength", 0), ".")[: schema.get("maxLength")]


def _of_type(schema: dict[str, Any], type_: str) -> dict[str, Any]:
    return {**schema, "properties": {**schema["properties"], "type": {"const": type_}}}


def _over_two(made: dict[str, Any]) -> dict[str, Any]:
    """`made`, answered from two pieces of evidence if it has two; a question of another type has one."""
    if not {"evidence", "second_evidence", "answer"} <= made.keys():
        return made
    if made.get("type", _OVER_TWO) != _OVER_TWO:
        return {**made, "second_evidence": ""}
    return {**made, "answer": f"{made['evidence']} {made['second_evidence']}"}


def embed(text: str, dimensions: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """A unit vector of little-endian float32: a hashed bag of words, so texts that share words lie close."""
    words = re.findall(r"\w+", text.lower()) or [text]
    hashes = np.fromiter(map(_hash, words), np.int64, len(words))
    signs = np.where(hashes & 1, 1.0, -1.0)
    vector = np.bincount((hashes >> 1) % dimensions, signs, dimensions)
    vector = np.sign(vector) * np.sqrt(np.abs(vector))
    if not (length := float(np.linalg.norm(vector))):  # the signs cancelled out
        vector[hashes[0] % dimensions] = length = 1.0
    return (vector / length).astype("<f4")


@lru_cache(maxsize=1 << 16)
def _hash(word: str) -> int:
    return crc32(word.encode("utf-8", "surrogatepass"))
