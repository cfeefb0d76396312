"""The export formats, one file each; `jobs.tuning.exporters` has the table.

In: `Example` rows. Out: the bytes of training files. May import `jobs.tuning.chat_file` and `records`.
"""

from __future__ import annotations
