"""Gristmill's engine: datasets of shards, jobs, calls and limits. It knows nothing of papers, prompts or models."""

from __future__ import annotations

from engine.datasets import Dataset
from engine.errors import BadInput, Fatal, GristmillError, Permanent, Transient
from engine.job import Item, Job, Pipeline, ShardRows, Step
from engine.records import Record, make_id
from engine.requests import Call, Reply, Request, Usage
from engine.runner import run
from engine.signals import Stop, Stopped

__all__ = [
    "BadInput",
    "Call",
    "Dataset",
    "Fatal",
    "GristmillError",
    "Item",
    "Job",
    "Permanent",
    "Pipeline",
    "Record",
    "Reply",
    "Request",
    "ShardRows",
    "Step",
    "Stop",
    "Stopped",
    "Transient",
    "Usage",
    "make_id",
    "run",
]
