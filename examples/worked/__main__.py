"""`make worked`: from a folder of papers to a table that says whether tuning helped, in pieces that can be stopped.

Pairs are made once; each training of variants.toml begins with a copy of them; the base and every adapter answer the same
validation questions with the same contexts; the table of paired differences is written after each training. METRICS.md
says what is measured and was fixed before. Run the same command again to go on; Ctrl-C keeps what is done.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from outcome import (
    PRIMARY,
    by_retrieval,
    differences_table,
    leakage,
    loss_picture,
    means_table,
    picture,
    read_outcome,
    secondary,
)
from papers import cut, fetched, papers_in
from plan import HERE, MAIN, Variant, estimate_min, laid_over, pair_settings, read_variants
from trainings import export, found_questions, seen_questions, train, write_questions
from written import read_pairs, server

from engine.errors import GristmillError
from engine.signals import Stop, Stopped
from jobs.api import run_pipeline
from jobs.models.weights import QWEN_CODER_0_5B, QWEN_CODER_1_5B, SMOLLM2_135M, fetch
from jobs.tuning.lora.losses import read_losses

BASES = {"small": SMOLLM2_135M, "medium": QWEN_CODER_0_5B, "default": QWEN_CODER_1_5B}
MOST_TOKENS = 64
"""Of an answer. The references have 12 words; every model is cut at the same place."""

_LEAKING, _CLEAN = "notebook", "separate"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="make worked", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "papers", nargs="+", type=Path, help="PDF files, folders of them, or papers.csv, which is fetched"
    )
    parser.add_argument("--out", type=Path, default=Path("worked"))
    parser.add_argument("--base", choices=BASES, default="small", help="the model that is tuned (%(default)s)")
    parser.add_argument(
        "--pairs", type=Path, help="pairs that exist already, as in pairs.jsonl; else the model writes them"
    )
    parser.add_argument("--only", nargs="*", help="these trainings; the main one is always done")
    asked = parser.parse_args(arguments)
    stop = Stop()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.request())
    try:
        asyncio.run(work(asked, stop))
    except Stopped:
        print("stopped; the same command goes on", file=sys.stderr)
        return 130
    except GristmillError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


async def work(asked: argparse.Namespace, stop: Stop) -> None:
    """All pieces in their order; each that is done already takes seconds."""
    folder: Path = asked.out
    variants = [each for each in read_variants() if not asked.only or each.name in (MAIN, *asked.only)]
    print(
        f"about {estimate_min(variants, base=asked.base):.0f} min on two idle cores, if nothing is done yet", flush=True
    )
    base = fetch(BASES[asked.base], lambda line: print(line, file=sys.stderr))
    gather(asked.papers, folder / "papers")
    with generator(asked.pairs) as source:
        settings = laid_over(pair_settings(), {"models": source})
        await run_pipeline(folder / "papers", out=folder / "pairs", settings=settings, until="curate", stop=stop)
        stop.check()
        done: list[Variant] = []
        for variant in variants:
            run = await export(folder, folder / "papers", variant, settings, stop)
            if variant.name == MAIN:
                print(f"{write_questions(run, folder / 'questions.jsonl')} validation questions", flush=True)
            began = time.monotonic()
            await train(folder, base, variant, settings, stop)
            print(f"{variant.name}: trained in {(time.monotonic() - began) / 60:.0f} min", flush=True)
            done.append(variant)
            await compare(folder, base, done, settings, stop)
            write_outcome(folder, done, seed=settings["seed"])
        await judge(folder, base, done, settings, stop)
        write_outcome(folder, done, seed=settings["seed"])


def gather(sources: Sequence[Path], target: Path) -> None:
    """A few pages of each paper of `sources` that `target` does not have yet."""
    target.mkdir(parents=True, exist_ok=True)
    if sources != [target]:
        for path in papers_in(fetched(sources, target.with_name("papers-whole"))):
            if not (target / path.name).exists():
                cut(path, target / path.name)


@contextmanager
def generator(pairs: Path | None) -> Iterator[dict[str, Any]]:
    """The section [models] of who writes the pairs: the file `pairs`, which is served, or the embedded model."""
    if pairs is None:
        yield {}
        return
    served = server(read_pairs(pairs))
    threading.Thread(target=served.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{served.server_port}/v1"
    yield {"generator": {"model": "written", "base_url": url, "api_key_env": ""}}
    served.shutdown()


async def compare(folder: Path, base: Path, done: Sequence[Variant], settings: dict[str, Any], stop: Stop) -> None:
    """Let the base and every adapter of `done` answer the questions that they have not answered yet."""
    await answer(folder, folder / "compared", base, done, settings, stop, until="similarity")
    if [variant.name for variant in done] == [MAIN] and not (folder / "judged").exists():
        partial = folder / "judged.partial"
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(folder / "compared", partial, ignore=shutil.ignore_patterns("run.lock"))
        partial.rename(folder / "judged")


async def judge(folder: Path, base: Path, done: Sequence[Variant], settings: dict[str, Any], stop: Stop) -> None:
    """The verdicts on the answers of the base and of the main training: those of all would take as long as the rest."""
    await answer(folder, folder / "judged", base, done[:1], settings, stop, until="judge")


async def answer(
    folder: Path, run: Path, base: Path, done: Sequence[Variant], settings: dict[str, Any], stop: Stop, *, until: str
) -> None:
    """The jobs of `run` up to `until`, with the base and the adapters of `done` behind an endpoint.

    Parameters: more than six, since it is the two above in one.
    """
    named = {path.name.rpartition("-")[0]: path.name for path in (folder / "adapters").iterdir()}
    with answering(base, folder / "adapters") as url:
        here = {"base_url": url, "api_key_env": "", "max_tokens": MOST_TOKENS, "max_concurrency": 64, "timeout_s": 3600}
        candidates = {variant.name: {**here, "model": named[variant.name]} for variant in done}
        table = {
            "seed": settings["seed"],
            "export": settings["export"],
            "models": {"base": {**here, "model": "base"}, "candidates": candidates},
            "evaluate": {"sample": 10_000, "metrics": ["token_f1"], "method": "agreement"},
        }
        await run_pipeline(out=run, pairs=folder / "questions.jsonl", settings=table, until=until, stop=stop)
        stop.check()


@contextmanager
def answering(base: Path, adapters: Path) -> Iterator[str]:
    """The address of `batch_server.py` over `base`, which ends with the block."""
    command = [sys.executable, str(HERE / "batch_server.py"), str(base), str(adapters), "0"]
    quiet = {"OMP_WAIT_POLICY": "PASSIVE", "TQDM_DISABLE": "1", **os.environ}  # idle threads leave the cores to others
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=quiet) as child:
        try:
            assert child.stdout
            url = child.stdout.readline().strip()
            if not url:
                raise GristmillError(f"{HERE.name}/batch_server.py did not start; its reason is above")
            yield url
        finally:
            child.kill()


def write_outcome(folder: Path, done: Sequence[Variant], *, seed: int) -> None:
    """``outcome.md`` and a plot of each primary metric in `folder`, from what is answered so far."""
    outcome = read_outcome(folder / "compared", ["base", *(variant.name for variant in done)], judged=folder / "judged")
    why = {"base": "untuned", **{variant.name: variant.why for variant in done}}
    against = {variant.name: variant.against for variant in done}
    leaking = next((variant for variant in done if variant.name == _LEAKING), None)
    seen = seen_questions(folder, leaking, seed=seed) if leaking else set()
    parts = [means_table(outcome, why), differences_table(outcome, against)]
    parts += [by_retrieval(outcome, found_questions(folder, done[0])), secondary(outcome, MAIN)]
    parts.append(leakage(outcome, seen, _LEAKING, _CLEAN))
    text = "\n".join(filter(None, parts))
    losses = read_losses(folder / MAIN / "tuning" / "losses.jsonl")
    (folder / "loss.svg").write_text(loss_picture(losses), "utf-8")
    (folder / "outcome.md").write_text(text, "utf-8")
    for metric in PRIMARY:
        (folder / f"{metric.replace(' ', '-').lower()}.svg").write_text(picture(outcome, metric), "utf-8")
    print(text, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
