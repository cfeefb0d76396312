"""The sections [export] and [finetune]: what the training data looks like, and how the base model is tuned."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from jobs.config.section import Section

__all__ = ["Export", "Finetune"]


class Export(Section):
    """What the training data looks like."""

    system_prompt: str = Field(
        "You are a helpful assistant that answers questions about the paper “{title}”.",
        description="System prompt of the training data, and of all models when they are compared. {title} becomes the "
        "title of the paper.",
    )


class Finetune(Section):
    """How the model of [models.base] is tuned."""

    backend: Literal["none", "openai", "lora"] = Field(
        "none",
        description='Who tunes: "openai" is a provider with that API, at the address of [models.base]; "lora" tunes a '
        "local base on this machine.",
    )
    epochs: int | None = Field(
        None, gt=0, description='Passes over the training data. Unset: the provider chooses; 3 for "lora".'
    )
    batch_size: int | None = Field(
        None, gt=0, description='Examples of one training step. Unset: the provider chooses; 4 for "lora".'
    )
    learning_rate_multiplier: float | None = Field(
        None, gt=0, description="Factor on the provider's learning rate. Unset: the provider chooses."
    )
    poll_s: float = Field(20, gt=0, description="Seconds between two looks at a provider's fine-tuning job.")
    learning_rate: float = Field(
        2e-4,
        gt=0,
        description='Highest learning rate of "lora": it rises over the first tenth of the steps, then falls.',
    )
    rank: int = Field(16, gt=0, description="Rank of the LoRA matrices, on all linear layers.")
    alpha: float = Field(32, gt=0, description="Scale of the LoRA update, divided by `rank`.")
    dropout: float = Field(0.05, ge=0, lt=1, description="Dropout on the input of the LoRA matrices.")
    max_length: int = Field(
        2048, ge=64, description='Most tokens of an example for "lora"; a longer one loses the middle of its prompt.'
    )
    checkpoint_every: int = Field(20, gt=0, description='Steps of "lora" between two checkpoints.')
    validate_every: int = Field(
        20, gt=0, description='Steps of "lora" between two measurements of the validation loss.'
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description='Precision of "lora". "auto": "bfloat16" where the hardware has it, else "float32".'
    )
