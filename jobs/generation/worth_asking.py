"""Which chunks are worth a question: no acknowledgements and declarations, no bare numbers, no lists of references."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from jobs.config.generation import Ask
from jobs.parsing.cleaning import letters_and_digits
from jobs.parsing.leaders import CONTENTS
from jobs.parsing.section_names import back_matter
from jobs.records import Chunk

__all__ = ["WorthAsking", "worth_asking"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorthAsking:
    """``skip_sections`` are kinds of back matter (`jobs.parsing.section_names.BACK_MATTER`) or headings, in any case.

    A chunk that `jobs.parsing.leaders` knows as a table of contents is of the kind "contents" in whatever section it is.

    ``numbers`` says that chunks of which most words are numbers are asked about, too.
    """

    skip_sections: Collection[str] = ()
    numbers: bool = True

    def __call__(self, chunk: Chunk) -> bool:
        return not self.reason(chunk)

    def reason(self, chunk: Chunk) -> str:
        """Why nothing is asked about `chunk`: the entry of ``skip_sections``, or "numbers"; "" if it is asked about."""
        if chunk.mostly_numbers and not self.numbers:
            return "numbers"
        for entry in self.skip_sections:
            if any(_is(entry, heading) for heading in chunk.section) or entry.casefold() == CONTENTS == chunk.part:
                return entry
        return ""


def worth_asking(settings: Ask) -> WorthAsking:
    """The rule that the settings make of which chunks are asked about."""
    return WorthAsking(skip_sections=settings.skip_sections, numbers=settings.numbers)


def _is(entry: str, heading: str) -> bool:
    return back_matter(heading) == entry.casefold() or letters_and_digits(heading) == letters_and_digits(entry)
