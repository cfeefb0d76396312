"""What would uvloop save? The floor and the whole job, each on asyncio's own event loop and on uvloop's, in turns.

uvloop comes from a throw-away environment; the rest is the same to the byte. CPU time a request at no latency.
"""

from __future__ import annotations

from environments import python_of
from processes import Measured, work_of
from tables import Row, figure, options, ratio, show_rows, write

CLIENTS, LOOPS = ("floor", "mill"), ("asyncio", "uvloop")


def main() -> None:
    given = options(__doc__, requests=2000, rounds=12)
    packages = next((python_of("uvloop").parents[1] / "lib").glob("python*/site-packages"))
    found: dict[tuple[str, str], list[Measured]] = {(client, loop): [] for client in CLIENTS for loop in LOOPS}
    for number in range(given.rounds):
        for client, loop in sorted(found, reverse=bool(number % 2)):
            measured = work_of(
                client, simulation=None, beside=[packages], requests=given.requests, in_flight=100, loop=loop
            )
            found[client, loop].append(measured)
    cpu_ms = {key: [each.cpu_ms for each in of] for key, of in found.items()}
    rows = [
        Row(
            measure=f"CPU ms a request on uvloop, {'ours' if client == 'mill' else 'the floor'}",
            value=str(figure(cpu_ms[client, "uvloop"])),
            floor=f"on asyncio's loop: {figure(cpu_ms[client, 'asyncio'])}",
            ratio=f"{ratio(cpu_ms[client, 'uvloop'], cpu_ms[client, 'asyncio'])} × asyncio",
        )
        for client in CLIENTS
    ]
    show_rows(f"{given.requests} requests: median [least, greatest] of {given.rounds} rounds", rows)
    write(given.json, {"rows": rows, "found": {" ".join(key): of for key, of in found.items()}})


if __name__ == "__main__":
    main()
