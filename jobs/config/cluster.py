"""The section `cluster`: how many processes work on the run."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from jobs.config.section import Section

__all__ = ["Cluster"]


class Cluster(Section):
    """More processes than one. The rows are the same with any number of them, and a run may go on with another number."""

    workers: int = Field(
        0,
        ge=0,
        description="Processes that work on shards, beside the one that hands them out. 0: one process does all.",
    )
    engine: Literal["processes", "ray"] = Field(
        "processes",
        description='Where workers run. "processes": on this machine. "ray": on a Ray cluster (`gristmill[ray]`), whose '
        "machines share the folder of the run.",
    )
    address: str = Field(
        "",
        description='Where the Ray cluster is: "auto", or host and port. Unset: one is started on this machine, for this run.',
    )
    ray_folder: str = Field(
        "", description="Where a Ray that is started here keeps its logs and sockets. Unset: a folder below /tmp/ray."
    )

    @model_validator(mode="after")
    def _is_of_ray(self) -> Cluster:
        for key in ("address", "ray_folder"):
            if getattr(self, key) and self.engine != "ray":
                raise ValueError(f'cluster.{key} is for cluster.engine = "ray"')
        return self
