"""The recipes that are compared: each makes pairs about one chunk with one model, in its own words.

Ours are those of the product. A rival's are the prompts, and where it can be had the code, of its installed package;
what it does not say itself (the bound on an answer's length) is the same for all. Nothing is mended: a rival's pairs are
what its own reading of the model's answers gives.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from installed import distilabel, notebook, quiet, raft, synthetic_data_kit
from model import Model

from jobs.generation.copied import Copied
from jobs.generation.grounded import Form, Task
from jobs.generation.stated import Stated
from jobs.models.chat import Malformed
from jobs.records import Chunk

__all__ = ["RECIPES", "Made", "Recipe"]

_ANSWER_TOKENS = 600
_QUESTION_TOKENS = 200
_PAIRS_TOKENS = 700


class Made(NamedTuple):
    """A pair that a recipe would keep."""

    question: str
    answer: str


Recipe = Callable[[Model, Chunk, int], list[Made]]
"""From the model, a chunk and the number of pairs that is asked for to the pairs that it keeps, that many at most."""


def stated(model: Model, chunk: Chunk, count: int) -> list[Made]:
    """Ours as a local generator has it: the request states sentences of the chunk, and asks for pairs about each."""
    return _grounded(Stated(), model, chunk, count)


def grounded(model: Model, chunk: Chunk, count: int) -> list[Made]:
    """Ours as any endpoint has it: the model copies its evidence, and a type is said too, in one request."""
    return _grounded(Copied(max_tokens=_PAIRS_TOKENS), model, chunk, count)


def _grounded(form: Form, model: Model, chunk: Chunk, count: int) -> list[Made]:
    task = Task(chunk=chunk, count=count)
    request = form.request(task)
    if request is None:
        return []
    assert request.schema is not None
    reply = model.ask(request.messages, max_tokens=request.max_output_tokens, schema=request.schema.schema)
    try:
        return [Made(pair.question, pair.answer) for pair in form.read(reply, task).pairs]
    except Malformed:
        return []


def llama_index(model: Model, chunk: Chunk, count: int) -> list[Made]:
    """The notebook's: LlamaIndex's DatasetGenerator for questions, then its QA prompt with the chunk as the context."""
    query, questions, answers = notebook()
    query = query.format(num_questions_per_chunk=count)
    reply = model.ask(_user(questions.format(context_str=chunk.text, query_str=query)), max_tokens=_QUESTION_TOKENS)
    lines = [re.sub(r"^\d+[\).\s]", "", line).strip() for line in reply.strip().split("\n")]  # as DatasetGenerator does
    return [
        Made(line, _answered(model, answers.format(context_str=chunk.text, query_str=line)))
        for line in [line for line in lines if line][:count]
    ]


def raft_pack(model: Model, chunk: Chunk, count: int) -> list[Made]:
    """LlamaIndex's pack of gorilla's RAFT: its own methods write the questions and the reasoned answers.

    The answer is what follows the mark of the final answer; the whole reasoning where the model has set no mark.
    """
    pack = raft(lambda messages: model.ask(messages, max_tokens=_ANSWER_TOKENS))
    found = pack.generate_instructions_gen(chunk.text, count)
    return [Made(question, _final(pack.generate_label(question, chunk.text))) for question in found]


def kit(model: Model, chunk: Chunk, count: int) -> list[Made]:
    """synthetic-data-kit's: pairs in one request, then rated by the model; those of its threshold or better are kept.

    Its summary of each document is left out and not counted: its prompt for pairs has no place for it.
    """
    with quiet():
        generator = synthetic_data_kit(_KitClient(model))
        pairs = generator.generate_qa_pairs(chunk.text, "", num_pairs=count)
        pairs = [pair for pair in pairs if isinstance(pair, Mapping) and {"question", "answer"} <= pair.keys()]
        rated, _ = generator.rate_qa_pairs(pairs, "")
    return [Made(str(pair["question"]), str(pair["answer"])) for pair in rated if {"question", "answer"} <= pair.keys()]


class _KitClient:
    """What synthetic-data-kit calls for a model."""

    def __init__(self, model: Model) -> None:
        self._model = model

    def chat_completion(self, messages: Sequence[Mapping[str, str]], temperature: float) -> str:
        return self._model.ask(messages, max_tokens=_PAIRS_TOKENS, temperature=temperature)

    def batch_completion(self, batches: Sequence[Any], temperature: float, batch_size: int) -> list[str]:
        return [self.chat_completion(messages, temperature) for messages in batches]


def self_instruct(model: Model, chunk: Chunk, count: int) -> list[Made]:
    """distilabel's: SelfInstruct for questions, then TextGeneration with the template that it documents for documents."""
    import jinja2

    questions, answers = (jinja2.Template(text) for text in distilabel())
    prompt = questions.render(num_instructions=count, input=chunk.text)
    reply = model.ask(_user(prompt), max_tokens=_QUESTION_TOKENS, temperature=0.7)
    found = [line for line in reply.split("\n") if line][:count]
    return [
        Made(line, _answered(model, answers.render(document=chunk.text, question=line), temperature=0.7))
        for line in found
    ]


RECIPES: Mapping[str, Recipe] = {
    "stated": stated,
    "grounded": grounded,
    "llama-index": llama_index,
    "raft": raft_pack,
    "synthetic-data-kit": kit,
    "distilabel": self_instruct,
}


def _user(prompt: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": prompt}]


def _answered(model: Model, prompt: str, temperature: float = 0.0) -> str:
    return model.ask(_user(prompt), max_tokens=_ANSWER_TOKENS, temperature=temperature).strip()


def _final(answer: str) -> str:
    """What follows RAFT's mark of the final answer."""
    _, mark, final = answer.rpartition("<ANSWER>:")
    return final.strip() if mark and final.strip() else answer.strip()
