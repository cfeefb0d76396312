"""`gristmill init`: write a commented configuration, from flags or from the answers to a few questions."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.cli.known_endpoints import KNOWN

if TYPE_CHECKING:
    from jobs.cli.starter import Wanted

__all__ = ["add_init", "asked_for"]


def add_init(commands: Any) -> None:
    """Add the command to `commands`."""
    text = "write a commented configuration, by a few questions or for --endpoint"
    init = commands.add_parser("init", help=text, description=text)
    init.add_argument(
        "file",
        nargs="?",
        type=Path,
        default=Path("gristmill.toml"),
        metavar="FILE.toml",
        help="the file to write (default: gristmill.toml)",
    )
    init.add_argument("--endpoint", choices=list(KNOWN), metavar="NAME", help=f"ask nothing; one of {', '.join(KNOWN)}")
    init.add_argument("--base-url", default="", metavar="URL", help="its address, where it is not the usual one")
    init.add_argument("--model", default="", help="the model's name there")
    init.add_argument("--embedding-model", default="", metavar="MODEL", help="the embedding model's name there")
    init.set_defaults(command=_init)


def asked_for(ask: Callable[[str], str]) -> Wanted:
    """What to write, by the answers of `ask`, which shows a question and returns one line. An empty one takes the default.

    Raises `BadInput` where no known endpoint is named three times, and `EOFError` where `ask` does.
    """
    from engine.errors import BadInput
    from jobs.cli.starter import Wanted

    listed = "\n".join(f"  {name:<11} {known.title}" for name, known in KNOWN.items())
    question = f"Where do your models run?\n{listed}\n[embedded] "
    for _ in range(3):
        endpoint = ask(question).strip() or "embedded"
        if endpoint in KNOWN:
            break
        question = f"There is no {endpoint!r} in the list. [embedded] "
    else:
        raise BadInput(f"no known endpoint was named; it is one of {', '.join(KNOWN)}")
    known = KNOWN[endpoint]
    if not known.base_url:
        return Wanted(endpoint=endpoint)
    base_url = model = embedding = ""
    if not known.base_url.startswith("https://") or known.base_url != known.base_url.lower():
        base_url = ask(f"Its address? [{known.base_url}] ").strip()
    model = ask("Which model asks, answers and judges? [your-model] ").strip()
    there = "your-embedding-model" if known.embeds else "local, on this machine"
    embedding = ask(f"Which model embeds? [{there}] ").strip()
    return Wanted(
        endpoint=endpoint, base_url=base_url, model=model, embedding_model="" if embedding == "local" else embedding
    )


def _init(arguments: argparse.Namespace) -> int:
    from engine.errors import BadInput
    from jobs.cli.starter import Wanted, starter

    path: Path = arguments.file
    if path.exists():
        raise BadInput(f"{path} exists, and is not overwritten: name another file, or move this one away")
    if arguments.endpoint:
        wanted = Wanted(
            endpoint=arguments.endpoint,
            base_url=arguments.base_url,
            model=arguments.model,
            embedding_model=arguments.embedding_model,
        )
    elif arguments.base_url or arguments.model or arguments.embedding_model:
        raise BadInput("--base-url, --model and --embedding-model go with --endpoint NAME")
    else:
        wanted = _by_questions()
    _write(path, starter(wanted))
    print(f"{path} is written; look through it, then:")
    key = KNOWN[wanted.endpoint].key_env
    if key and not os.environ.get(key):
        print(f"  export {key}=...")
    print(f"  gristmill run PAPERS --out RUN --config {path}")
    return 0


def _by_questions() -> Wanted:
    from engine.errors import BadInput

    if not sys.stdin.isatty():
        raise BadInput(f"there is no terminal to ask questions on: give --endpoint with one of {', '.join(KNOWN)}")
    try:
        return asked_for(input)
    except EOFError:
        raise BadInput("the questions were not answered, and nothing is written") from None


def _write(path: Path, text: str) -> None:
    """Write a new file; raises `BadInput` where there is one by now."""
    from engine.errors import BadInput

    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise BadInput(f"{path} exists, and is not overwritten: name another file, or move this one away") from None
