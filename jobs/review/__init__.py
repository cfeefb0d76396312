"""What people decide about pairs: accept, edit, reject, undo.

In: `pairs`, and a person's decisions. Out: `reviews`, rows that are added and never changed, and the pairs as they are
used from then on. No job writes them. May import `run`.
"""

from __future__ import annotations
