"""Does memory grow with the number of records, and does a record cost the same however many there are?

One job over tiny records that are answered at once in the process, few and many of them: the peak of the resident memory,
and the CPU time of each record. While the many are ground on one core, the few are ground on another, again and again,
so that both meet the machine in every state; the ratio of CPU times is to their mean. Many records are also what many
processes would do: shards know nothing of each other, so their work one after another is the work of as many processes.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from statistics import fmean, median

from processes import Ground, grinding
from tables import Row, figure, options, show_rows, write

TARGET_RSS_MB, TARGET_GROWTH = 100, 1.05


def main() -> None:
    given = options(__doc__, few=10_000, many=1_000_000)
    with ThreadPoolExecutor(1) as beside:
        running = beside.submit(ground, given.many, core=0)
        few = [ground(given.few, core=1)]
        while not running.done():
            few.append(ground(given.few, core=1))
        many = running.result()
    found: dict[int, list[Ground]] = {given.few: few, given.many: [many]}
    rss_mb = {records: [each.peak_rss_mb for each in of] for records, of in found.items()}
    cpu_us = {records: [1e6 * each.cpu_s / records for each in of] for records, of in found.items()}
    rows = [
        Row(
            measure=f"peak RSS, {given.many} records against {given.few}, MB",
            value=f"{many.peak_rss_mb:.3g}",
            floor=str(figure(rss_mb[given.few])),
            ratio=f"{(growth := many.peak_rss_mb / median(rss_mb[given.few])):.3g}",
            target=f"< {TARGET_RSS_MB}, growth ≤ {TARGET_GROWTH:g}",
            met=many.peak_rss_mb < TARGET_RSS_MB and growth <= TARGET_GROWTH,
        ),
        Row(
            measure=f"CPU µs a record, {given.many} records against {given.few}",
            value=f"{cpu_us[given.many][0]:.3g}",
            floor=str(figure(cpu_us[given.few])),
            ratio=f"{(growth := cpu_us[given.many][0] / fmean(cpu_us[given.few])):.3g}",
            target=f"growth ≤ {TARGET_GROWTH:g}",
            met=growth <= TARGET_GROWTH,
        ),
    ]
    show_rows(f"Tiny records through one job: of the few, median [least, greatest] of {len(few)} rounds", rows)
    write(given.json, {"rows": rows, "found": {str(records): of for records, of in found.items()}})


def ground(records: int, *, core: int) -> Ground:
    with grinding(records, core=core) as grind:
        return grind()


if __name__ == "__main__":
    main()
