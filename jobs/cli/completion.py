"""`gristmill completion`: a script that completes commands, flags and file names in a shell.

The script is made by shtab from the parser of the command line and needs no gristmill to run, so that a press of Tab
starts no process. shtab is imported when a script is made.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

__all__ = ["SHELLS", "add_completion", "every_parser", "script"]

SHELLS = ("bash", "zsh", "fish")


def add_completion(commands: Any, parser: Callable[[], argparse.ArgumentParser]) -> None:
    """Add the command to `commands`; `parser` makes the whole parser that the script is made from."""
    text = "print a script that completes this command line in a shell"
    completion = commands.add_parser("completion", help=text, description=text)
    completion.add_argument("shell", choices=SHELLS, metavar="SHELL", help=", ".join(SHELLS))
    completion.set_defaults(command=lambda arguments: print(script(parser(), arguments.shell)) or 0)


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """The script for one of `SHELLS`. Flags and arguments that are paths complete to files."""
    import shtab

    for command in every_parser(parser):
        for action in command._actions:
            if action.type is Path:
                action.complete = shtab.FILE  # type: ignore[attr-defined]
    made: str = shtab.complete(parser, shell=shell)
    return made


def every_parser(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The parser, and those of its commands."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in dict.fromkeys(action.choices.values()):
                yield from every_parser(command)
