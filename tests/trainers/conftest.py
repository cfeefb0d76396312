"""These tests need the trainers themselves, which `make trainers` installs into an environment of their own."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if all(map(find_spec, ("trl", "llamafactory", "axolotl"))):
        return
    reason = pytest.mark.skip(reason="no trainers are installed here; `make trainers` runs these tests")
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(reason)
