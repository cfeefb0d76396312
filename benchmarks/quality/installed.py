"""The rivals' packages, installed without what they need into a folder of their own, for their prompts and parsers."""

from __future__ import annotations

import ast
import contextlib
import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, Self

__all__ = ["PINS", "distilabel", "notebook", "raft", "synthetic_data_kit"]

_HERE = Path(__file__).resolve().parent
_FOLDER = _HERE.parent / ".rivals" / "quality"
_UV = _HERE.parents[1] / ".uv" / "bin" / "uv"
PINS = {
    "distilabel": "1.5.3",
    "llama-index-packs-raft-dataset": "0.5.2",
    "synthetic-data-kit": "0.0.5",
}


def notebook() -> tuple[str, str, str]:
    """LlamaIndex's prompts as installed: the query, the template of questions, the template of answers."""
    from jobs.models.prompts.installed import installed_prompts

    prompts = installed_prompts()
    return prompts.question_query, prompts.question_generation, prompts.text_qa


def raft(ask: Any) -> Any:
    """LlamaIndex's RAFT pack, after gorilla's: an object with its methods, whose model is `ask`(messages) -> str.

    The pack imports the clients of OpenAI that it would use by default, and the base class of packs, which newer releases
    of LlamaIndex have no more; empty modules stand in for them.
    """
    for name in ("llama_index.llms.openai", "llama_index.embeddings.openai", "llama_index.core.llama_pack.base"):
        if name not in sys.modules:
            module = ModuleType(name)
            module.__dict__.update(OpenAI=object, OpenAIEmbedding=object, BaseLlamaPack=object)
            sys.modules[name] = module
    path = _folder("llama-index-packs-raft-dataset") / "llama_index" / "packs" / "raft_dataset" / "base.py"
    pack = object.__new__(_module("raft_pack", path).RAFTDatasetPack)
    pack.llm = _Llm(ask)
    return pack


class _Llm:
    """What the pack calls for a model: ``chat`` takes its messages, and the answer is turned into text."""

    def __init__(self, ask: Any) -> None:
        self._ask = ask

    def chat(self, messages: Any) -> str:
        return str(self._ask([{"role": message.role.value, "content": message.content} for message in messages]))


def synthetic_data_kit(client: Any) -> Any:
    """synthetic-data-kit's QAGenerator with the prompts of its own configuration; `client` stands in for its LLMClient."""
    folder = _folder("synthetic-data-kit")
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    from synthetic_data_kit.generators import qa_generator

    qa_generator.Progress = _NoProgress
    return qa_generator.QAGenerator(client)


class _NoProgress:
    """In place of its progress bar, of which only one can be shown at a time."""

    def __init__(self, *columns: Any) -> None:
        """Columns are not needed."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing was begun."""

    def add_task(self, *words: Any, **settings: Any) -> None:
        """Nothing is shown."""

    update = add_task


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what a package prints of its progress to ourselves."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield


def distilabel() -> tuple[str, str]:
    """distilabel's template of SelfInstruct, filled with its own criteria but for the number and the input; and the
    template of TextGeneration that its documentation gives for questions about a document.

    Its classes need all that distilabel needs, so their texts are read out of its source instead.
    """
    tasks = _folder("distilabel") / "distilabel" / "steps" / "tasks"
    tree = ast.parse((tasks / "self_instruct.py").read_text())
    defaults = {
        node.target.id: ast.literal_eval(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and isinstance(node.value, ast.Constant)
    }
    questions = (tasks / "templates" / "self-instruct.jinja2").read_text()
    for name in ("criteria_for_query_generation", "application_description"):
        questions = questions.replace(f"{{{{ {name} }}}}", defaults[name])
    documented = re.search(
        r"CUSTOM_TEMPLATE = '''(Document:.*?)'''", (tasks / "text_generation.py").read_text(), re.DOTALL
    )
    assert documented is not None
    return questions, "\n".join(line.strip() for line in documented[1].splitlines()).rstrip()


def _module(name: str, path: Path) -> ModuleType:
    spec = spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _folder(package: str) -> Path:
    """Where the package lies, installed there if need be."""
    folder = _FOLDER / f"{package}-{PINS[package]}"
    if not (folder / "ready").exists():
        uv = str(_UV) if _UV.exists() else "uv"
        command = [uv, "pip", "install", "--quiet", "--no-deps", "--python", sys.executable, "--target", str(folder)]
        subprocess.run([*command, f"{package}=={PINS[package]}"], check=True, env=os.environ)
        (folder / "ready").touch()
    return folder
