"""Who may read a served run, and from where.

On this machine alone, the printed address holds a random token; opening it sets a cookie. On another address a
password is asked for. A request must name a host that no web site can have made point here (DNS rebinding), and one that
changes something must carry a second token in a header, which no other site can send (CSRF).
"""

from __future__ import annotations

import ipaddress
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from hmac import compare_digest

from engine.errors import BadInput

__all__ = ["HEADER", "PASSWORD_VARIABLE", "Access"]

PASSWORD_VARIABLE = "GRISTMILL_PASSWORD"
"""The environment variable with the password, for an address that other machines can reach."""

HEADER = "X-Gristmill-Token"
"""The header with the token of requests that change something."""


@dataclass(frozen=True, kw_only=True)
class Access:
    """The secrets of one server; none is written to disk. ``password`` is "" where the token is the way in.

    ``token`` is in the printed address, ``session`` in the cookie, ``header`` in requests that change something.
    """

    password: str = field(default="", repr=False)
    token: str = field(default_factory=secrets.token_urlsafe, repr=False)
    session: str = field(default_factory=secrets.token_urlsafe, repr=False)
    header: str = field(default_factory=secrets.token_urlsafe, repr=False)

    @classmethod
    def to(cls, bind: str, environment: Mapping[str, str]) -> Access:
        """That of a server at the address `bind`. Raises `BadInput` where it needs a password and there is none."""
        password = "" if is_loopback(bind) else environment.get(PASSWORD_VARIABLE, "")
        if not password and not is_loopback(bind):
            raise BadInput(
                f"other machines can reach {bind}: set a password in the environment variable {PASSWORD_VARIABLE}, "
                "or leave --bind out"
            )
        return cls(password=password)

    def admits_token(self, given: str) -> bool:
        """Whether `given` is the token of the printed address; never where a password is asked for."""
        return not self.password and _same(given, self.token)

    def admits_password(self, given: str) -> bool:
        return bool(self.password) and _same(given, self.password)

    def admits_session(self, given: str) -> bool:
        return _same(given, self.session)

    def admits_change(self, given: str) -> bool:
        return _same(given, self.header)

    def admits_host(self, host: str) -> bool:
        """Whether a request's ``Host`` names this machine: by an address, or by a name that only this machine gives.

        A page of another site whose name was made to point here sends the name of that site.
        """
        name = _without_port(host).lower()
        if not self.password:
            return name == "localhost" or is_loopback(name)
        return name in ("localhost", socket.gethostname().lower()) or _address(name) is not None


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`."""
    address = _address(host)
    return host == "localhost" or (address is not None and address.is_loopback)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0]


def _same(given: str, secret: str) -> bool:
    """Compared in a time that says nothing about where they differ."""
    return compare_digest(given.encode("utf-8", "surrogatepass"), secret.encode("utf-8", "surrogatepass"))
