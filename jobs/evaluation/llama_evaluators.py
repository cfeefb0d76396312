"""LlamaIndex's evaluators by name, each asked about one response with at most one request.

Importing this module imports LlamaIndex; see `jobs.models.llama_index`. An evaluator is a class of
``llama_index.core.evaluation``, or of another module where its name has dots before it.
"""

from __future__ import annotations

import importlib
import inspect
import math
from collections.abc import Sequence

from llama_index.core.evaluation import BaseEvaluator

from engine.errors import BadInput, GristmillError, Permanent
from engine.requests import Call, Reply, Request
from jobs.evaluation.grounding import Finding
from jobs.models.llama_index import CallEmbedding, CallLLM
from jobs.records import Response

__all__ = ["evaluate", "evaluator_class"]

_PREFIX = "llama:"
_HOME = "llama_index.core.evaluation"


def evaluator_class(metric: str) -> type[BaseEvaluator]:
    """The class that ``llama:NAME`` means; raises `BadInput` when there is none."""
    module, _, name = metric.removeprefix(_PREFIX).rpartition(".")
    try:
        found = getattr(importlib.import_module(module or _HOME), name)
    except (ImportError, AttributeError) as error:
        raise BadInput(f"evaluate.metrics: there is no evaluator {metric}: {error}") from error
    if not (isinstance(found, type) and issubclass(found, BaseEvaluator)) or inspect.isabstract(found):
        raise BadInput(f"evaluate.metrics: {metric} is no evaluator of LlamaIndex's")
    return found


async def evaluate(metric: str, call: Call, response: Response, contexts: Sequence[str], *, max_tokens: int) -> Finding:
    """The evaluator's result; its constructor gets the judge and the embedding if it takes them.

    Raises the errors of `call`, and `Permanent`: of kind "second_request" if the evaluator needs more than one request,
    because a record may have only one; "malformed" if it fails or gives no score.
    """
    kind, once = evaluator_class(metric), _Once(call, metric)
    takes = inspect.signature(kind).parameters
    models = {"llm": CallLLM(once, to="judge", max_tokens=max_tokens), "embed_model": CallEmbedding(once)}
    try:
        result = await kind(**{name: model for name, model in models.items() if name in takes}).aevaluate(
            query=response.question,
            response=response.response,
            contexts=contexts or None,
            reference=response.reference,
        )
    except GristmillError:
        raise
    except Exception as error:  # whatever the plugged-in code raises
        raise Permanent(f"{metric}: {type(error).__name__}: {error}", kind="malformed") from error
    score = result.score if result.score is not None or result.passing is None else float(result.passing)
    if result.invalid_result or score is None or not math.isfinite(score):
        raise Permanent(f"{metric}: {result.invalid_reason or 'no score'}", kind="malformed")
    return Finding(score=score, passing=result.passing, feedback=result.feedback or "")


class _Once:
    """`call`, for one request only."""

    def __init__(self, call: Call, metric: str) -> None:
        self._call = call
        self._metric = metric
        self._used = False

    async def __call__(self, request: Request) -> Reply:
        if self._used:
            raise Permanent(
                f"{self._metric} needs a second request for one response, and a record may have only one",
                kind="second_request",
            )
        self._used = True
        return await self._call(request)
