"""A run on disk: its folder, its configuration file, its lock; and imports that wait until they are needed.

In: a path. Out: datasets and settings. May import `config`, `records` and `registry`.
"""

from __future__ import annotations
