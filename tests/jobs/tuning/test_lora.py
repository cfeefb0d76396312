"""What local tuning does without torch: tokens and labels, the order of steps, checkpoints, losses, and refusals."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import BadInput
from jobs.config import Config, Model
from jobs.models import gguf
from jobs.models.roles import local_file
from jobs.tuning.lora import tune
from jobs.tuning.lora.chats import IGNORED, Tokens, read_chats, shortened, tokens
from jobs.tuning.lora.checkpoints import Checkpoints
from jobs.tuning.lora.losses import Loss, LossLog, read_losses
from jobs.tuning.lora.schedule import Schedule
from jobs.tuning.stage import check_tunable


class Letters:
    """A tokenizer whose tokens are letters, with a template like ChatML's: <role:content> and a line break."""

    def apply_chat_template(
        self, conversation: Sequence[Mapping[str, str]], *, tokenize: bool, add_generation_prompt: bool
    ) -> str:
        told = "".join(f"<{message['role']}:{message['content']}>\n" for message in conversation)
        return told + "<assistant:" * add_generation_prompt

    def __call__(self, text: str, *, add_special_tokens: bool) -> dict[str, list[int]]:
        return {"input_ids": [ord(letter) for letter in text]}


def read(ids: Sequence[int]) -> str:
    return "".join(map(chr, ids))


def spoken(example: Tokens) -> str:
    return read([label for label in example.labels if label != IGNORED])


def turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def test_only_what_the_assistant_says_has_loss() -> None:
    """The labels are the answer and the mark that ends it, in their places; the prompt is masked to its last letter."""
    example = tokens([turn("system", "S"), turn("user", "context, question"), turn("assistant", "answer")], Letters())
    prompt = "<system:S>\n<user:context, question>\n<assistant:"
    assert read(example.ids) == f"{prompt}answer>"
    assert example.labels == (*[IGNORED] * len(prompt), *map(ord, "answer>"))
    assert example.trained == len("answer>")


def test_every_answer_of_a_chat_has_loss() -> None:
    """In a chat of several turns all of the assistant's have loss, and nothing between them."""
    chat = [turn("user", "a"), turn("assistant", "b"), turn("user", "c"), turn("assistant", "d")]
    example = tokens(chat, Letters())
    assert read(example.ids) == "<user:a>\n<assistant:b>\n<user:c>\n<assistant:d>"
    assert spoken(example) == "b>d>"


def test_a_template_that_rewrites_is_refused() -> None:
    """Where an earlier message reads otherwise later, no label could be trusted."""

    class Forgetful(Letters):
        def apply_chat_template(self, conversation: Any, **options: Any) -> str:
            return super().apply_chat_template(conversation[-1:], **options)

    with pytest.raises(BadInput, match="changes earlier messages"):
        tokens([turn("user", "a"), turn("assistant", "b")], Forgetful())


def test_a_base_without_a_template_is_refused() -> None:
    """A base model that was never made for chats is named as such."""

    class Untaught(Letters):
        def apply_chat_template(self, *_: Any, **__: Any) -> str:
            raise ValueError("tokenizer.chat_template is not set")

    with pytest.raises(BadInput, match="has no chat template"):
        tokens([turn("user", "a"), turn("assistant", "b")], Untaught())


def test_a_long_example_loses_the_middle_of_its_prompt() -> None:
    """Its ends, where the task and the question stand, and the whole answer stay."""
    example = tokens([turn("user", f"TASK {'x' * 200} QUESTION"), turn("assistant", "answer")], Letters())
    cut = shortened(example, 100)
    assert cut
    assert len(cut.ids) == len(cut.labels) == 100
    assert read(cut.ids).startswith("<user:TASK")
    assert read(cut.ids).endswith("QUESTION>\n<assistant:answer>")
    assert spoken(cut) == "answer>"
    assert shortened(example, len(example.ids)) is example


def test_an_answer_without_room_for_a_prompt_is_left_out() -> None:
    """No example is trained on that would show half an answer, or an answer to nothing."""
    example = tokens([turn("user", "question"), turn("assistant", "a" * 200)], Letters())
    assert shortened(example, 100) is None


def test_a_file_is_read_and_its_losses_counted(tmp_path: Path) -> None:
    """How many examples were shortened, and how many left out, is known."""
    path = tmp_path / "train.jsonl"
    line = '{"messages": [{"role": "user", "content": "%s"}, {"role": "assistant", "content": "%s"}]}\n'
    path.write_text(line % ("q", "a") + line % ("q" * 99, "a") + line % ("q", "a" * 99), "utf-8")
    chats = read_chats(path, Letters(), 80)
    assert ([len(example.ids) for example in chats.examples], chats.shortened, chats.left_out) == ([22, 80], 1, 1)


sizes = st.integers(min_value=1, max_value=40)


@given(examples=sizes, batch_size=sizes, epochs=st.integers(1, 5), seed=st.integers())
def test_each_epoch_has_each_example_once(examples: int, batch_size: int, epochs: int, seed: int) -> None:
    """Whatever the sizes: the steps are those that are counted, and the same each time."""
    schedule = Schedule(examples=examples, batch_size=batch_size, epochs=epochs, learning_rate=1.0, seed=seed)
    seen = Counter(number for step in range(1, schedule.steps + 1) for number in schedule.batch(step))
    assert seen == dict.fromkeys(range(examples), epochs)
    assert schedule.epoch(schedule.steps) == epochs
    assert all(0 < len(schedule.batch(step)) <= batch_size for step in range(1, schedule.steps + 1))


def test_the_order_is_another_in_each_epoch_and_for_each_seed() -> None:
    """A seed decides the order; no epoch repeats the one before."""

    def order(seed: int, epoch: int) -> list[int]:
        schedule = Schedule(examples=32, batch_size=4, epochs=2, learning_rate=1.0, seed=seed)
        return [number for step in range(1 + 8 * epoch, 9 + 8 * epoch) for number in schedule.batch(step)]

    assert order(0, 0) == order(0, 0)
    assert order(0, 0) != order(0, 1)
    assert order(0, 0) != order(1, 0)


def test_the_learning_rate_rises_and_falls() -> None:
    """Up over the first tenth of the steps to its height, down over the others, above zero at the last."""
    schedule = Schedule(examples=100, batch_size=1, epochs=1, learning_rate=1e-3, seed=0)
    rates = [schedule.rate(step) for step in range(1, 101)]
    assert max(rates) == rates[9] == 1e-3
    assert rates[:10] == sorted(rates[:10])
    assert rates[9:] == sorted(rates[9:], reverse=True)
    assert 0 < rates[-1] < 2e-5


def writing(text: str) -> dict[str, Callable[[Path], object]]:
    return {"weights": lambda path: path.write_text(text, "utf-8")}


def steps(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_last_two_checkpoints_are_kept(tmp_path: Path) -> None:
    """The newest is taken; what older ones and unfinished writes left is gone."""
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    assert checkpoints.latest() is None
    (tmp_path / "checkpoints" / "step-000000002.tmp").mkdir(parents=True)
    for step in (1, 2, 3):
        checkpoints.write(step, writing(f"after {step}"))
    found = checkpoints.latest()
    assert found
    assert (found.step, (found.folder / "weights").read_text("utf-8")) == (3, "after 3")
    assert steps(tmp_path / "checkpoints") == ["step-000000002", "step-000000003"]


def cut_short(folder: Path) -> None:
    (folder / "weights").write_text("aft", "utf-8")


def without_a_file(folder: Path) -> None:
    (folder / "weights").unlink()


def without_a_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()


def with_half_a_manifest(folder: Path) -> None:
    (folder / "manifest.json").write_text('{"weights": "', "utf-8")


@pytest.mark.parametrize("damage", [cut_short, without_a_file, without_a_manifest, with_half_a_manifest, shutil.rmtree])
def test_a_damaged_checkpoint_is_passed_over(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    """The one before is taken, and what is written after it does not fall behind the damaged one."""
    checkpoints = Checkpoints(tmp_path)
    for step in (1, 2):
        checkpoints.write(step, writing(f"after {step}"))
    damage(tmp_path / "step-000000002")
    found = checkpoints.latest()
    assert found
    assert found.step == 1
    assert steps(found.folder) == ["manifest.json", "weights"]
    checkpoints.write(2, writing("after 2, anew"))
    again = checkpoints.latest()
    assert again
    assert (again.folder / "weights").read_text("utf-8") == "after 2, anew"


def test_a_write_that_fails_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    """An error in the middle of a write costs nothing that was there."""

    def fail(path: Path) -> None:
        path.write_text("half", "utf-8")
        raise MemoryError

    checkpoints = Checkpoints(tmp_path)
    checkpoints.write(1, writing("after 1"))
    with pytest.raises(MemoryError):
        checkpoints.write(2, {"weights": fail})
    found = checkpoints.latest()
    assert found
    assert found.step == 1


def test_losses_after_the_checkpoint_are_written_anew(tmp_path: Path) -> None:
    """A resumed training has one line a step, whatever was written before the kill, a torn line included."""
    path = tmp_path / "tuning" / "losses.jsonl"
    log = LossLog(path, after=-1)
    for step in range(5):
        log.add(Loss(step=step, epoch=step / 4, train=1.0 / (step + 1)))
    log.close()
    with path.open("ab") as file:
        file.write(b'{"step": 5, "ep')
    resumed = LossLog(path, after=2)
    resumed.add(Loss(step=3, epoch=0.75, train=0.25, val=0.5))
    resumed.close()
    assert [(loss.step, loss.val) for loss in read_losses(path)] == [(0, None), (1, None), (2, None), (3, 0.5)]


def test_a_remote_base_is_no_base_to_tune_here() -> None:
    """A base that the backend cannot tune is one line before anything is done: a remote one here, a local one at a provider."""
    models = {"base": {"model": "far-away", "api_key_env": ""}}
    with pytest.raises(BadInput, match=r'"lora" tunes a local model: set \[models.base\]'):
        check_tunable(Config.model_validate({"models": models, "finetune": {"backend": "lora"}}))
    with pytest.raises(BadInput, match=r"configure \[models\.base\]"):
        check_tunable(Config.model_validate({"finetune": {"backend": "openai"}}))


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is to be installed stands in the line."""
    monkeypatch.setattr(tune, "is_installed", lambda: False)
    with pytest.raises(BadInput, match=r"pip install 'gristmill\[lora\]'"):
        check_tunable(Config.model_validate({"finetune": {"backend": "lora"}}))


def test_a_folder_is_turned_into_a_file_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Hugging Face folder is served as a GGUF file in the cache, named by what the folder holds; a file as it is."""
    made: list[Path] = []

    def convert(source: Path, target: Path) -> None:
        made.append(source)
        target.write_bytes((source / "model.safetensors").read_bytes())

    monkeypatch.setattr(gguf, "convert_folder", convert)
    monkeypatch.setenv("GRISTMILL_CACHE", str(tmp_path / "cache"))
    base = tmp_path / "base"
    base.mkdir()
    (base / "config.json").write_text("{}", "utf-8")
    (base / "model.safetensors").write_bytes(b"one")
    first = gguf.runtime_file(base)
    assert gguf.runtime_file(base) == first
    (base / "model.safetensors").write_bytes(b"two")
    second = gguf.runtime_file(base)
    assert (first.read_bytes(), second.read_bytes(), made) == (b"one", b"two", [base, base])
    assert gguf.runtime_file(base / "model.safetensors") == base / "model.safetensors"
    assert local_file(Model(model=f"local:{base}"), None) == base
