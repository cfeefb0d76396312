"""The command line. Each command imports its code when it is called, so that ``--help`` is fast."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.cli.bench_command import add_bench
from jobs.cli.completion import add_completion
from jobs.cli.init import add_init
from jobs.cli.review_command import add_review
from jobs.cli.serve_command import add_serve, add_serving, serving_of
from jobs.cli.terminal import make_printable
from jobs.registry import redoable, stoppable
from jobs.tuning.exporters import EXPORTERS

if TYPE_CHECKING:
    from jobs.config import Config
    from jobs.run.folder import RunFolder

__all__ = ["command_parser", "main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code. An error is one line on stderr that says what to do."""
    argv = sys.argv[1:] if argv is None else list(argv)
    if argv[:1] == ["simulate"]:
        from jobs.simulator import main as simulate

        return simulate(argv[1:])
    make_printable()
    arguments = command_parser().parse_args(argv)
    from engine.errors import GristmillError

    command: Callable[[argparse.Namespace], int] = arguments.command
    try:
        return command(arguments)
    except GristmillError as error:
        print(f"gristmill: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("gristmill: stopped at once; run the same command again to resume", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except OSError as error:
        print(f"gristmill: {error.filename or 'the system'}: {error.strerror or error}", file=sys.stderr)
        return 1


def command_parser(*, whole: bool = False) -> argparse.ArgumentParser:
    """The parser of the command line; `whole` with the flags of `simulate`, which reads its own."""
    parser = argparse.ArgumentParser(
        prog="gristmill",
        description="Grind papers into retrieval-augmented fine-tuning data, and see whether tuning helped.",
        epilog="exit codes: 0 done; 3 done, with some records failed; 130 stopped, can be resumed; 1 an error; 2 usage",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    add_init(commands)
    _add_run(commands)
    for name, command, text in (
        ("finetune", _finetune, "tune the base model on the run's training data"),
        ("report", _report, "write results.json and report.html from the present rows"),
    ):
        step = _add(commands, name, command, text)
        if name == "finetune":
            _add_preflight(step)
    _add_evaluate(commands)
    status = _add(commands, "status", _status, "show what is done and what failed, with reasons")
    status.add_argument("--json", action="store_true", help="as one JSON object")
    status.add_argument("--failures", metavar="KIND", help="list all failures of this kind, with what was answered")
    _add_batches(commands)
    retry = _add(commands, "retry", _retry, "try failed records again, and the jobs after them")
    retry.add_argument("--only", metavar="KIND", help="only failures of this kind, as status names it")
    _add_preflight(retry)
    _add(commands, "verify", _verify, "check that every shard exists and is as it was sealed")
    export = _add(commands, "export", _export, "write the examples in another format, or put them on the Hub")
    export.add_argument("--format", metavar="F", help=", ".join(EXPORTERS))
    export.add_argument("--to", type=Path, metavar="PATH", help="a file (training side), or a folder")
    export.add_argument(
        "--push", metavar="OWNER/NAME", help="put RUN/dataset on the Hugging Face Hub, as a private one"
    )
    export.add_argument("--public", action="store_true", help="with --push: anyone may see it")
    export.add_argument("--partial", action="store_true", help="also of a run that is not finished")
    for add in (add_serve, add_review, add_bench):
        add(commands)
    text = "serve a simulated OpenAI endpoint, with limits and faults by choice"
    simulate = commands.add_parser("simulate", help=text, description=text)
    if whole:
        from jobs.simulator import arguments

        arguments(simulate)
    add_completion(commands, partial(command_parser, whole=True))
    return parser


class _Version(argparse.Action):
    """Looked up only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from importlib.metadata import version

        print(f"gristmill {version('gristmill')}")
        parser.exit()


def _add(commands: Any, name: str, command: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    parser.add_argument("run", type=Path, metavar="RUN", help="the folder of a run")
    parser.set_defaults(command=command)
    return parser


def _add_preflight(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--no-preflight", action="store_true", help="try no model with a small request before anything else is asked"
    )


def _add_batches(commands: Any) -> None:
    batches = _add(commands, "batches", _batches, "show the batches of a run: state, rows, age, dollars")
    batches.add_argument("--json", action="store_true", help="as a JSON list")
    batches.add_argument(
        "--cancel",
        "--cancel-batches",
        action="store_true",
        help="end them at the provider; what they have answered is kept",
    )


def _add_run(commands: Any) -> None:
    text = "run all jobs on these papers; resumes where it stopped"
    run = commands.add_parser("run", help=text, description=text)
    run.add_argument(
        "papers", nargs="+", type=Path, metavar="PAPERS", help="papers (PDF, HTML, LaTeX and more), or folders of them"
    )
    run.add_argument("--out", required=True, type=Path, metavar="RUN", help="the folder of the run")
    run.add_argument("--config", type=Path, metavar="FILE.toml", help="the configuration; every key has a default")
    run.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="one setting, as in ask.questions_per_chunk=3"
    )
    run.add_argument(
        "--until", choices=stoppable(), metavar="JOB", help=f"stop after this job: {', '.join(stoppable())}"
    )
    run.add_argument("--redo", choices=redoable(), metavar="JOB", help="repeat this job and those after it")
    run.add_argument(
        "--dry-run",
        action="store_true",
        help="parse some papers, estimate requests, tokens, cost and time; send nothing",
    )
    run.add_argument("--all-papers", action="store_true", help="with --dry-run: parse every paper, and keep it")
    _add_preflight(run)
    add_serving(run)
    run.set_defaults(command=_run)


def _add_evaluate(commands: Any) -> None:
    text = "let every model answer, judge the answers, and report; nothing is generated again"
    evaluate = commands.add_parser("evaluate", help=text, description=text)
    evaluate.add_argument(
        "given", type=Path, metavar="RUN|PAIRS", help="a run, or a file of pairs: .json, .jsonl or .parquet"
    )
    evaluate.add_argument(
        "--out", type=Path, metavar="RUN", help="the folder of the run that is made of a file of pairs"
    )
    evaluate.add_argument("--config", type=Path, metavar="FILE.toml", help="the configuration of such a run")
    evaluate.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="NAME=SPEC",
        help="one more model: MODEL at the base's address, MODEL@BASE_URL, local, or local:FILE.gguf",
    )
    evaluate.add_argument(
        "--drop-model", action="append", default=[], metavar="NAME", help="leave this candidate out of the table"
    )
    evaluate.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="one setting, as in evaluate.sample=100"
    )
    _add_preflight(evaluate)
    evaluate.set_defaults(command=_evaluate)


def _run(arguments: argparse.Namespace) -> int:
    from engine.errors import BadInput
    from jobs.cli.working import prepared, work_on
    from jobs.run import configfile
    from jobs.run.folder import RunFolder
    from jobs.work import Selection

    if arguments.dry_run and (arguments.redo or arguments.until):
        raise BadInput("--dry-run goes without --redo and --until: it parses, and deletes nothing")
    serving = serving_of(arguments)
    folder = RunFolder(arguments.out)
    folder.check_usable()
    table = configfile.load(arguments.config) if arguments.config else folder.table() if folder.exists else {}
    configfile.assign(table, arguments.set)
    if arguments.dry_run:
        from jobs.cli.dry_run import dry_run

        return dry_run(folder, arguments.papers, table, every=arguments.all_papers)
    selection = Selection(until=arguments.until, redo=arguments.redo)
    work = prepared(folder, arguments.papers, table, selection, preflight=not arguments.no_preflight)
    return work_on(work, serving)


def _finetune(arguments: argparse.Namespace) -> int:
    from engine.errors import BadInput
    from jobs.cli.working import prepared, work_on
    from jobs.work import Selection

    folder, settings = _existing(arguments)
    if settings.finetune.backend == "none":
        raise BadInput('no fine-tuning is configured; set finetune.backend to "openai" or "lora", as run --set')
    return work_on(prepared(folder, selection=Selection(until="finetune"), preflight=not arguments.no_preflight))


def _evaluate(arguments: argparse.Namespace) -> int:
    from engine.errors import BadInput
    from jobs.cli.candidates import add_candidates, drop_candidates
    from jobs.cli.working import prepared, work_on
    from jobs.generation.deal_pairs import configured
    from jobs.run import configfile
    from jobs.run.folder import RunFolder
    from jobs.work import Selection

    if arguments.out is None and arguments.given.is_file():
        raise BadInput(f"{arguments.given} is a file: say with --out in which folder its pairs become a run")
    if arguments.out is None and arguments.config is not None:
        raise BadInput("--config goes with a file of pairs and --out; a run has its configuration, change it by --set")
    folder = RunFolder(arguments.out or arguments.given)
    settings = configfile.load(arguments.config) if arguments.config else None
    table = configured(arguments.given, folder, settings) if arguments.out else folder.table()
    answered = {row.model for row in folder.datasets()["responses"].rows()} if arguments.model else set()
    add_candidates(table, arguments.model, answered=answered)
    configfile.assign(table, arguments.set)
    drop_candidates(table, arguments.drop_model)
    selection = Selection(dropped=tuple(arguments.drop_model))
    return work_on(prepared(folder, settings=table, selection=selection, preflight=not arguments.no_preflight))


def _report(arguments: argparse.Namespace) -> int:
    from jobs.cli.working import prepared, work_on
    from jobs.work import Selection

    folder, _ = _existing(arguments)
    return work_on(prepared(folder, selection=Selection(only="report")))


def _retry(arguments: argparse.Namespace) -> int:
    from engine.errors import BadInput
    from jobs.cli.working import prepared, work_on
    from jobs.models.embeddings import BAD_VECTOR
    from jobs.report.collect import job_states
    from jobs.work import Selection

    folder, _ = _existing(arguments)
    kind = arguments.only
    kinds = sorted({kind for state in job_states(folder.datasets()) for kind in state.failures})
    if kind not in (None, BAD_VECTOR, *kinds):  # vectors that an earlier release sealed are found only by looking
        raise BadInput(f"no record failed with {kind!r}; the kinds are: {', '.join(kinds) or 'none, nothing failed'}")
    selection = Selection(retry=lambda job, failure: kind in (None, failure.kind))
    return work_on(prepared(folder, selection=selection, preflight=not arguments.no_preflight))


def _status(arguments: argparse.Namespace) -> int:
    from jobs.cli.status import print_status

    folder, _ = _existing(arguments)
    print_status(folder, as_json=arguments.json, kind=arguments.failures)
    return 0


def _batches(arguments: argparse.Namespace) -> int:
    from jobs.cli.batches import print_batches

    folder, _ = _existing(arguments)
    if arguments.cancel:
        from jobs.cli.cancel_batches import cancel_batches

        cancel_batches(folder)
    else:
        print_batches(folder, as_json=arguments.json)
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    from jobs.cli.verify import damage
    from jobs.review.log import ReviewLog

    folder, _ = _existing(arguments)
    datasets, whole = folder.datasets(), True
    for line in chain(damage(datasets), ReviewLog(folder.reviews).damage()):
        whole = False
        print(line)
    if whole:
        print(f"{sum(len(dataset.sealed()) for dataset in datasets.values())} sealed shards are as they were sealed")
    return 0 if whole else 1


def _export(arguments: argparse.Namespace) -> int:
    from engine.errors import BadInput
    from jobs.cli.export import export_to, push_to

    folder, settings = _existing(arguments)
    format, path, repository, partial = arguments.format, arguments.to, arguments.push, arguments.partial
    if repository and (format or path):
        raise BadInput("--push sends RUN/dataset as it is: leave --format and --to out")
    if repository:
        push_to(folder, settings, repository, public=arguments.public, partial=partial)
    elif format and path:
        export_to(folder, settings, format=format, path=path, partial=partial)
    else:
        raise BadInput("say --format F and --to PATH, or --push OWNER/NAME")
    return 0


def _existing(arguments: argparse.Namespace) -> tuple[RunFolder, Config]:
    from jobs.run.folder import RunFolder

    folder = RunFolder(arguments.run)
    return folder, folder.config()


if __name__ == "__main__":
    sys.exit(main())
