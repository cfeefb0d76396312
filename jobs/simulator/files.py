"""Files at the simulated endpoint: uploaded by a multipart form, or written by a batch; kept in memory."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Any

import msgspec

from jobs.simulator.openai import CREATED, Refused
from jobs.simulator.settings import Simulation

__all__ = ["File", "Files", "page"]

BATCH_PURPOSES = ("batch", "batch-api", "batch_output")


class File(msgspec.Struct, frozen=True, kw_only=True):
    """``sent_s`` is the time of its upload; ``bad`` says that it is rejected whatever it holds."""

    id: str
    sent_s: float
    bad: bool
    name: str
    purpose: str
    data: bytes


class Files:
    """Answers ``/v1/files``, and makes the ids of everything. `clock` tells seconds."""

    def __init__(self, simulation: Simulation, clock: Callable[[], float]) -> None:
        self._simulation = simulation
        self._clock = clock
        self._files: dict[str, File] = {}
        self._ids = 0

    def answer(self, method: str, name: list[str], query: Mapping[str, str], content_type: str, body: bytes) -> Any:
        """The JSON of the response, or the bytes of a file; `name` is what follows ``files``. Raises `Refused`."""
        match [method, *name]:
            case ["POST"]:
                return self._upload(content_type, body)
            case ["GET"]:
                return page([_shown(file) for file in reversed(self._files.values())], query)
            case ["GET", id_]:
                return _shown(self.file(id_))
            case ["GET", id_, "content"]:
                return self.file(id_).data
            case ["DELETE", id_]:
                del self._files[self.file(id_).id]
                return {"id": id_, "object": "file", "deleted": True}
        raise Refused(404, f"Invalid URL ({method} /v1/{'/'.join(['files', *name])})")

    def file(self, name: str) -> File:
        """The file called `name`; raises `Refused` with status 404 where there is none, or none any more."""
        found = self.find(name)
        if found is None:
            raise Refused(404, f"No such File object: {name}", param="id")
        return found

    def find(self, name: str) -> File | None:
        found = self._files.get(name)
        if found is not None and found.purpose in BATCH_PURPOSES and self._is_old(found):
            del self._files[name]
            return None
        return found

    def _is_old(self, file: File) -> bool:
        kept_s = self._simulation.batch_file_s
        return bool(kept_s) and self._clock() >= file.sent_s + kept_s

    def drop(self, name: str) -> None:
        """Forget a file, as if somebody had deleted it."""
        self._files.pop(name, None)

    def write(self, name: str, purpose: str, data: bytes, *, bad: bool = False) -> File:
        """Keep `data` as a new file."""
        file = File(id=self.id("file-"), sent_s=self._clock(), bad=bad, name=name, purpose=purpose, data=data)
        self._files[file.id] = file
        return file

    def id(self, prefix: str) -> str:
        """A new id, the same in every run of the same requests."""
        self._ids += 1
        return prefix + blake2b(f"{self._simulation.seed}|{self._ids}".encode(), digest_size=12).hexdigest()

    def _upload(self, content_type: str, body: bytes) -> dict[str, Any]:
        form = _form(content_type, body)
        if "file" not in form or "purpose" not in form:
            raise Refused(400, "A form with the fields 'file' and 'purpose' is required.", param="file")
        if (field := self._simulation.batch_form_field) and field not in form:
            raise Refused(
                400, f"The form has no {field}: it has to name the provider that the file is for.", param=field
            )
        name, data = form["file"]
        purpose = form["purpose"][1].decode("utf-8", "replace")
        if purpose in BATCH_PURPOSES and len(data) > self._simulation.batch_max_bytes:
            raise Refused(413, f"File is too large: the most is {self._simulation.batch_max_bytes} bytes", param="file")
        file = self.write(name, purpose, data, bad=len(self._files) < self._simulation.tuning_bad_files)
        return {**_shown(file), "status": "uploaded" if file.bad else "processed"}  # it is looked into later


def page(items: list[dict[str, Any]], query: Mapping[str, str]) -> dict[str, Any]:
    """One page of a list: after the item named ``after``, at most ``limit``."""
    ids = [item["id"] for item in items]
    start = ids.index(query["after"]) + 1 if query.get("after") in ids else 0
    limit = int(query["limit"]) if query.get("limit", "").isdecimal() else 20
    part = items[start : start + limit]
    ends = {"first_id": part[0]["id"], "last_id": part[-1]["id"]} if part else {"first_id": None, "last_id": None}
    return {"object": "list", "data": part, **ends, "has_more": start + limit < len(items)}


def _form(content_type: str, body: bytes) -> dict[str, tuple[str, bytes]]:
    """The fields of a multipart form: file name ("" where there is none) and content."""
    boundary = re.search(r'boundary="?([^";]+)', content_type)
    if not boundary:
        raise Refused(400, "The body must be multipart/form-data.")
    found = {}
    for part in (b"\r\n" + body).split(b"\r\n--" + boundary[1].encode()):
        head, _, data = part.partition(b"\r\n\r\n")
        lines = head.decode("utf-8", "replace")
        if name := re.search(r'\bname="([^"]*)"', lines):
            filename = re.search(r'filename="([^"]*)"', lines)
            found[name[1]] = (filename[1] if filename else "", data)
    return found


def _shown(file: File) -> dict[str, Any]:
    shown = {"id": file.id, "object": "file", "bytes": len(file.data), "created_at": CREATED}
    status = "error" if file.bad else "processed"
    return {**shown, "status": status, "filename": file.name, "purpose": file.purpose}
