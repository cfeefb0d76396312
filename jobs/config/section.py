"""What all sections of the configuration have in common: unknown keys are errors, and values cannot be changed."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

__all__ = ["Section"]


class Section(BaseModel):
    """A section of the configuration. Its docstring and its fields' descriptions are shown to users."""

    model_config = ConfigDict(extra="forbid", frozen=True)
