"""What was tuned is served: over the same base, by the same template, and it says what it was taught."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from pathlib import Path

import pytest

from engine.signals import Stop
from jobs.chat import chat, text
from jobs.local import LocalServer
from jobs.lora.tune import tune
from tests.lora.conftest import calls_of, run_python, settings

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
    async with calls_of(tmp_path, smollm2) as calls:
        base, tuned = [text(await calls(chat(role, TURNS, max_tokens=32))) for role in ("base", "tuned")]
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


def _rendered(server: LocalServer) -> str:
    request = urllib.request.Request(
        f"{server.base_url.removesuffix('/v1')}/apply-template",
        data=json.dumps({"messages": TURNS}).encode(),
        headers={"Content-Type": "application/json", "Authorization": f"Bearer {server.api_key}"},
    )
    with urllib.request.urlopen(request, timeout=240) as response:
        prompt: str = json.load(response)["prompt"]
    return prompt
