"""The notebook's data steps on today's LlamaIndex, paper by paper, as it does them: each step with its own defaults.

Read, split, ask 20 questions a chunk of up to 39 chunks, answer all, keep the first 60, index, retrieve for each, save.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from pathlib import Path

import msgspec

_CHUNKS, _QUESTIONS_A_CHUNK, _TOP_K = 39, 20, 1
_PROMPT = (
    "Context information is below.\n---------------------\n{context_str}\n---------------------\n"
    "Given the context information and not prior knowledge, answer the query.\nQuery: {query_str}\nAnswer: "
)


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """What this process is told: the papers, one after the other, and how many pairs of each are kept."""

    base_url: str
    folder: str
    papers: list[str]
    kept: int


class Ground(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds of the imports and of each paper, the examples that were kept, and CPU seconds of all."""

    import_s: float
    paper_s: list[float]
    examples: int
    cpu_s: float


def main() -> None:
    task = msgspec.json.decode(sys.argv[1], type=Task)
    warnings.simplefilter("ignore")
    began = time.perf_counter()
    from llama_index.embeddings.openai import OpenAIEmbedding
    from llama_index.llms.openai_like import OpenAILike

    import_s = time.perf_counter() - began
    model = OpenAILike(
        model="simulated-chat", api_base=task.base_url, api_key="none", is_chat_model=True, temperature=0.3
    )
    embedding = OpenAIEmbedding(model_name="simulated-embedding", api_base=task.base_url, api_key="none")
    paper_s, examples = [], 0
    for number, paper in enumerate(task.papers):
        began = time.perf_counter()
        rows = _augmented(Path(paper), task.kept, model, embedding)
        (Path(task.folder) / f"{number}.json").write_text(json.dumps(rows))
        paper_s.append(time.perf_counter() - began)
        examples += len(rows)
    ground = Ground(import_s=import_s, paper_s=paper_s, examples=examples, cpu_s=time.process_time())
    print(msgspec.json.encode(ground).decode())


def _augmented(paper: Path, kept: int, model: object, embedding: object) -> list[tuple[str, str]]:
    """One paper, to prompts with their retrieved context and the answers."""
    from llama_index.core import Document, VectorStoreIndex
    from llama_index.core.evaluation import DatasetGenerator
    from llama_index.core.node_parser import SimpleNodeParser
    from llama_index.readers.file import PyMuPDFReader

    pages = PyMuPDFReader().load(file_path=paper)
    text = "\n\n".join(page.get_content() for page in pages)
    nodes = SimpleNodeParser.from_defaults().get_nodes_from_documents([Document(text=text)])
    generator = DatasetGenerator(
        nodes[:_CHUNKS], llm=model, num_questions_per_chunk=_QUESTIONS_A_CHUNK, show_progress=True
    )
    pairs = generator.generate_dataset_from_nodes(num=kept).qr_pairs
    retriever = VectorStoreIndex(nodes, embed_model=embedding).as_retriever(similarity_top_k=_TOP_K)
    rows = []
    for query, answer in pairs:
        found = retriever.retrieve(query)
        context = "\n\n".join(each.node.get_content() for each in found)
        rows.append((_PROMPT.format(context_str=context, query_str=query), answer))
    return rows


if __name__ == "__main__":
    main()
