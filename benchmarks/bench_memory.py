"""Does memory grow with the number of records, and does a record cost the same however many there are?

One job over tiny records that are answered at once in the process, few and many of them, in turns: the peak of the resident
memory, and the CPU time of each record. Many records are also what many processes would do: shards know nothing of
each other, so their work one after another is the work of so many processes.
"""

from __future__ import annotations

from processes import Ground, grinding
from tables import Row, figure, options, ratio, show_rows, write

TARGET_RSS_MB, TARGET_GROWTH = 100, 1.05


def main() -> None:
    given = options(__doc__, few=10_000, many=1_000_000, rounds=1)
    found: dict[int, list[Ground]] = {given.few: [], given.many: []}
    for number in range(given.rounds):
        for records in sorted(found, reverse=bool(number % 2)):
            with grinding(records) as grind:
                found[records].append(grind())
    rss_mb = {records: [each.peak_rss_mb for each in of] for records, of in found.items()}
    cpu_us = {records: [1e6 * each.cpu_s / records for each in of] for records, of in found.items()}
    rows = [
        Row(
            measure=f"peak RSS, {given.many} records against {given.few}, MB",
            value=str(figure(rss_mb[given.many])),
            floor=str(figure(rss_mb[given.few])),
            ratio=str(growth := ratio(rss_mb[given.many], rss_mb[given.few])),
            target=f"< {TARGET_RSS_MB}, growth ≤ {TARGET_GROWTH:g}",
            met=max(rss_mb[given.many]) < TARGET_RSS_MB and growth.median <= TARGET_GROWTH,
        ),
        Row(
            measure=f"CPU µs a record, {given.many} records against {given.few}",
            value=str(figure(cpu_us[given.many])),
            floor=str(figure(cpu_us[given.few])),
            ratio=str(growth := ratio(cpu_us[given.many], cpu_us[given.few])),
            target=f"growth ≤ {TARGET_GROWTH:g}",
            met=growth.median <= TARGET_GROWTH,
        ),
    ]
    show_rows(f"Tiny records through one job: median [least, greatest] of {given.rounds} rounds", rows)
    write(given.json, {"rows": rows, "found": {str(records): of for records, of in found.items()}})


if __name__ == "__main__":
    main()
