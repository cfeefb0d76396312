"""What do faults cost, and does anything bad get through?

5 % of attempts get status 500, 2 % a reset in mid-body, 1 % no answer, 2 % a truncated body (half of them one that is
shorter than it says, half JSON cut in two), 2 % content that is not what was asked. Beside it the floor on the same
faults, which retries whatever went wrong at once, holding its place.
"""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from processes import Measured, work_of
from tables import Row, figure, options, ratio, show, write

FAULTS = {"500": 0.05, "reset": 0.02, "hang": 0.01, "short": 0.01, "torn": 0.01, "wrong": 0.02}
SERVER = {"output_tokens_mean": 150, "output_tokens_sigma": 0.25, "latency_mean_s": 1.0, "latency_sigma": 0.5}
TARGET_TIME = 1.2
ATTEMPTS = 6


def main() -> None:
    given = options(__doc__, requests=2000, in_flight=100, rounds=3)
    with ThreadPoolExecutor(given.rounds) as threads:  # rounds side by side; floor and ours in turns in each
        pairs = list(threads.map(lambda seed: one_round(seed, given.requests, given.in_flight), range(given.rounds)))
    found = {client: [pair[client] for pair in pairs] for client in ("floor", "mill")}
    wall_s = {client: [each.outcome.wall_s for each in each_of] for client, each_of in found.items()}
    times = ratio(wall_s["mill"], wall_s["floor"])
    show(
        f"Faults, {given.requests} requests, {given.in_flight} in flight, {given.rounds} rounds (sums, and medians of times)",
        ["", "valid", "bad", "lost", "time, s", "× floor"],
        [
            [client, *counts(found[client]), figure(wall_s[client]), times if client == "mill" else ""]
            for client in found
        ]
        + [["target", given.requests * given.rounds, 0, 0, "", f"≤ {TARGET_TIME:g}"]],
    )
    for client, each_of in found.items():
        troubles = sum((Counter(each.outcome.troubles) for each in each_of), Counter[str]())
        print(f"{client} met:", ", ".join(f"{kind} {count}" for kind, count in troubles.most_common()))
    valid, bad, lost = counts(found["mill"])
    whole = valid == given.requests * given.rounds and not bad and not lost
    rows = [
        Row(
            measure=f"{given.requests * given.rounds} requests with 12 % faults",
            value=f"{valid} valid, {bad} bad, {lost} lost, {figure(wall_s['mill'])} s",
            floor="{} valid, {} bad, {} lost".format(*counts(found["floor"])) + f", {figure(wall_s['floor'])} s",
            ratio=f"{times} × floor",
            target=f"all valid, ≤ {TARGET_TIME:g} × floor",
            met=whole and times.median <= TARGET_TIME,
        )
    ]
    write(given.json, {"rows": rows, "job_time_times_floor": times, **found})


def one_round(seed: int, requests: int, in_flight: int) -> dict[str, Measured]:
    """Floor and ours on the same faults; each is first in every other round."""
    simulation = {**SERVER, **{f"fault_{kind}": share for kind, share in FAULTS.items()}, "seed": seed}
    return {
        client: work_of(
            client,
            simulation=simulation,
            requests=requests,
            in_flight=in_flight,
            seed=seed,
            timeout_s=5.0,
            attempts=ATTEMPTS,
        )
        for client in sorted(["floor", "mill"], reverse=bool(seed % 2))
    }


def counts(measured: list[Measured]) -> list[int]:
    outcomes = [each.outcome for each in measured]
    return [sum(getattr(outcome, name) for outcome in outcomes) for name in ("valid", "bad", "lost")]


if __name__ == "__main__":
    main()
