"""`make bench`: every benchmark in a process of its own, one after the other, and their figures into RESULTS.md.

What each measured is kept in results/, so that a run of some (``--only``) renews those alone. A benchmark that fails or
takes too long is said to have failed, and the others go on; whatever it started is ended with it.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from results import Kept, environment, kept, write_results

_HERE = Path(__file__).resolve().parent
_LIMIT_S = 900.0


def main() -> int:
    every = sorted(path.stem.removeprefix("bench_") for path in _HERE.glob("bench_*.py"))
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--only", type=lambda text: text.replace(",", " ").split(), default=every, metavar="NAME,NAME")
    parser.add_argument("--limit-s", type=float, default=_LIMIT_S, help="seconds that one may take (%(default)s)")
    given = parser.parse_args()
    if unknown := set(given.only) - set(every):
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}; there are {', '.join(every)}")
    (_HERE / "results").mkdir(exist_ok=True)
    failed = []
    for number, name in enumerate(given.only, 1):
        print(f"\n[{number}/{len(given.only)}] {name}", flush=True)
        measured = measure(name, given.limit_s)
        (_HERE / "results" / f"{name}.json").write_bytes(msgspec.json.format(msgspec.json.encode(measured), indent=1))
        if measured.failed:
            print(f"failed: {measured.failed}", file=sys.stderr)
            failed.append(name)
    found = {name: kept(name) for name in every}
    write_results([each for each in found.values() if each], missing=[name for name, each in found.items() if not each])
    print(f"\n{_HERE.name}/RESULTS.md is written")
    return 1 if failed else 0


def measure(name: str, limit_s: float) -> Kept:
    """Run one benchmark; what it prints is seen as it comes."""
    began = time.monotonic()
    surroundings, at = environment(), datetime.now(UTC).date().isoformat()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "found.json"
        command = [sys.executable, str(_HERE / f"bench_{name}.py"), "--json", str(path)]
        failed = run(command, limit_s, TMPDIR=folder)  # what it leaves there goes too
        found = msgspec.json.decode(path.read_bytes()) if path.exists() and not failed else {}
    return Kept(
        name=name, date=at, environment=surroundings, seconds=time.monotonic() - began, failed=failed, found=found
    )


def run(command: Sequence[str], limit_s: float, **variables: str) -> str:
    """Why the command failed, in a line; "" when it did not. Nothing that it started outlives it."""
    with tempfile.TemporaryFile() as complaints:
        process = subprocess.Popen(command, stderr=complaints, start_new_session=True, env={**os.environ, **variables})
        try:
            code = process.wait(limit_s)
        except subprocess.TimeoutExpired:
            return f"it took more than {limit_s:g} s"
        finally:
            end_group(process)
        complaints.seek(0)
        said = complaints.read().decode(errors="replace").strip().splitlines()
    return (said[-1][:300] if said else f"it ended with {code}") if code else ""


def end_group(process: subprocess.Popen[bytes]) -> None:
    """End the process and all of its session: a benchmark that is killed leaves its endpoint and its client."""
    with suppress(ProcessLookupError):  # when all have ended
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


if __name__ == "__main__":
    sys.exit(main())
