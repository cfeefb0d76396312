"""The models behind the roles: a request becomes a reply, at an endpoint or on this machine.

In: requests of jobs, by role. Out: replies, or errors of the engine. May import `run`.
"""

from __future__ import annotations
