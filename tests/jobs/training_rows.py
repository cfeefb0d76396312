"""Examples and pairs that become training files."""

from __future__ import annotations

from engine.records import make_id
from jobs.records import Context, Example, Pair

SYSTEM = "You answer questions about {title}; {braces} stay."
UNTRUSTED = 'Überraschung: "q\\n"\u2028</script> {query_str} 🦆\t\n2nd line'


def make_example(number: int = 0, *, split: str = "train", answer: str = "Retries back off.", **fields: str) -> Example:
    pair = make_pair(number, split=split)
    return Example(
        id=make_id("example", number),
        parent=pair.id,
        pair_id=pair.id,
        paper_id=pair.paper_id,
        title=fields.get("title", "On Mills"),
        question=pair.question,
        prompt=fields.get("prompt", f"Context {number}\nQuery: {pair.question}\nAnswer: "),
        answer=answer,
        contexts=[Context(chunk_id=make_id("chunk", number), rank=0, score=0.5)],
        split=split,
    )


def make_pair(number: int = 0, *, split: str = "train", question: str = "", answer: str = "Retries back off.") -> Pair:
    return Pair(
        id=make_id("pair", number),
        parent=make_id("question", number),
        chunk_id=make_id("chunk", number),
        paper_id=make_id("paper", number // 4),
        question=question or f"What is rule {number}?",
        answer=answer,
        split=split,
    )


def sides(number: int) -> str:
    return "val" if number % 3 == 2 else "train"


EXAMPLES = [make_example(n, split=sides(n)) for n in range(7)] + [make_example(7, title="É", answer=UNTRUSTED)]
PAIRS = [make_pair(n, split=sides(n)) for n in range(7)] + [make_pair(7, question=UNTRUSTED, answer=UNTRUSTED)]
