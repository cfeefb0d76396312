from __future__ import annotations

import pytest
from llama_index.core.evaluation.dataset_generation import DatasetGenerator
from llama_index.core.llms import MockLLM
from llama_index.core.prompts.chat_prompts import CHAT_TEXT_QA_PROMPT
from llama_index.core.prompts.default_prompts import DEFAULT_TEXT_QA_PROMPT

from jobs.models.prompts import RELEASE
from jobs.models.prompts.installed import installed_prompts
from jobs.models.prompts.llama_index import prompts

NOTEBOOK_TEMPLATE = (
    "Context information is below.\n"
    "---------------------\n"
    "{context_str}\n"
    "---------------------\n"
    "Given the context information and not prior knowledge, "
    "answer the query.\n"
    "Query: {query_str}\n"
    "Answer: "
)


def test_the_kept_texts_are_those_of_the_installed_llama_index() -> None:
    """What is kept is what the installed LlamaIndex says, of the release that stands in the fingerprints.

    Where this fails after an upgrade, `make prompts` writes the file, and rows of the old release become stale.
    """
    assert prompts() == installed_prompts()
    assert RELEASE == {"llama_index": "0.14"}


def test_qa_prompt_is_the_notebooks() -> None:
    """The QA template is LlamaIndex's own object's, and word for word the notebook's."""
    assert prompts().text_qa == NOTEBOOK_TEMPLATE
    filled = prompts().text_qa.format(context_str="{c}", query_str="q {x}")
    assert filled == DEFAULT_TEXT_QA_PROMPT.format(context_str="{c}", query_str="q {x}")


def test_chat_qa_prompt() -> None:
    """System text and template together are CHAT_TEXT_QA_PROMPT, what a query engine sends to a chat model."""
    system, user = CHAT_TEXT_QA_PROMPT.format_messages(context_str="c", query_str="q")
    assert system.content == prompts().text_qa_system
    assert user.content == prompts().text_qa.format(context_str="c", query_str="q")


def test_templates_take_their_fields() -> None:
    """Each template can be filled with the fields that its documentation names."""
    texts = prompts()
    assert "c7\n" in texts.question_generation.format(context_str="c7", query_str="q")
    filled = texts.correctness_user.format(query="q1", reference_answer="r2", generated_answer="a3")
    assert all(part in filled for part in ("q1", "r2", "a3"))
    assert "{" not in texts.correctness_system


def test_question_query() -> None:
    """The query for n questions is DatasetGenerator's, but for its runs of spaces."""
    query = prompts().question_query.format(num_questions_per_chunk=7)
    with pytest.warns(DeprecationWarning, match="RagDatasetGenerator"):
        theirs = DatasetGenerator(nodes=[], llm=MockLLM(), num_questions_per_chunk=7).question_gen_query
    assert query.split() == theirs.split()
    assert "  " not in query
    assert "setup 7 questions" in query
