"""Rows of training files as pairs of question and answer: chats, ShareGPT, Alpaca, TRL and Parquet, as we export them.

Their questions are in LlamaIndex's QA prompt, after the contexts. The prompt is split again into the question and its
contexts; all contexts of one prompt become one text, because no separator is certain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jobs.models.prompts.llama_index import prompts

__all__ = ["as_fields", "unpacked"]


def as_fields(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """`row` with ``question``, ``answer`` and ``contexts``, if it is from an export; any other row unchanged."""
    match row:
        case {"messages": list(turns)}:
            question, answer = _said(turns, "user"), _said(turns, "assistant")
        case {"prompt": list(before), "completion": list(after)}:
            question, answer = _said(before, "user"), _said(after, "assistant")
        case {"conversations": list(turns)}:
            question, answer = _said(turns, "human", "user"), _said(turns, "gpt", "assistant")
        case {"instruction": str(instruction), "output": answer}:
            more = row.get("input")
            question = f"{instruction}\n{more}" if isinstance(more, str) and more.strip() else instruction
        case {"prompt": str(question), "completion": answer} | {"query": str(question), "response": answer}:
            pass
        case _:
            return row
    question, contexts = unpacked(question)
    kept = {name: row[name] for name in ("contexts", "context", "paper") if name in row}
    if "retrieval_prompt" in row:  # Parquet: its contexts are ids of chunks, and their texts stand in the prompt
        kept = {"paper": row.get("title")}
    return {**kept, "question": question, "answer": answer, **({"contexts": list(contexts)} if contexts else {})}


def unpacked(text: Any) -> tuple[Any, tuple[str, ...]]:
    """The question and the contexts of a text that is LlamaIndex's QA prompt; any other text is a question alone."""
    head, _, rest = prompts().text_qa.partition("{context_str}")
    middle, _, tail = rest.partition("{query_str}")
    if not isinstance(text, str):
        return text, ()
    whole, end = text.strip(), tail.strip()
    if not (whole.startswith(head.strip()) and middle in whole and whole.endswith(end)):
        return text, ()
    contexts, _, question = whole.removesuffix(end).rpartition(middle)
    context = contexts.removeprefix(head.strip()).strip()
    return question.strip(), (context,) if context else ()


def _said(turns: Sequence[Any], *speakers: str) -> Any:
    """The last message of one of `speakers`; None if there is none."""
    said = [
        turn.get("content", turn.get("value"))
        for turn in turns
        if isinstance(turn, Mapping) and turn.get("role", turn.get("from")) in speakers
    ]
    return said[-1] if said else None
