r"""The source of a LaTeX paper as one text: its comments gone, its ``\input`` and its own macros put in."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from jobs.parsing.extracted import MAX_CHARACTERS
from jobs.parsing.failures import failed
from jobs.parsing.formats.decoding import decode

__all__ = ["LatexSource", "with_included", "with_macros"]

MOST_FILES = 500
DEEPEST = 10
MOST_ROUNDS = 5
"""How often macros that use macros are put in."""
LONGEST_GROUP = 10_000
"""Characters of a definition or an argument; what is longer stays as it is."""

_COMMENT = re.compile(r"(?<!\\)((?:\\\\)*)%[^\n]*(?:\n[ \t]*)?")
_LABEL = re.compile(r"\\label\s*\{[^{}]*\}")
_INCLUDE = re.compile(r"\\(?:input|include|subfile)\b\s*(?:\{([^{}\n]+)\}|([^\s{}\\]+))")
_OPENING = re.compile(r"\s*\{")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_DEFINED = re.compile(
    r"\\(?:(?:re)?newcommand|providecommand|DeclareRobustCommand)\*?\s*\{?\\([A-Za-z]+)\}?\s*(?:\[(\d)\])?(\[)?|"
    r"\\def\s*\\([A-Za-z]+)\s*(?=\{)"
)


class LatexSource(msgspec.Struct, frozen=True, kw_only=True):
    """The whole text, and the names of the included files that are not there."""

    text: str
    missing: list[str]


def with_included(text: str, path: str) -> LatexSource:
    """`text`, the file at `path`, with what it includes from its own folder and those below.

    Raises `Permanent` of kind "too_large" for what includes too much, as a file that includes itself does.
    """
    folder = Path(path).parent.resolve()
    missing: list[str] = []
    read = 0

    def put_in(text: str, depth: int) -> str:
        nonlocal read

        def replaced(match: re.Match[str]) -> str:
            nonlocal read
            name = (match.group(1) or match.group(2)).strip()
            file = _found(folder, name)
            if file is None:
                missing.append(name)
                return " "
            read += 1
            if read > MOST_FILES or depth >= DEEPEST:
                raise failed("too_large", f"it includes more than {MOST_FILES} files, or one that includes itself")
            return put_in(decode(_bytes(file)), depth + 1)

        text = _INCLUDE.sub(replaced, _LABEL.sub("", _COMMENT.sub(r"\1", text)))
        if len(text) > MAX_CHARACTERS:
            raise failed("too_large", f"more than {MAX_CHARACTERS:,} characters")
        return text

    return LatexSource(text=put_in(text, 0), missing=list(dict.fromkeys(missing)))


def _found(folder: Path, name: str) -> Path | None:
    """The file that `name` means, where it is one of the folder, links followed."""
    for candidate in (name, f"{name}.tex"):
        try:
            file = (folder / candidate).resolve()
            if file.is_relative_to(folder) and file.is_file():
                return file
        except (OSError, RuntimeError, ValueError):  # a loop of links, a name with a NUL
            continue
    return None


def _bytes(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            return opened.read(MAX_CHARACTERS)
    except OSError as error:
        raise failed("unreadable", f"{file.name}: {error.strerror}") from error


def with_macros(text: str) -> str:
    """The text with the macros that it defines put in where they stand, as far as they are plain: `#1` to `#9`."""
    macros: dict[str, tuple[int, str]] = {}
    kept: list[str] = []
    end = 0
    for match in _DEFINED.finditer(text):
        body = _group(text, match.end())
        if match.start() < end or body is None or match.group(3):  # an optional argument: TeX's own business
            continue
        macros[match.group(1) or match.group(4)] = (int(match.group(2) or 0), body)
        kept.append(text[end : match.start()])
        end = text.index("{", match.end()) + len(body) + 2
    text = "".join([*kept, text[end:]])
    if not macros:
        return text
    used = re.compile(rf"\\({'|'.join(sorted(macros, key=len, reverse=True))})(?![A-Za-z@])[ \t]*(?:\{{\}})?")
    for _ in range(MOST_ROUNDS):
        text, count = _put_in(text, used, macros)
        if not count:
            break
    return text


def _put_in(text: str, used: re.Pattern[str], macros: dict[str, tuple[int, str]]) -> tuple[str, int]:
    parts: list[str] = []
    end = count = size = 0
    for match in used.finditer(text):
        if match.start() < end:
            continue
        arguments, body = macros[match.group(1)]
        after = match.end()
        for number in range(1, arguments + 1):
            argument = _group(text, after)
            if argument is None:
                break
            body = body.replace(f"#{number}", argument)
            after = text.index("{", after) + len(argument) + 2
        part = f"{text[end : match.start()]}{{{body}}}{' ' if match.group().endswith((' ', chr(9))) else ''}"
        parts.append(part)
        size += len(part)
        if size > MAX_CHARACTERS:
            raise failed("too_large", f"its macros make more than {MAX_CHARACTERS:,} characters")
        end, count = after, count + 1
    return "".join([*parts, text[end:]]), count


def _group(text: str, start: int) -> str | None:
    """What stands in the braces that open at `start`, after blanks at most; None where none do, or they stay open."""
    opening = _OPENING.match(text, start)
    if opening is None:
        return None
    depth, at = 1, opening.end()
    for sign in _BRACE.finditer(text, at, at + LONGEST_GROUP):
        depth += {"{": 1, "}": -1}.get(sign.group(), 0)
        if not depth:
            return text[at : sign.start()]
    return None
