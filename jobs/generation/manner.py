"""In which language, and for whom, questions and answers are written: a few words before the prompt."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jobs.config.generation import AS_THE_PAPER

__all__ = ["NO_MANNER", "Manner"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """``language`` is a name, `AS_THE_PAPER`, or "" for nothing said; ``audience`` says who will read, "" for anybody."""

    language: str = ""
    audience: str = ""

    @property
    def words(self) -> str:
        """The sentence for the prompt; "" if there is none."""
        said = []
        if self.language:
            where = "the language of the text that you are given" if self.language == AS_THE_PAPER else self.language
            said.append(f"Write in {where}; what you copy from the text stays as it is there.")
        if self.audience:
            said.append(f"You write for {self.audience}: choose what they want to know, in words that they understand.")
        return " ".join(said)

    def before(self, messages: Sequence[Mapping[str, str]]) -> list[Mapping[str, str]]:
        """`messages` with the words behind those of the system, or as a system message of their own."""
        if not self.words:
            return list(messages)
        first, *rest = messages
        if first["role"] != "system":
            return [{"role": "system", "content": self.words}, *messages]
        return [{**first, "content": f"{first['content']}\n{self.words}"}, *rest]

    def shares_words(self, text: str) -> bool:
        """Whether what is written shares its words with `text`: in one language, with spaces between its words."""
        if len(_UNSPACED.findall(text)) > 0.2 * len(text):
            return False
        if self.language in ("", AS_THE_PAPER):
            return True
        return self.language.casefold() == "english" and len(_ENGLISH.findall(text)) > 0.02 * len(text.split())


NO_MANNER = Manner()
"""Nothing is said of language and audience."""

_UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u3040-\u30ff\u3400-\u9fff]")
_ENGLISH = re.compile(r"\bthe\b", re.IGNORECASE)
