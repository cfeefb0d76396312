"""The settings of the simulated endpoint, and the latency and fault of each attempt.

Both are pure functions of the settings, the prompt and the number of the attempt, so they do not depend on the order
and the time of requests.
"""

from __future__ import annotations

import argparse
import difflib
import math
import os
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from hashlib import blake2b
from statistics import NormalDist
from typing import TypeVar

import msgspec

from engine.errors import BadInput
from jobs.simulator.quirks import QUIRKS

__all__ = ["Fault", "Simulation", "arguments", "draw", "fault_picker", "from_arguments", "latency_s", "lognormal"]

T = TypeVar("T")


def knob(default: T, about: str, *, secret: bool = False) -> T:
    """A field of `Simulation`: its default, and its help on the command line."""
    return field(default=default, repr=not secret, metadata={"about": about, "secret": secret})


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """How the simulated endpoint behaves; 0 means off or unlimited. Every field is a flag of the command line."""

    host: str = knob("127.0.0.1", "address to listen on")
    port: int = knob(0, "port to listen on; 0 takes a free one")
    seed: int = knob(0, "same seed and prompt: same answer, latency and faults")
    models: tuple[str, ...] = knob(("simulated-chat", "simulated-embedding"), "model names by commas; * accepts any")
    api_key: str = knob("", "the key that requests must have", secret=True)
    latency_mean_s: float = knob(0.0, "mean time to an answer, in seconds")
    latency_sigma: float = knob(0.0, "spread of the lognormal latency; 0 makes it constant")
    embedding_latency_mean_s: float = knob(0.0, "the same for embeddings; 0 takes that of chat")
    output_tokens_per_second: float = knob(
        0.0, "latency is the time to the first token, the others follow at this rate; 0: all at once"
    )
    slots: int = knob(0, "requests answered at a time; others wait")
    first_byte_s: float = knob(0.0, "seconds until the response head, or a stream's first event, is sent")
    output_tokens_mean: float = knob(40.0, "mean length of a free answer, in tokens")
    output_tokens_sigma: float = knob(0.4, "spread of the lognormal length; 0 makes it constant")
    dimensions: int = knob(256, "length of an embedding")
    requests_per_minute: float = knob(0.0, "limit per model, a continuous bucket")
    tokens_per_minute: float = knob(0.0, "the same for tokens: prompt estimate + max output tokens")
    bucket_s: float = knob(10.0, "size of a bucket, in seconds of its limit")
    reserved_output_tokens: int = knob(256, "max output tokens that a request counts for when it sets none")
    max_in_flight: int = knob(0, "most requests in flight; further ones are rejected")
    overload_status: int = knob(503, "the status of that rejection: 503 or 429")
    fault_500: float = knob(0.0, "share of attempts that get status 500")
    fault_503: float = knob(0.0, "... status 503")
    fault_storm: float = knob(0.0, "... start a storm: everything gets 429 for storm-s seconds")
    fault_reset: float = knob(0.0, "... a connection reset in mid-body")
    fault_short: float = knob(0.0, "... a body that ends before its Content-Length")
    fault_torn: float = knob(0.0, "... a whole response whose JSON is cut in half")
    fault_hang: float = knob(0.0, "... no answer, ever")
    fault_slow: float = knob(0.0, "... a first byte that is slow-s seconds late")
    fault_wrong: float = knob(0.0, "... content that is not what was asked")
    fault_length: float = knob(0.0, "... half an answer, finish_reason=length")
    fault_null: float = knob(0.0, "... content null")
    fault_filter: float = knob(0.0, "... content null, finish_reason=content_filter")
    fault_model: float = knob(0.0, "... the name of another model")
    fault_duplicate_keys: float = knob(0.0, "... JSON in which a key stands twice")
    fault_huge: float = knob(0.0, "... an answer of huge-bytes")
    fault_sticky: float = knob(0.0, "share of prompts whose retries all end as the first attempt")
    quirk: tuple[str, ...] = knob((), "deviations of real servers from OpenAI's API, by name, separated by commas")
    storm_s: float = knob(2.0, "how long a storm lasts, in seconds")
    slow_s: float = knob(5.0, "how late a slow first byte is, in seconds")
    huge_bytes: int = knob(10_000_000, "how large a huge answer is")
    prefix_cache_tokens: int = knob(0, "tokens in a prefix cache of recent prompts; usage reports the hits")
    tuning_validate_s: float = knob(0.05, "time of a fine-tuning job in validating_files, in seconds")
    tuning_queue_s: float = knob(0.05, "... in queued")
    tuning_run_s: float = knob(0.2, "... in running")
    tuning_fails: bool = knob(False, "every fine-tuning job fails while running")
    tuning_word: str = knob("", "... and its last status is this word, as SUCCESS, canceled, user_error or expired")
    tuning_file_s: float = knob(0.0, "seconds after its upload until a file can be trained on")
    tuning_bad_files: int = knob(0, "number of first files that are rejected: their status is error")
    tuning_no_list: bool = knob(False, "there is no list of fine-tuning jobs: 404")
    tuning_hidden: int = knob(0, "number of first requests for a new fine-tuning job that get 404")
    tuning_name_s: float = knob(0.0, "seconds after a job has succeeded until its model has a name")
    batch_validate_s: float = knob(0.05, "time of a batch in validating, in seconds")
    batch_run_s: float = knob(0.2, "... in in_progress; its rows are done one after the other")
    batch_finalize_s: float = knob(0.05, "... in finalizing")
    batch_cancel_s: float = knob(0.0, "... in cancelling")
    batch_expire: float = knob(0.0, "share of the rows of batches that expire before they are done")
    batch_error: float = knob(0.0, "... that end in status 500")
    batch_errors_at_first: bool = knob(False, "every row ends in status 500 in the first batch that it stands in")
    batch_vanish: float = knob(0.0, "share of batches that are gone before they ran")
    batch_lost_answers: float = knob(0.0, "... that are made while the connection breaks before the answer")
    batch_lost_inputs: float = knob(0.0, "... whose input file is gone when they are to be made")
    batch_lost_outputs: float = knob(0.0, "... whose output file is gone when they have ended")
    batch_list_s: float = knob(0.0, "seconds after a batch was made until it is in the list")
    batch_file_s: float = knob(0.0, "a file of a batch is deleted this many seconds after it was made; 0 keeps it")
    batch_ready_s: float = knob(0.0, "seconds after its upload until a batch can be made of a file")
    batch_form_field: str = knob("", "an upload is refused whose form lacks this field")
    batch_queue_tokens: int = knob(0, "prompt tokens of one model that may wait in batches; 0 is no limit")
    batch_queue_late: bool = knob(False, "a batch for which the queue is full is made, and has failed afterwards")
    batch_max_rows: int = knob(50_000, "requests in a batch")
    batch_max_bytes: int = knob(200_000_000, "bytes of its file")
    batch_max_inputs: int = knob(50_000, "texts in a batch of embeddings")
    batch_longest_h: int = knob(24, "the longest completion_window, in hours")
    log_path: str = knob("", "file to which each answered request adds a line: its prompt's hash, the time")

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, (int, float)) and not (value >= 0 and math.isfinite(value)):
                raise BadInput(f"{item.name} is {value}: set it to 0 or more")
        if sum(share for _, share in self.fault_shares()) > 1 or self.fault_sticky > 1:
            raise BadInput("the fault_* shares are of all attempts: set them to at most 1 together")
        for name in ("expire", "error", "vanish", "lost_answers", "lost_inputs", "lost_outputs"):
            if getattr(self, f"batch_{name}") > 1:
                raise BadInput(f"batch_{name} is a share: set it to at most 1")
        for name in self.quirk:
            if name not in QUIRKS:
                near = difflib.get_close_matches(name, QUIRKS, n=1)
                hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(QUIRKS)}"
                raise BadInput(f"there is no quirk {name!r}: {hint}")
        if self.bucket_s == 0:
            raise BadInput("bucket_s is 0: set it to the seconds that a bucket holds, such as 10")

    def fault_shares(self) -> list[tuple[str, float]]:
        """Each kind of fault with its share of attempts, in the order of the fields."""
        return [(kind, getattr(self, f"fault_{kind}")) for kind in _KINDS]


_KINDS = [
    item.name.removeprefix("fault_")
    for item in fields(Simulation)
    if item.name.startswith("fault_") and item.name != "fault_sticky"
]


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """The fault of one attempt. ``kind`` is the name of a ``fault_*`` share of `Simulation`, or "status".

    ``status``, ``code``, ``message`` and ``retry_after_s`` apply to kind "status" only.
    """

    kind: str
    status: int = 500
    code: str | None = None
    message: str = "The server had an error while processing your request. Sorry about that!"
    retry_after_s: float | None = None

    def __post_init__(self) -> None:
        if self.kind != "status" and (self.kind not in _KINDS or self.kind.isdecimal()):
            raise ValueError(f"{self.kind!r} is no kind of fault: it is one of status, {', '.join(_KINDS[2:])}")


def draw(seed: int, key: str, purpose: str) -> float:
    """A number in (0, 1), uniform over keys, the same for the same three arguments."""
    digest = blake2b(f"{seed}|{key}|{purpose}".encode(), digest_size=8).digest()
    return ((int.from_bytes(digest, "big") >> 12) + 0.5) / 2**52


def fault_picker(simulation: Simulation) -> Callable[[str, int], Fault | None] | None:
    """The function from a prompt's hash and the number of its attempt, from 0, to the seeded fault; None without faults."""
    shares = [(kind, share) for kind, share in simulation.fault_shares() if share]
    faults = {kind: Fault(kind=kind) for kind in _KINDS if not kind.isdecimal()}
    faults |= {"500": Fault(kind="status"), "503": Fault(kind="status", status=503, message="Overloaded.")}

    def pick(key: str, attempt: int) -> Fault | None:
        if draw(simulation.seed, key, "sticky") < simulation.fault_sticky:
            attempt = 0
        left = draw(simulation.seed, key, f"fault {attempt}")
        for kind, share in shares:
            if left < share:
                return faults[kind]
            left -= share
        return None

    return pick if shares else None


def latency_s(simulation: Simulation, route: str, key: str) -> float:
    """Time to the whole answer, in seconds."""
    mean_s = simulation.latency_mean_s
    if route == "embeddings" and simulation.embedding_latency_mean_s:
        mean_s = simulation.embedding_latency_mean_s
    return lognormal(mean_s, simulation.latency_sigma, simulation.seed, key, "latency")


def lognormal(mean: float, sigma: float, seed: int, key: str, purpose: str) -> float:
    if not mean or not sigma:
        return mean
    return mean * math.exp(sigma * NormalDist().inv_cdf(draw(seed, key, purpose)) - sigma * sigma / 2)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add a flag for each field of `Simulation`; the key is named by the environment variable that holds it."""
    for item in fields(Simulation):
        flag, about = "--" + item.name.replace("_", "-"), item.metadata["about"].replace("%", "%%")
        if item.metadata["secret"]:
            parser.add_argument(f"{flag}-env", default="", metavar="NAME", help=f"variable that holds {about}")
        elif isinstance(item.default, bool):
            parser.add_argument(flag, action="store_true", help=about)
        else:
            kind = _names if isinstance(item.default, tuple) else type(item.default)
            metavar = {"int": "N", "float": "X", "str": "TEXT"}.get(type(item.default).__name__, "NAME,...")
            if item.default not in ("", ()):
                default = ",".join(item.default) if isinstance(item.default, tuple) else item.default
                about += f" (default: {default})"
            parser.add_argument(flag, type=kind, default=item.default, metavar=metavar, help=about)


def from_arguments(parsed: argparse.Namespace) -> Simulation:
    """The settings from the flags of `arguments`; raises `BadInput` for an invalid one."""
    values = {item.name: getattr(parsed, item.name) for item in fields(Simulation) if not item.metadata["secret"]}
    if parsed.api_key_env and not os.environ.get(parsed.api_key_env):
        raise BadInput(f"the variable {parsed.api_key_env} is not set: set it to the key that requests must have")
    return Simulation(api_key=os.environ.get(parsed.api_key_env, ""), **values)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())
