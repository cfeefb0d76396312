"""The section `cluster`: how many processes work on the run."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from jobs.config.section import Section

__all__ = ["Cluster"]


class Cluster(Section):
    """More processes than one. The rows are the same with any number of them, and a run may go on with another number."""

    workers: int = Field(
        0,
        ge=0,
        description="Processes that work on shards, beside the one that hands them out. 0: one process does all.",
    )
    engine: Literal["processes"] = Field("processes", description='Where workers run. "processes": on this machine.')
