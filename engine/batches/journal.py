"""The files of a run's batches. It is safe to kill the process at any instant.

    N.requests.jsonl   the rows for the provider, and N.keys.jsonl which record of which shard each belongs to
    N.json             the record of the batch: meant → uploaded → submitted → ended
    N.results.jsonl    the answers, shard by shard, until their records are committed
    waiting.jsonl      of each shard that is closed, how many of its records wait

Requests without a record were never sent: the next process deletes them, and their records ask again. A record is
written, whole and synced, before what it announces happens and after what it reports has happened:

- *meant*: both files are synced. A kill during the upload leaves an unused file at the provider.
- *uploaded*: the file's id is known. There is no batch before that, so there is none to lose. ``asked_at`` is written
  before each try to create the batch. Where it stands and the batch's id does not, the batch may exist: the list of batches
  is searched for the file's id, and only a list that lacks it some time after ``asked_at`` means that there is none. A
  file is uploaded once for each batch, so its id is in one batch at most.
- *submitted*: the batch's id is known. Everything until the end only reads.
- *ended*: the results are here, whole and synced. They are deleted shard by shard, each when its shard is sealed.

So the records of a batch ask again only when it is known to have no answer for them. An answer is on disk before any
record uses it, and stays there until the record is committed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from engine.batches.record import BatchRecord, read_records, write_record
from engine.errors import Fatal
from engine.files import make_folder, naming_the_disk, write_atomic

__all__ = ["Journal", "Key"]


class Key(msgspec.Struct, frozen=True, array_like=True):
    """Whose answer a row brings: ``id`` is its custom id, `group` the shard, `input` the record."""

    id: str
    group: str
    input: str


class _Waiting(msgspec.Struct, frozen=True, array_like=True):
    group: str
    count: int


class Journal:
    """The files in `folder`. All methods but the paths block, and raise `Fatal` where the disk fails."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def requests(self, number: int) -> Path:
        return self.folder / f"{number}.requests.jsonl"

    def keys(self, number: int) -> Path:
        return self.folder / f"{number}.keys.jsonl"

    def results(self, number: int) -> Path:
        return self.folder / f"{number}.results.jsonl"

    def downloaded(self, number: int, kind: str) -> Path:
        """Where a file of results is put first; `kind` is "output" or "error"."""
        return self.folder / f"{number}.{kind}.part"

    def begin(self) -> list[BatchRecord]:
        """The records of all batches, by number, after files without use are deleted."""
        if not self.folder.is_dir():
            return []
        records = {record.number: record for record in read_records(self.folder)}
        with naming_the_disk(self.folder):
            for path in self.folder.iterdir():
                number, _, kind = path.name.partition(".")
                if not number.isdigit() or kind == "json":
                    continue
                record = records.get(int(number))
                needed = record is not None and (bool(record.groups) if record.state == "ended" else True)
                if not needed or (record is not None and (kind == "results.jsonl") != (record.state == "ended")):
                    path.unlink()
        return list(records.values())

    def make(self) -> None:
        with naming_the_disk(self.folder):
            make_folder(self.folder)

    def write(self, record: BatchRecord) -> None:
        write_record(self.folder, record)

    def forget(self, number: int, *, results: bool = False) -> None:
        """Delete what is not needed once a batch has ended; its `results` too once they are not."""
        gone = [
            self.requests(number),
            self.keys(number),
            *(self.downloaded(number, kind) for kind in ("output", "error")),
        ]
        for path in [*gone, self.results(number)] if results else gone:
            with naming_the_disk(path):
                path.unlink(missing_ok=True)

    def read_keys(self, number: int) -> Iterator[tuple[int, Key]]:
        """The keys of the rows of a batch, in their order, each with the byte where it begins. Raises `Fatal`."""
        path, at = self.keys(number), 0
        with naming_the_disk(path), path.open("rb") as file:
            for line in file:
                yield at, _key(line, path)
                at += len(line)

    def keys_at(self, number: int, places: Iterable[int]) -> Iterator[Key]:
        """The keys that begin at these bytes. Raises `Fatal`."""
        path = self.keys(number)
        with naming_the_disk(path), path.open("rb") as file:
            for at in places:
                file.seek(at)
                yield _key(file.readline(), path)

    def waiting(self) -> dict[str, int]:
        """How many records of each shard waited when it was closed last. A torn line is passed over."""
        path = self.folder / "waiting.jsonl"
        found: dict[str, int] = {}
        with naming_the_disk(path):
            lines = path.read_bytes().splitlines() if path.exists() else []
        for line in lines:
            try:
                entry = msgspec.json.decode(line, type=_Waiting)
            except (msgspec.DecodeError, UnicodeDecodeError):
                continue
            found[entry.group] = entry.count
        if lines:
            left = {group: count for group, count in found.items() if count}
            with naming_the_disk(path):
                write_atomic(path, b"".join(_line(_Waiting(group, count)) for group, count in left.items()))
        return found

    def add_waiting(self, group: str, count: int) -> None:
        """Note how many records of a shard wait. Not synced: a note that is lost costs only the opening of its shard."""
        path = self.folder / "waiting.jsonl"
        with naming_the_disk(path), path.open("ab") as file:
            file.write(_line(_Waiting(group, count)))


_keys = msgspec.json.Decoder(Key)


def _key(line: bytes, path: Path) -> Key:
    try:
        return _keys.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Fatal(f"{path} is damaged ({error}); restore it from a copy") from error


def _line(entry: msgspec.Struct) -> bytes:
    return msgspec.json.encode(entry) + b"\n"
