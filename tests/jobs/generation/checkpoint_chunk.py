"""A chunk with three sentences that can be understood alone, and two that cannot."""

from __future__ import annotations

__all__ = ["BYTE", "CHUNK", "CRASH", "GROUPED"]

CHUNK = """2.1 Checkpoints

A checkpoint line names the byte at which the rows of one finished input end. The engine truncates the data file
to the last committed byte after a crash, because rows beyond it have no checkpoint. This costs little (Smith et al.
2020). See Fig. 3 for the order of a commit in the engine and its journal. Grouped commits wait for the disk once
for all rows that arrived while the last batch was being written."""

BYTE = "A checkpoint line names the byte at which the rows of one finished input end."
CRASH = (
    "The engine truncates the data file to the last committed byte after a crash, "
    "because rows beyond it have no checkpoint."
)
GROUPED = "Grouped commits wait for the disk once for all rows that arrived while the last batch was being written."
