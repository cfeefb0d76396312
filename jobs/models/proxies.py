"""Which proxy stands between this machine and an address, as the environment says it.

The rules are those of curl and of the openai package: ``HTTP_PROXY`` and ``HTTPS_PROXY`` by the scheme of the address,
``ALL_PROXY`` for both, each in lower case first; ``NO_PROXY`` names the hosts that are reached without one. An address
on this machine is no exception: name it in ``NO_PROXY``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network

from yarl import URL

from engine.errors import BadInput

__all__ = ["Proxy", "goes_direct", "proxy_for"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """An HTTP proxy and the variable that names it. ``url`` may hold credentials, ``shown`` never does."""

    url: URL = field(repr=False)
    variable: str

    @property
    def shown(self) -> str:
        return str(self.url.origin())


def proxy_for(url: URL, environment: Mapping[str, str]) -> Proxy | None:
    """The proxy for requests to `url`; None where they go there directly.

    Raises `BadInput` for a variable that names no HTTP proxy.
    """
    variable = next((name for name in _variables(url.scheme, environment) if environment.get(name, "").strip()), None)
    if variable is None or goes_direct(url, environment.get("no_proxy", environment.get("NO_PROXY", ""))):
        return None
    return Proxy(url=_checked(environment[variable].strip(), variable), variable=variable)


def goes_direct(url: URL, no_proxy: str) -> bool:
    """Whether `no_proxy` names the host of `url`.

    Its entries are separated by commas or spaces: ``*`` is every host; ``example.org``, ``.example.org`` and
    ``*.example.org`` are that name and what ends in it; an address or a network in CIDR form are those addresses. An
    entry with a port, ``example.org:8000``, holds for that port alone.
    """
    return any(_names(entry, url) for entry in re.split(r"[\s,]+", no_proxy.lower()) if entry)


def _variables(scheme: str, environment: Mapping[str, str]) -> list[str]:
    if scheme == "http" and "REQUEST_METHOD" in environment:  # a CGI script: there a stranger's header sets HTTP_PROXY
        return ["http_proxy", "all_proxy", "ALL_PROXY"]
    return [f"{scheme}_proxy", f"{scheme.upper()}_PROXY", "all_proxy", "ALL_PROXY"]


def _checked(value: str, variable: str) -> URL:
    try:
        url = URL(value if "://" in value else f"http://{value}")
    except ValueError:
        url = URL()
    if url.scheme.startswith("socks"):
        raise BadInput(
            f"{variable} names a SOCKS proxy, which is not supported: set it to an http:// or https:// proxy, or name "
            "the model's host in NO_PROXY"
        )
    if url.scheme not in ("http", "https") or not url.host:
        raise BadInput(f"{variable} names no proxy: set it to http://HOST:PORT, or unset it")
    return url


def _names(entry: str, url: URL) -> bool:
    host, port = (url.host or "").lower().rstrip("."), url.port
    entry = entry.partition("://")[2] or entry
    if entry == "*":
        return True
    name, wanted_port = _split(entry)
    if wanted_port is not None and wanted_port != port:
        return False
    try:
        return ip_address(host.partition("%")[0]) in ip_network(name, strict=False)
    except ValueError:  # one of the two is a name
        name = name.removeprefix("*").strip(".")
        return bool(name) and (host == name or host.endswith(f".{name}"))


def _split(entry: str) -> tuple[str, int | None]:
    """The host and the port of an entry; an IPv6 address with a port stands in brackets."""
    match = re.fullmatch(r"(?:\[(?P<v6>[^]]*)\]|(?P<host>[^:]*))(?::(?P<port>\d{1,5}))?", entry)
    if match is None:
        return entry, None
    port = match["port"]
    return match["v6"] or match["host"] or "", int(port) if port else None
