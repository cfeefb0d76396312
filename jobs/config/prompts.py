"""The section [prompts]: a user's own prompts, in place of ours."""

from __future__ import annotations

from hashlib import sha256

from pydantic import Field, model_validator

from jobs.config.section import Section

__all__ = ["Prompts"]

_FILE = "File with your own prompt {}, beside the configuration; it holds {} where these belong. Unset: ours."
_NAMES = ("ask", "answer", "critic", "judge")


class Prompts(Section):
    """Your own prompts. Each is checked before anything is written, and the run keeps its text."""

    ask: str | None = Field(None, description=_FILE.format("for questions", "{text} and {count}"))
    answer: str | None = Field(None, description=_FILE.format("for answers", "{text} and {question}"))
    critic: str | None = Field(None, description=_FILE.format("of the critic", "{text}, {question} and {answer}"))
    judge: str | None = Field(None, description=_FILE.format("of the judge", "{question}, {reference} and {response}"))
    texts: dict[str, str] = Field(
        {},
        description="The prompts themselves, by these names: what a run keeps in `run.toml`, so that it goes on without "
        "the files. Python gives prompts so.",
    )

    @model_validator(mode="after")
    def _known_and_not_empty(self) -> Prompts:
        for name, text in self.texts.items():
            if name not in _NAMES:
                raise ValueError(f"prompts.texts.{name}: there is no such prompt; known: {', '.join(_NAMES)}")
            if not text.strip():
                raise ValueError(f"prompts.texts.{name} is empty; write the prompt, or leave the key out")
        return self

    def text(self, name: str) -> str:
        """The user's prompt of this name; "" where ours is used."""
        return self.texts.get(name, "")

    def mark(self, name: str) -> dict[str, str]:
        """What stands in the fingerprint of the job that sends this prompt; nothing where ours is used."""
        text = self.text(name)
        return {"prompt": f"sha256 {sha256(text.encode()).hexdigest()[:16]}"} if text else {}
