"""`gristmill review`: how many pairs people have reviewed, and their decisions as a file, out and in."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

__all__ = ["add_review"]


def add_review(commands: Any) -> None:
    """Add the command to `commands`."""
    text = (
        "show how many pairs were reviewed; write or add decisions as a file (gristmill serve is where they are made)"
    )
    review = commands.add_parser("review", help=text, description=text)
    review.add_argument("run", type=Path, metavar="RUN", help="the folder of a run")
    way = review.add_mutually_exclusive_group()
    way.add_argument("--export", type=Path, metavar="FILE.jsonl", help="write the standing decisions to this file")
    way.add_argument("--import", type=Path, metavar="FILE.jsonl", dest="given", help="add the decisions of this file")
    review.add_argument("--who", default="", metavar="NAME", help="with --import: who has made those without a name")
    review.set_defaults(command=_review)


def _review(arguments: argparse.Namespace) -> int:
    from engine.errors import BadInput
    from jobs.review.exchange import add_decisions, write_decisions
    from jobs.review.figures import review_figures, sentence
    from jobs.review.log import ReviewLog
    from jobs.run.folder import RunFolder, beginning

    folder = RunFolder(arguments.run)
    folder.config()
    datasets, log = folder.datasets(), ReviewLog(folder.reviews)
    if beginning(datasets) == "pairs":
        raise BadInput("the pairs of this run are from a file: change them there")
    if arguments.export:
        print(f"decisions in {arguments.export}: {write_decisions(log, arguments.export):,}")
    elif arguments.given:
        found = add_decisions(log, datasets["pairs"], arguments.given, arguments.who or "unnamed")
        print(f"decisions: {found.added:,} added, {found.same:,} stood already, {found.unknown:,} are of other pairs")
    else:
        print(sentence(review_figures(folder, datasets)) or f"no pair is reviewed yet: gristmill serve {folder.path}")
    return 0
