"""What a failed connection means, in one line: which setting to change, or that the server is to be waited for."""

from __future__ import annotations

import os
import ssl

import aiohttp

from engine.errors import Fatal, Transient
from jobs.models.connection import Connection

__all__ = ["broken", "proxy_refused", "untrusted", "wants_no_tls", "wants_tls"]

_AGAIN = "then run the same command again"
_NO_TLS = {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG", "HTTP_REQUEST"}
"""What OpenSSL says, by its version, where the other side does not speak TLS."""
_EXPIRED, _NOT_YET_VALID = 10, 9
_OTHER_NAME = {62, 63, 64}


def broken(error: aiohttp.ClientError, way: Connection, *, reached: bool) -> Transient | Fatal:
    """Our error for one of aiohttp's that kept a request from being answered.

    `reached` says whether anybody has answered at this address before. Somebody has: then a name that does not resolve
    or a refused connection is an outage, `Transient` under the kind "unreachable". Nobody has: then it is a setting,
    `Fatal`, as is a certificate that cannot be used at any time.
    """
    tls = _tls_error(error)
    match error:
        case _ if isinstance(tls, ssl.SSLCertVerificationError):
            return untrusted(tls, way)
        case _ if tls is not None and (said := _refused_certificate(tls, way)):
            return Fatal(f"{said}, {_AGAIN}")
        case aiohttp.ClientHttpProxyError():
            return proxy_refused(error.status, way, reached=reached)
        case aiohttp.ClientConnectorError():
            line = _unconnected(error, way, tls)
            return Transient(line.partition(";")[0], kind="unreachable") if reached else Fatal(line)
        case aiohttp.ClientPayloadError():
            return Transient("the answer broke off", kind="torn_body")
        case aiohttp.ClientResponseError() if not reached and way.url.scheme == "http" and _is_tls(error.message):
            return wants_tls(way)
        case _:
            return Transient(f"the connection broke: {type(error).__name__}", kind="reset")


def wants_tls(way: Connection) -> Fatal:
    """Our error for an http:// address at which a server speaks TLS."""
    return Fatal(f"{way.shown} speaks TLS: write https:// in base_url of [models.{way.role}], {_AGAIN}")


def wants_no_tls(way: Connection) -> Fatal:
    """Our error for an https:// address at which a server speaks no TLS."""
    return Fatal(
        f"cannot connect to {way.shown}: the server does not speak TLS; "
        f"write http:// in base_url of [models.{way.role}], {_AGAIN}"
    )


def proxy_refused(status: int, way: Connection, *, reached: bool = False) -> Transient | Fatal:
    """Our error for a proxy that answers with `status` in the place of the server."""
    if way.proxy is None:
        return Fatal(f"a proxy before {way.shown} wants credentials ({status}): set HTTPS_PROXY, {_AGAIN}")
    proxy, variable = way.proxy.shown, way.proxy.variable
    if status == 407:
        return Fatal(
            f"the proxy {proxy} wants a user and a password that it knows (407): set {variable} to "
            f"http://USER:PASSWORD@HOST:PORT, {_AGAIN}"
        )
    said = f"the proxy {proxy} of {variable} does not connect to {way.host} ({status})"
    if reached or status == 429:
        return Transient(said, kind="unreachable")
    return Fatal(f"{said}: check base_url in [models.{way.role}], or {_past_the_proxy(way)}, {_AGAIN}")


def untrusted(error: ssl.SSLCertVerificationError, way: Connection) -> Fatal:
    """Our error for a server's certificate that cannot be used, with what to do about it."""
    whose, code = f"the certificate of {way.host}", getattr(error, "verify_code", None)
    if code == _EXPIRED:
        return Fatal(f"{whose} has expired: have it renewed (or set this machine's clock, if that is wrong), {_AGAIN}")
    if code == _NOT_YET_VALID:
        return Fatal(f"{whose} is not valid yet: set this machine's clock, {_AGAIN}")
    if code in _OTHER_NAME:
        return Fatal(
            f"{whose} is for another name: write the name that it holds in base_url of [models.{way.role}], {_AGAIN}"
        )
    return Fatal(
        f"{whose} is not trusted ({getattr(error, 'verify_message', error)}): set ca_file in [models.{way.role}], or "
        f"SSL_CERT_FILE, to the PEM file of the CA that signed it, {_AGAIN}"
    )


def _tls_error(error: BaseException) -> ssl.SSLError | None:
    """The error of the TLS layer behind aiohttp's; what comes after the handshake is only its cause."""
    for found in (getattr(error, "os_error", None), getattr(error, "certificate_error", None), error.__cause__):
        if isinstance(found, ssl.SSLError):
            return found
    return None


def _refused_certificate(error: ssl.SSLError, way: Connection) -> str:
    """What the server's alert says of our own certificate; "" where it says nothing of it."""
    reason = error.reason or ""
    where = f"[models.{way.role}]"
    if "ALERT" not in reason:
        return ""
    if not way.client_cert:
        wanted = "CERTIFICATE" in reason or "HANDSHAKE_FAILURE" in reason
        return f"{way.host} wants a client certificate: set client_cert and client_key in {where}" if wanted else ""
    if "EXPIRED" in reason:
        return f"the client certificate {way.client_cert} has expired: have it renewed"
    if "CERTIFICATE" in reason or "UNKNOWN_CA" in reason or "HANDSHAKE_FAILURE" in reason:
        return (
            f"{way.host} does not accept the client certificate {way.client_cert} ({_plain(reason)}): name one that "
            f"it accepts in client_cert of {where}"
        )
    return ""


def _unconnected(error: aiohttp.ClientConnectorError, way: Connection, tls: ssl.SSLError | None) -> str:
    """Why there is no connection; what to do about it follows a semicolon."""
    why = _why(error.os_error)
    check = f"check base_url in [models.{way.role}]"
    match error:
        case aiohttp.ClientConnectorDNSError():
            asked = way.proxy.url.host if way.proxy else way.host
            named = way.proxy.variable if way.proxy else f"base_url in [models.{way.role}]"
            return f"cannot connect to {way.shown}: the name {asked} does not resolve; check {named} and DNS, {_AGAIN}"
        case aiohttp.ClientProxyConnectionError() if way.proxy:
            return (
                f"cannot connect to the proxy {way.proxy.shown}: {why}; "
                f"correct {way.proxy.variable}, or {_past_the_proxy(way)}, {_AGAIN}"
            )
        case _ if tls is not None and tls.reason in _NO_TLS:
            return str(wants_no_tls(way))
        case _ if tls is not None or _in_handshake(error, way):
            return (
                f"cannot connect to {way.shown}: the TLS handshake broke off ({_plain(tls.reason) if tls else why}); "
                f"write http:// in base_url of [models.{way.role}] if the server has no TLS, {_AGAIN}"
            )
        case _ if way.socket and isinstance(error.os_error, FileNotFoundError):
            return f"cannot connect to {way.shown}: there is no such socket; {check} and that the server runs, {_AGAIN}"
        case _:
            return f"cannot connect to {way.shown}: {why}; {check} and that the server runs, {_AGAIN}"


def _in_handshake(error: aiohttp.ClientConnectorError, way: Connection) -> bool:
    return way.url.scheme == "https" and isinstance(error.os_error, ConnectionResetError)


def _is_tls(message: str) -> bool:
    """Whether what was read as a status line, which `message` quotes, is an alert of TLS: its first bytes are 15 03."""
    return "\\x15\\x03" in message


def _past_the_proxy(way: Connection) -> str:
    return f"add {way.host} to NO_PROXY to reach it directly"


def _plain(reason: str | None) -> str:
    return (reason or "no reason given").lower().replace("_", " ")


def _why(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or "no connection"
