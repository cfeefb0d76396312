"""How long does a run that is taken up look at what is done, before it sends its first new request?

A job with all its shards sealed gets one more shard; what is measured is the time from the end of the imports to the first
request of that one, few sealed records against many.
"""

from __future__ import annotations

from processes import grinding
from tables import Row, figure, options, show_rows, write

MORE = 100
TARGET_S = 1.0


def main() -> None:
    given = options(__doc__, few=10_000, many=1_000_000, rounds=3)
    found = {records: resumed(records, given.rounds) for records in (given.few, given.many)}
    first_s = {records: figure(times) for records, times in found.items()}
    rows = [
        Row(
            measure=f"first request with {given.many} records sealed against {given.few}, s after imports",
            value=str(first_s[given.many]),
            floor=str(first_s[given.few]),
            ratio=None,
            target=f"< {TARGET_S:g}",
            met=first_s[given.many].high < TARGET_S,
        )
    ]
    show_rows(f"Taking up a run: median [least, greatest] of {given.rounds} rounds", rows)
    write(given.json, {"rows": rows, "found": {str(records): times for records, times in found.items()}})


def resumed(records: int, rounds: int) -> list[float]:
    """Seal `records`, then add `MORE` in each round, and ask for those."""
    times = []
    with grinding(records) as grind:
        grind()
        for _ in range(rounds):
            ground = grind(more=MORE)
            if ground.asked != MORE or ground.first_s is None:
                raise SystemExit(f"a resume asked {ground.asked} records, not {MORE}")
            times.append(ground.first_s)
    return times


if __name__ == "__main__":
    main()
