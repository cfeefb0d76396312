"""The same as `bench_cluster.py` with workers on Ray: answers a second, CPU a request, a shared limit, the first request.

Each measurement starts a Ray of its own; the first request is that of a run on a cluster that runs already.
"""

from __future__ import annotations

import tempfile
from importlib.util import find_spec
from pathlib import Path

from bench_cluster import compare, first_request_s
from papers import cut_papers
from tables import Row, figure, options, skip

FIRST_S = 10.0


def main() -> None:
    given = options(__doc__, rounds=1, each=32, turns=30, per_minute=12_000, limit_s=30, first_rounds=3)
    if find_spec("ray") is None:
        skip(given.json, "Ray is not installed (gristmill[ray])")
    compare("ray", given, [first_row(given.first_rounds)])


def first_row(rounds: int) -> Row:
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
    try:
        with tempfile.TemporaryDirectory() as name:
            cut_papers(Path(name), 8, 8)
            settings = ("cluster.engine=ray", f"cluster.address={cluster.address}")
            found = figure([first_request_s(Path(name), 2, *settings) for _ in range(rounds)])
    finally:
        cluster.shutdown()
    return Row(
        measure="start of `gristmill run` to the first request, 2 workers on a Ray cluster that runs, s",
        value=str(found),
        target=f"≤ {FIRST_S:g} s",
        met=found.median <= FIRST_S,
    )


if __name__ == "__main__":
    main()
