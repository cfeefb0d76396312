"""How a limit is divided among those who want parts of it, and whose turn it is where it is too small to be divided."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from math import inf

__all__ = ["Turns", "fair", "fair_whole"]


def fair(total: float, wants: Mapping[str, float]) -> dict[str, float]:
    """Each gets what it wants, or an equal part of what the others leave; what nobody wants is divided equally."""
    left, shares = total, {}
    for place, name in enumerate(sorted(wants, key=lambda name: (wants[name], name))):
        shares[name] = min(wants[name], left / (len(wants) - place))
        left -= shares[name]
    return {name: share + max(0.0, left) / len(wants) for name, share in shares.items()}


def fair_whole(total: int, wants: Mapping[str, float]) -> dict[str, int]:
    """The same in whole numbers."""
    left, shares = total, {}
    for place, name in enumerate(sorted(wants, key=lambda name: (wants[name], name))):
        shares[name] = int(min(wants[name], left // (len(wants) - place)))
        left -= shares[name]
    for place, name in enumerate(shares):
        shares[name] += left // (len(shares) - place)
        left -= left // (len(shares) - place)
    return shares


class Turns:
    """Who has a part of a limit that is too small for all. A turn ends when there is nothing to do, or after ``turn_s``
    seconds while others wait; who waited longest is next."""

    def __init__(self, turn_s: float) -> None:
        self._turn_s = turn_s
        self._since: dict[str, float] = {}
        self._ended: dict[str, float] = {}

    def taken_by(self, names: Collection[str], wanting: Collection[str], places: int, now: float) -> set[str]:
        """At most `places` of `names`; those in `wanting` come first."""
        if places >= len(names):
            self._since = {name: self._since.get(name, now) for name in names}
            return set(names)
        held = sorted((name for name in self._since if name in names), key=lambda name: (-self._since[name], name))
        fresh = [name for name in held if name in wanting and now - self._since[name] < self._turn_s]
        waiting = sorted(set(wanting) - set(held), key=lambda name: (self._ended.get(name, -inf), name))
        over = [name for name in held if name in wanting and name not in fresh]
        idle = [name for name in held if name not in wanting]
        chosen = [*fresh, *waiting, *over, *idle, *sorted(set(names) - {*held, *waiting})][:places]
        self._ended |= {name: now for name in self._since if name not in chosen}
        self._since = {name: self._since.get(name, now) for name in chosen}
        return set(chosen)
