"""How much of what a rate limit allows is used, and how much of it is wasted on rejections?

At 3,000 requests and at 1.5 M tokens a minute, a bucket of 10 s, full at the start: with the limit configured, with it
only learned from the server's headers, and by the floor, which asks again at once when it is turned away, 20 times at most.
All side by side: they hardly use the CPU. Tokens are estimated by all but the server, which has a tokenizer of its own.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from processes import Measured, work_of
from tables import Row, options, show, write

REQUESTS_PER_MINUTE, TOKENS_PER_MINUTE, BUCKET_S = 3000, 1_500_000, 10
MAX_TOKENS = 512
PROMPT_TOKENS = 345  # of the mean prompt, by the server's count; only the length of the job hangs on it
SERVER = {"output_tokens_mean": 150, "output_tokens_sigma": 0.25, "latency_mean_s": 1.0, "latency_sigma": 0.5}
TARGET_USED, TARGET_REJECTED = 0.99, 0.001


def main() -> None:
    given = options(__doc__, seconds=40, seed=0)
    cells = {
        (limit, how): cell(limit, how, seconds=given.seconds, seed=given.seed)
        for limit in ("requests", "tokens")
        for how in ("configured", "learned", "floor")
    }
    with ThreadPoolExecutor(len(cells)) as threads:
        futures = {key: threads.submit(work_of, **arguments) for key, arguments in cells.items()}
        found = {key: future.result() for key, future in futures.items()}
    show(
        f"At the limit for {given.seconds} s; targets: ≥ {TARGET_USED:.0%} used, ≤ {TARGET_REJECTED:.1%} rejected, 0 lost",
        ["limit", "client", "used", "rejected", "lost", "answered", "time, s"],
        [[limit, how, *row(limit, measured)] for (limit, how), measured in found.items()],
    )
    figures = {
        f"{limit} {how}": {"used": used(limit, measured), "rejected": rejected(measured), "measured": measured}
        for (limit, how), measured in found.items()
    }
    rows = [told(limit, how, measured) for (limit, how), measured in found.items()]
    write(given.json, {"rows": rows, **figures})


def cell(limit: str, how: str, *, seconds: float, seed: int) -> dict[str, Any]:
    """The arguments of `work_of`: as many requests as the limit allows in `seconds`, with the full bucket."""
    per_minute = REQUESTS_PER_MINUTE if limit == "requests" else TOKENS_PER_MINUTE
    amount = 1 if limit == "requests" else PROMPT_TOKENS + MAX_TOKENS
    arguments: dict[str, Any] = {
        "client": "floor" if how == "floor" else "mill",
        "simulation": {**SERVER, f"{limit}_per_minute": per_minute, "bucket_s": BUCKET_S},
        "requests": int(per_minute / 60 * (seconds + BUCKET_S) / amount),
        "max_tokens": MAX_TOKENS,
        "seed": seed,
    }
    if how == "configured":
        arguments[f"{limit}_per_minute"] = per_minute
    if how == "floor":
        arguments |= {"in_flight": 100, "attempts": 20}
    return arguments


def used(limit: str, measured: Measured) -> float:
    """What was admitted, of what the server could have admitted from the first request sent to the last."""
    per_s = (REQUESTS_PER_MINUTE if limit == "requests" else TOKENS_PER_MINUTE) / 60
    counted = measured.counted
    admitted = counted.requests["chat"] - counted.rejected if limit == "requests" else counted.charged_tokens
    return admitted / (per_s * (BUCKET_S + measured.outcome.sending_s))


def rejected(measured: Measured) -> float:
    """Of all requests that were sent."""
    return measured.counted.rejected / measured.counted.requests["chat"]


def told(limit: str, how: str, measured: Measured) -> Row:
    """A line of RESULTS.md; the floor has no target."""
    share, wasted = used(limit, measured), rejected(measured)
    lost = measured.outcome.lost + measured.outcome.bad
    return Row(
        measure=f"at a limit on {limit}, {'the floor' if how == 'floor' else f'{how} by us'}",
        value=f"{share:.1%} used, {wasted:.2%} rejected, {lost} lost",
        target=None if how == "floor" else f"≥ {TARGET_USED:.0%} used, ≤ {TARGET_REJECTED:.1%} rejected, 0 lost",
        met=None if how == "floor" else share >= TARGET_USED and wasted <= TARGET_REJECTED and not lost,
    )


def row(limit: str, measured: Measured) -> list[object]:
    outcome = measured.outcome
    shares = f"{used(limit, measured):.1%}", f"{rejected(measured):.2%}"
    return [*shares, outcome.lost + outcome.bad, outcome.valid, f"{outcome.wall_s:.1f}"]


if __name__ == "__main__":
    main()
