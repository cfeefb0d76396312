"""The training itself: LoRA on all linear layers, AdamW, loss on the answers' tokens.

A step depends on the weights, the optimizer's state and its own number, which determines the examples, the learning
rate and the dropout. So a training that is stopped or killed and resumes from a checkpoint ends with the weights of an
undisturbed one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file, save_file
from torch.nn.functional import cross_entropy

from engine.errors import BadInput, Fatal
from jobs.tuning.lora.base import Base, load_base
from jobs.tuning.lora.chats import IGNORED, Chats, Tokens, read_chats
from jobs.tuning.lora.checkpoints import Checkpoint, Checkpoints
from jobs.tuning.lora.losses import Loss, LossLog
from jobs.tuning.lora.protocol import LoraSettings, News, Started, Stepped, Training
from jobs.tuning.lora.schedule import Schedule

__all__ = ["Trained", "batch_loss", "train", "with_adapter"]

_VALIDATED = 64
"""Most validation examples, because their loss is computed many times."""

_LARGEST_GRADIENT = 1.0
_ON_GPU = 8
"""Examples per forward pass on a GPU. On a CPU it is one, which is as fast and needs the least memory."""


class Trained:
    """The state of a training: the base with its adapter, the optimizer, and the last step that was done."""

    def __init__(self, training: Training, base: Base, data: Chats) -> None:
        settings = training.settings
        self.base = base
        self.model = with_adapter(base.model, settings)
        self.step = 0
        self.schedule = Schedule(
            examples=len(data.examples),
            batch_size=settings.batch_size,
            epochs=settings.epochs,
            learning_rate=settings.learning_rate,
            seed=settings.seed,
        )
        self._examples = data.examples
        self._weights = [weight for weight in self.model.parameters() if weight.requires_grad]
        self._optimizer = torch.optim.AdamW(self._weights, lr=settings.learning_rate, weight_decay=0.0)
        self._checkpoints = Checkpoints(Path(training.folder) / "checkpoints")

    @property
    def parameters(self) -> int:
        """The number of trained parameters."""
        return sum(weight.numel() for weight in self._weights)

    def advance(self) -> float:
        """Do the next step; returns the mean loss of its tokens before the update. Raises `Fatal` when that is not
        finite."""
        step = self.step + 1
        torch.manual_seed(self.schedule.random_seed(step))
        for group in self._optimizer.param_groups:
            group["lr"] = self.schedule.rate(step)
        batch = [self._examples[number] for number in self.schedule.batch(step)]
        total = self._accumulate(batch)
        if not math.isfinite(total):
            raise Fatal(f"the loss is {total} at step {step}: lower finetune.learning_rate and run it again")
        torch.nn.utils.clip_grad_norm_(self._weights, _LARGEST_GRADIENT)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self.step = step
        return total

    def validate(self, examples: Sequence[Tokens]) -> float | None:
        """The mean loss of the tokens of `examples`, None if there are none."""
        if not examples:
            return None
        self.model.eval()
        with torch.inference_mode():
            losses = [float(batch_loss(self.model, part, self.base.device)) for part in self._parts(examples)]
        self.model.train()
        return sum(losses) / sum(example.trained for example in examples)

    def save(self) -> None:
        self._checkpoints.write(
            self.step,
            {
                "adapter.safetensors": lambda path: save_file(_adapter_of(self.model), path),
                "optimizer.pt": lambda path: torch.save(self._optimizer.state_dict(), path),
            },
        )

    def resume(self) -> None:
        """Resume from the last undamaged checkpoint, if there is one."""
        if found := self._checkpoints.latest():
            self._restore(found)

    def _restore(self, found: Checkpoint) -> None:
        device = str(self.base.device)
        set_peft_model_state_dict(self.model, load_file(found.folder / "adapter.safetensors", device=device))
        state = torch.load(found.folder / "optimizer.pt", map_location=self.base.device, weights_only=True)
        self._optimizer.load_state_dict(state)
        self.step = found.step

    def _accumulate(self, batch: Sequence[Tokens]) -> float:
        """Accumulate the gradient of the mean over all tokens of the batch, whatever the lengths of its parts."""
        trained = sum(example.trained for example in batch)
        total = 0.0
        for part in self._parts(batch):
            loss = batch_loss(self.model, part, self.base.device) / trained
            loss.backward()
            total += float(loss.detach())
        return total

    def _parts(self, examples: Sequence[Tokens]) -> list[Sequence[Tokens]]:
        size = _ON_GPU if self.base.device.type == "cuda" else 1
        return [examples[start : start + size] for start in range(0, len(examples), size)]


def train(training: Training, tell: Callable[[News], None], stopping: Callable[[], bool]) -> Trained | None:
    """Train up to the configured number of steps, from the last checkpoint on; None when `stopping` became true first.

    Raises `BadInput` when no example is left, and `Fatal` when the loss is not finite.
    """
    settings = training.settings
    base = load_base(Path(training.base), settings.precision)
    data = read_chats(Path(training.train), base.tokenizer, settings.max_length)
    if not data.examples:
        raise BadInput("no training example is left: raise finetune.max_length, or add papers")
    held_out = read_chats(Path(training.val), base.tokenizer, settings.max_length).examples[:_VALIDATED]
    trained = Trained(training, base, data)
    trained.resume()
    tell(_started(trained, data))
    with closing(LossLog(Path(training.losses), after=trained.step or -1)) as log:
        return trained if _run(training, trained, held_out, log, tell, stopping) else None


def _run(
    training: Training,
    trained: Trained,
    held_out: Sequence[Tokens],
    log: LossLog,
    tell: Callable[[News], None],
    stopping: Callable[[], bool],
) -> bool:
    """Do the remaining steps; False when `stopping` became true first. Step 0 reports the loss of the base itself."""
    if not trained.step:
        log.add(Loss(step=0, epoch=0.0, val=trained.validate(held_out)))
    begun, before = time.monotonic(), trained.step
    while trained.step < trained.schedule.steps:
        if stopping():
            trained.save()
            return False
        loss = trained.advance()
        step, steps = trained.step, trained.schedule.steps
        last = step == steps
        val = trained.validate(held_out) if last or step % training.validate_every == 0 else None
        log.add(Loss(step=step, epoch=round(trained.schedule.epoch(step), 4), train=loss, val=val))
        if last or step % training.checkpoint_every == 0:
            trained.save()
        left_s = (time.monotonic() - begun) / (step - before) * (steps - step)
        tell(Stepped(step=step, steps=steps, train=loss, val=val, left_s=left_s))
    return True


def with_adapter(model: Any, settings: LoraSettings) -> Any:
    """`model` with fresh LoRA weights on every linear layer; the same for the same seed."""
    torch.manual_seed(settings.seed)
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    adapted = get_peft_model(model, config)
    adapted.train()
    return adapted


def batch_loss(model: Any, examples: Sequence[Tokens], device: torch.device) -> torch.Tensor:
    """The sum of the losses of the tokens of `examples` that have loss.

    Logits are computed only where the next token has loss: with a large vocabulary the others would take most memory.
    """
    width = max(len(example.ids) for example in examples)
    ids = torch.tensor([_padded(example.ids, 0, width) for example in examples], device=device)
    labels = torch.tensor([_padded(example.labels, IGNORED, width) for example in examples], device=device)
    read = torch.tensor([_padded([1] * len(example.ids), 0, width) for example in examples], device=device)
    spoken = (labels[:, 1:] != IGNORED).any(dim=0).nonzero().flatten()
    logits = model(input_ids=ids, attention_mask=read, logits_to_keep=spoken, use_cache=False).logits
    targets = labels[:, spoken + 1]
    return cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORED, reduction="sum")


def _padded(values: Sequence[int], filler: int, width: int) -> list[int]:
    return [*values, *([filler] * (width - len(values)))]


def _adapter_of(model: Any) -> dict[str, torch.Tensor]:
    return {name: weight.contiguous() for name, weight in get_peft_model_state_dict(model).items()}


def _started(trained: Trained, data: Chats) -> Started:
    return Started(
        step=trained.step,
        steps=trained.schedule.steps,
        examples=len(data.examples),
        shortened=data.shortened,
        left_out=data.left_out,
        parameters=trained.parameters,
        device=str(trained.base.device),
        precision=str(trained.base.dtype).removeprefix("torch."),
    )
