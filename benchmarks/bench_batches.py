"""What do requests cost that wait in a provider's batches: in memory, at a resume, in CPU?

Half a million are deferred in 40 batches that never end: the peak of the resident memory, and, after a kill, the time from
the end of the imports until each batch was looked at. Then the CPU time of a row that was answered in a batch, beside that
of the same request by itself; both from the end of the imports to the last commit, in turns.
"""

from __future__ import annotations

import tempfile
from typing import Any

import msgspec
from processes import Deferral, said_by, simulated, stubbed
from tables import Row, figure, options, ratio, show_rows, write

TARGET_RSS_MB, TARGET_RESUME_S = 100, 1.0


def main() -> None:
    given = options(__doc__, requests=500_000, batches=40, characters=400, rows=10_000, rounds=3)
    deferred, resumed = waiting(given.requests, given.batches, given.characters, given.rounds)
    batched, alone = list[Deferral](), list[Deferral]()
    for _ in range(given.rounds):
        batched.append(answered(given.rows, in_batches=True))
        alone.append(answered(given.rows, in_batches=False))
    cpu_us = {name: [1e6 * each.cpu_s / given.rows for each in of] for name, of in (("b", batched), ("a", alone))}
    resume_s = figure([each.wall_s for each in resumed])
    most_mb = max(each.peak_rss_mb for each in [deferred, *resumed, *batched])
    rows = [
        Row(
            measure=f"peak RSS, {given.requests} requests deferred in {deferred.batches} batches, MB",
            value=f"{deferred.peak_rss_mb:.3g}, at a resume {max(each.peak_rss_mb for each in resumed):.3g}",
            target=f"< {TARGET_RSS_MB}",
            met=most_mb < TARGET_RSS_MB,
        ),
        Row(
            measure=f"resume until each of {deferred.batches} batches was looked at, s after imports",
            value=str(resume_s),
            target=f"< {TARGET_RESUME_S:g}",
            met=resume_s.high < TARGET_RESUME_S,
        ),
        Row(measure="CPU µs to defer a request", value=f"{1e6 * deferred.cpu_s / given.requests:.3g}"),
        Row(
            measure=f"CPU µs a row, {given.rows} in a batch against one by one",
            value=str(figure(cpu_us["b"])),
            floor=str(figure(cpu_us["a"])),
            ratio=str(ratio(cpu_us["b"], cpu_us["a"])),
        ),
    ]
    show_rows(f"Requests in batches: median [least, greatest] of {given.rounds} rounds", rows)
    found = {"deferred": deferred, "resumed": resumed, "batched": batched, "alone": alone}
    write(given.json, {"rows": rows, "found": found})


def waiting(requests: int, batches: int, characters: int, rounds: int) -> tuple[Deferral, list[Deferral]]:
    """Defer all in batches that never end, kill that process, and take the run up some times."""
    with tempfile.TemporaryDirectory() as folder, stubbed("--never") as base_url:
        task = {"folder": folder, "base_url": base_url, "records": requests, "characters": characters}
        task["rows"] = -(-requests // batches)
        said_by("deferred", _encoded(do="fill", **task))
        deferred = _measured(do="defer", **task)
        return deferred, [_measured(do="resume", **task) for _ in range(rounds)]


def answered(rows: int, *, in_batches: bool) -> Deferral:
    """Ask all, in one batch or each by itself, of a server that answers at once."""
    server = stubbed() if in_batches else simulated(None)
    with tempfile.TemporaryDirectory() as folder, server as base_url:
        task: dict[str, Any] = {"folder": folder, "base_url": base_url, "records": rows}
        said_by("deferred", _encoded(do="fill", **task))
        return _measured(do="answer", rows=rows if in_batches else 0, **task)


def _measured(**task: Any) -> Deferral:
    return msgspec.json.decode(said_by("deferred", _encoded(**task)), type=Deferral)


def _encoded(**task: Any) -> str:
    return msgspec.json.encode(task).decode()


if __name__ == "__main__":
    main()
