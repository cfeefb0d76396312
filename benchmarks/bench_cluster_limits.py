"""How much of a rate limit do four workers use that share it by leases, and how much is rejected?

At 12,000 requests and at 6 M tokens a minute, a bucket of 10 s, full at the start: with work for all four, with one that is
killed on the way, and with work for two of them; the limit configured, or only learned from the server's headers.
"""

from __future__ import annotations

import tempfile
from typing import Any

import msgspec
from processes import Counted, Measured, counted_by, said_by, simulated
from tables import Row, options, show_rows, write
from work import Outcome, Settings

REQUESTS_PER_MINUTE, TOKENS_PER_MINUTE, BUCKET_S = 12_000, 6_000_000, 10
WORKERS, MAX_TOKENS = 4, 512
PROMPT_TOKENS = 345  # of the mean prompt, by the server's count; only the length of the job hangs on it
SERVER = {"output_tokens_mean": 150, "output_tokens_sigma": 0.25, "latency_mean_s": 1.0, "latency_sigma": 0.5}
CASES: dict[str, dict[str, Any]] = {
    "configured": {},
    "learned": {"learned": True},
    "one killed": {"kill_s": 10.0},
    "work for 2 of 4": {"shards": 2},
}
USED = {"configured": 0.98, "one killed": 0.95, "work for 2 of 4": 0.95}  # what is learned is not known at the start
REJECTED = 0.001


def main() -> None:
    given = options(__doc__, seconds=40, seed=0)
    rows, found = [], {}
    for limit in ("requests", "tokens"):
        for case, settings in CASES.items():
            measured = measure(limit, seconds=given.seconds, seed=given.seed, **settings)
            rows.append(told(limit, case, measured))
            found[f"{limit} {case}"] = {"used": used(limit, measured), "rejected": rejected(measured.counted)}
            show_rows(f"{limit}, {case}", rows[-1:])
    show_rows(f"Four workers at one limit for {given.seconds} s", rows)
    write(given.json, {"rows": rows, **found})


def measure(
    limit: str, *, seconds: float, seed: int, learned: bool = False, kill_s: float = 0.0, shards: int = 24
) -> Measured:
    """As many requests as the limit allows in `seconds`, with the full bucket, in so many shards."""
    per_minute = REQUESTS_PER_MINUTE if limit == "requests" else TOKENS_PER_MINUTE
    amount = 1 if limit == "requests" else PROMPT_TOKENS + MAX_TOKENS
    requests = int(per_minute / 60 * (seconds + BUCKET_S) / amount)
    with (
        simulated({**SERVER, f"{limit}_per_minute": per_minute, "bucket_s": BUCKET_S}) as base_url,
        tempfile.TemporaryDirectory() as folder,
    ):
        given = Settings(
            base_url=base_url,
            folder=folder,
            requests=requests,
            max_tokens=MAX_TOKENS,
            seed=seed,
            workers=WORKERS,
            shard=-(-requests // shards),
            kill_s=kill_s,
        )
        if not learned:
            given = msgspec.structs.replace(given, **{f"{limit}_per_minute": per_minute})
        said = said_by("mill_head", msgspec.json.encode(given).decode(), core=None)
        return Measured(outcome=msgspec.json.decode(said, type=Outcome), counted=counted_by(base_url))


def used(limit: str, measured: Measured) -> float:
    """What was admitted, of what the server could have admitted while all workers that had work had some left."""
    per_s = (REQUESTS_PER_MINUTE if limit == "requests" else TOKENS_PER_MINUTE) / 60
    counted = measured.counted
    admitted = counted.requests["chat"] - counted.rejected if limit == "requests" else counted.charged_tokens
    return admitted * measured.outcome.sent_then / (per_s * (BUCKET_S + measured.outcome.sending_s))


def rejected(counted: Counted) -> float:
    """Of all requests that were sent."""
    return counted.rejected / counted.requests["chat"]


def told(limit: str, case: str, measured: Measured) -> Row:
    """A line of RESULTS.md."""
    share, wasted = used(limit, measured), rejected(measured.counted)
    lost, again = measured.outcome.lost + measured.outcome.bad, measured.counted.answered_twice
    target = USED.get(case)
    return Row(
        measure=f"4 workers at a limit on {limit}: {case}",
        value=f"{share:.1%} used, {wasted:.2%} rejected, {lost} lost, {again} paid again",
        target=None if target is None else f"≥ {target:.0%} used, ≤ {REJECTED:.1%} rejected, 0 lost",
        met=None if target is None else share >= target and wasted <= REJECTED and not lost,
    )


if __name__ == "__main__":
    main()
