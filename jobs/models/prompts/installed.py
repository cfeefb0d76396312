"""The prompt texts of the installed LlamaIndex: what ``llama_index.json`` must hold.

``python -m jobs.models.prompts.installed`` writes that file for a new release of LlamaIndex. The texts are part of what a
row means, so a release whose texts differ makes a new release line, which stands in the fingerprints.
"""

from __future__ import annotations

import re
from importlib.metadata import version
from typing import Any

import msgspec
from llama_index.core.evaluation import correctness, faithfulness, pairwise, relevancy
from llama_index.core.evaluation.dataset_generation import DEFAULT_QUESTION_GENERATION_PROMPT, DatasetGenerator
from llama_index.core.prompts.chat_prompts import TEXT_QA_SYSTEM_PROMPT
from llama_index.core.prompts.default_prompts import DEFAULT_TEXT_QA_PROMPT

from engine.files import write_atomic
from jobs.models.prompts.llama_index import KEPT, Prompts

__all__ = ["installed_prompts"]


def installed_prompts() -> Prompts:
    """The texts of the installed LlamaIndex, word for word."""
    return Prompts(
        release=".".join(version("llama-index-core").split(".")[:2]),
        license="LlamaIndex (https://github.com/run-llama/llama_index), MIT License, Copyright (c) Jerry Liu",
        question_generation=DEFAULT_QUESTION_GENERATION_PROMPT,
        question_query=_question_query(),
        text_qa=DEFAULT_TEXT_QA_PROMPT.get_template(),
        text_qa_system=TEXT_QA_SYSTEM_PROMPT.content or "",
        correctness_system=correctness.DEFAULT_SYSTEM_TEMPLATE,
        correctness_user=correctness.DEFAULT_USER_TEMPLATE,
        pairwise_system=pairwise.DEFAULT_SYSTEM_TEMPLATE,
        pairwise_user=pairwise.DEFAULT_USER_TEMPLATE,
        faithfulness=faithfulness.DEFAULT_EVAL_TEMPLATE.get_template(),
        relevancy=relevancy.DEFAULT_EVAL_TEMPLATE.get_template(),
    )


def _question_query() -> str:
    """DatasetGenerator's query, with its accidental runs of spaces made single.

    The text exists only inside its constructor, which is called past the class's deprecation warning: that warning
    shows itself on every call, whatever the filters say. Nothing of the object is used but the text.
    """
    generator = object.__new__(DatasetGenerator)
    number: Any = "{num_questions_per_chunk}"
    DatasetGenerator.__init__(
        generator, nodes=[], llm=_UNUSED, callback_manager=_UNUSED, num_questions_per_chunk=number
    )
    return re.sub(r" {2,}", " ", generator.question_gen_query)


_UNUSED: Any = object()  # true, so that no default model is looked up


if __name__ == "__main__":
    write_atomic(KEPT, msgspec.json.format(msgspec.json.encode(installed_prompts()), indent=2) + b"\n")
