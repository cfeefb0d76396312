"""The events of a run as JSON lines in ``run.log``, a file of bounded size."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path

from engine.events import Event, Hook, log_events
from engine.files import naming_the_disk

__all__ = ["EventLog"]

_LOG_BYTES = 10 << 20


class EventLog:
    """A hook that writes events to a file while the file is open, and drops them before and after that.

    Each log has a logger of its own, so two runs in one process do not write into each other's file.
    """

    def __init__(self) -> None:
        self._write: Hook = _drop

    def __call__(self, event: Event) -> None:
        self._write(event)

    @contextmanager
    def to(self, path: Path) -> Iterator[None]:
        """Write to `path` while inside. Raises `Fatal`, naming the file, when it cannot be written."""
        logger = logging.Logger("gristmill", logging.INFO)  # noqa: LOG001 - it shall be known to nobody else
        with naming_the_disk(path):
            handler = _LogFile(path, maxBytes=_LOG_BYTES, backupCount=1, encoding="utf-8")
        handler.setFormatter(_JsonLines())
        logger.addHandler(handler)
        self._write = log_events(logger)
        try:
            yield
        finally:
            self._write = _drop
            with naming_the_disk(path):
                handler.close()


def _drop(event: Event) -> None:
    pass


class _LogFile(RotatingFileHandler):
    def handleError(self, record: logging.LogRecord) -> None:
        """Raise `Fatal` for a line that cannot be written; the default prints a traceback and goes on."""
        with naming_the_disk(Path(self.baseFilename)):
            raise  # noqa: PLE0704 - it is called while the error is handled


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "monotonic_s": round(time.monotonic(), 3),
            "level": record.levelname.lower(),
            "event": getattr(record, "event", record.name),
            **getattr(record, "fields", {}),
        }
        return json.dumps(line, ensure_ascii=False)
