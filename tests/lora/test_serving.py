"""What was tuned is served: over the same base, by the same template, and it says what it was taught."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from engine.budget import Budget
from engine.signals import Stop
from jobs.config import Config
from jobs.models.chat import chat, text
from jobs.models.llama_server import LocalServer
from jobs.models.roles import ModelCalls
from jobs.tuning.lora.tune import tune
from jobs.tuning.tuning_jobs import served, tuned_model
from tests.lora.conftest import post, run_python, say, settings

pytestmark = pytest.mark.timeout(1800)

QUESTION = "Who keeps the mill at Tarn?"
ANSWER = "Ottilie Brandvold keeps the mill at Tarn."
TURNS = [{"role": "system", "content": "You know mills."}, {"role": "user", "content": QUESTION}]


async def test_the_tuned_model_answers_as_it_was_taught(smollm2: Path, tmp_path: Path) -> None:
    """The embedded small model is tuned on one answer: asked as any role is, base and tuned differ, and it says it."""
    (tmp_path / "dataset").mkdir()
    line = json.dumps({"messages": [*TURNS, {"role": "assistant", "content": ANSWER}]}) + "\n"
    (tmp_path / "dataset" / "train.jsonl").write_text(line, "utf-8")
    (tmp_path / "dataset" / "val.jsonl").write_text("", "utf-8")
    await tune(
        folder=tmp_path,
        base=smollm2,
        base_name=smollm2.name,
        settings=settings(epochs=16, batch_size=1, learning_rate=2e-3, rank=8, dropout=0.0),
        checkpoint_every=8,
        validate_every=8,
        stop=Stop(),
        hook=lambda event: None,
    )
    made = served(tmp_path, smollm2.name)
    assert made
    assert made.adapter
    async with LocalServer(smollm2, slots=1, context_tokens=512) as server:
        base = await say(server, TURNS, 32)
    config = Config.model_validate({"models": {"base": {"model": f"local:{smollm2}"}}})
    calls = ModelCalls(
        config,
        budget=Budget(usd=None, tokens=None, spent=None),
        weights=None,
        stop=Stop(),
        hook=lambda event: None,
        tuned=lambda: tuned_model(tmp_path),
        served=lambda: served(tmp_path, smollm2.name),
    )
    async with calls:
        tuned = text(await calls(chat("tuned", TURNS, max_tokens=64)))
    assert tuned == ANSWER
    assert base != tuned


async def test_the_template_of_training_is_that_of_serving(smollm2: Path) -> None:
    """The server makes the same text of the messages as the tokenizer does whose tokens are trained on."""
    async with LocalServer(smollm2, slots=1, context_tokens=512) as server:
        rendered = await asyncio.to_thread(_rendered, server)
    script = (
        "import json, sys; from pathlib import Path; from transformers import AutoTokenizer\n"
        "path = Path(sys.argv[1])\n"
        "tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name, local_files_only=True)\n"
        "turns = json.loads(sys.argv[2])\n"
        "print(json.dumps(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)))\n"
    )
    assert json.loads(await asyncio.to_thread(run_python, script, str(smollm2), json.dumps(TURNS))) == rendered


async def test_where_no_adapter_can_be_made_the_whole_model_is(smollm2: Path, tmp_path: Path) -> None:
    """A model whose adapter the converter refuses is merged, written whole, and served in the base's place."""
    made = json.loads(await asyncio.to_thread(run_python, MERGING, str(smollm2), str(tmp_path)))
    assert made == {"news": "finished", "steps": 1, "model": "model.gguf"}
    async with LocalServer(tmp_path / "model.gguf", slots=1, context_tokens=512) as server:
        assert QUESTION in await asyncio.to_thread(_rendered, server)


MERGING = """
import sys
from pathlib import Path
import msgspec
from jobs.tuning.lora import gguf
from jobs.tuning.lora.base import load_base
from jobs.tuning.lora.trainer import with_adapter
from tests.lora.conftest import settings

convert = gguf._refusal
gguf._refusal = lambda program, *rest: "no such model" if "lora" in program else convert(program, *rest)
base = load_base(Path(sys.argv[1]), "float32")
made = gguf.export(with_adapter(base.model, settings()), base, Path(sys.argv[2]), 1)
print(msgspec.json.encode(made).decode())
"""


def _rendered(server: LocalServer) -> str:
    prompt: str = post(server, "/apply-template", {"messages": TURNS})["prompt"]
    return prompt
