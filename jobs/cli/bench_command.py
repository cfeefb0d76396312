"""`gristmill bench`: its flags, and what they mean."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from jobs.registry import ROLES

__all__ = ["add_bench"]


def add_bench(commands: Any) -> None:
    """Add the command to `commands`."""
    text = "measure an endpoint at each load: its knee, and the settings that follow"
    bench = commands.add_parser("bench", help=text, description=f"{text}; a simulated endpoint where none is named")
    bench.add_argument("--config", type=Path, metavar="FILE.toml", help="measure a model of this configuration")
    bench.add_argument("--role", choices=ROLES, default="generator", metavar="ROLE", help=f"which: {', '.join(ROLES)}")
    bench.add_argument("--base-url", metavar="URL", help="an OpenAI-compatible endpoint")
    bench.add_argument("--model", help="the model's name there")
    bench.add_argument(
        "--api-key-env", metavar="NAME", help="the environment variable that holds the key, if it needs one"
    )
    loads = bench.add_mutually_exclusive_group()
    loads.add_argument(
        "--concurrency",
        type=_counts,
        default=(1, 4, 16, 64, 256),
        metavar="N,N,...",
        help="requests in flight (closed loop; default: 1,4,16,64,256)",
    )
    loads.add_argument("--rate", type=_rates, metavar="R,R,...", help="requests per second (open loop)")
    bench.add_argument(
        "--requests", type=_count, metavar="N", help="at most, at each load (default: 64, or 4 for each in flight)"
    )
    bench.add_argument(
        "--seconds",
        type=_rate,
        metavar="S",
        help="seconds of sending at each load, at most (default: 60; at a rate 10)",
    )
    bench.add_argument("--stream", action="store_true", help="ask for streams, and time the first token")
    bench.add_argument(
        "--input-tokens", type=_count, default=256, metavar="N", help="of a prompt, about (default: 256)"
    )
    bench.add_argument("--max-tokens", type=_count, default=128, metavar="N", help="of an answer (default: 128)")
    bench.add_argument("--json", type=Path, metavar="PATH", help="write the figures; - is standard output")
    bench.add_argument("--html", type=Path, metavar="PATH", help="write a page with plots")
    bench.set_defaults(command=_bench)


def _count(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return int(text)


def _rate(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return number


def _counts(text: str) -> tuple[int, ...]:
    return tuple(sorted({_count(part.strip()) for part in text.split(",")}))


def _rates(text: str) -> tuple[float, ...]:
    return tuple(sorted({_rate(part.strip()) for part in text.split(",")}))


def _bench(arguments: argparse.Namespace) -> int:
    from contextlib import nullcontext

    from jobs.bench.bench import run, simulated
    from jobs.bench.workload import Plan, find_target

    plan = Plan(
        loop="open" if arguments.rate else "closed",
        levels=arguments.rate or arguments.concurrency,
        requests=arguments.requests,
        seconds=arguments.seconds,
        input_tokens=arguments.input_tokens,
        max_tokens=arguments.max_tokens,
        stream=arguments.stream,
    )
    flags = {name: getattr(arguments, name) for name in ("model", "base_url", "api_key_env")}
    ours = arguments.config is None and arguments.base_url is None
    with simulated() if ours else nullcontext() as url:
        chosen = find_target(arguments.role, flags, file=arguments.config, simulated=url)
        return run(chosen, plan, json=arguments.json, html=arguments.html)
