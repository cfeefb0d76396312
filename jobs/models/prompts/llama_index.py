"""The prompt texts of LlamaIndex, kept in ``llama_index.json`` with the release line that they come from.

Importing LlamaIndex for them would cost 1.3 s and 100 MB. `jobs.models.prompts.installed` reads them from the installed
LlamaIndex and writes the file; a test compares the two.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import msgspec

__all__ = ["KEPT", "Prompts", "prompts"]

KEPT = Path(__file__).with_name("llama_index.json")
"""The file with the texts."""


class Prompts(msgspec.Struct, frozen=True, kw_only=True):
    """LlamaIndex's prompts; fill a template with `str.format`, which leaves braces in the values alone.

    ``release`` is the release line ("0.14"), ``license`` is the notice under which the texts may be copied.

    ``question_generation`` (DatasetGenerator's DEFAULT_QUESTION_GENERATION_PROMPT) and ``text_qa``
    (DEFAULT_TEXT_QA_PROMPT, the notebook's own) take ``context_str`` and ``query_str``. ``question_query`` is
    DatasetGenerator's query; it takes ``num_questions_per_chunk``. ``text_qa_system`` is the system message of
    CHAT_TEXT_QA_PROMPT and takes nothing.

    ``correctness_system`` and ``correctness_user`` are CorrectnessEvaluator's; the second takes ``query``,
    ``reference_answer`` and ``generated_answer``. ``pairwise_system`` and ``pairwise_user`` are
    PairwiseComparisonEvaluator's; the second takes ``query``, ``reference``, ``answer_1`` and ``answer_2``.
    ``faithfulness`` and ``relevancy`` are those of the evaluators of these names; they take ``query_str`` and
    ``context_str``.
    """

    release: str
    license: str
    question_generation: str
    question_query: str
    text_qa: str
    text_qa_system: str
    correctness_system: str
    correctness_user: str
    pairwise_system: str
    pairwise_user: str
    faithfulness: str
    relevancy: str


@cache
def prompts() -> Prompts:
    """LlamaIndex's default prompts, word for word."""
    return msgspec.json.decode(KEPT.read_bytes(), type=Prompts)
