"""Whom TLS trusts, and the certificate that it shows: the environment's and a model's settings as an `ssl.SSLContext`."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from engine.errors import BadInput

__all__ = ["tls_context"]


def tls_context(
    role: str, *, ca_file: str, client_cert: str, client_key: str, environment: Mapping[str, str]
) -> ssl.SSLContext:
    """A context that checks a server's certificate and its name.

    Trusted are the CAs of ``SSL_CERT_FILE`` and ``SSL_CERT_DIR``, or the system's where neither is set, and those in
    `ca_file`. Where `client_cert` is set it is shown to servers that ask for one; `client_key` may stand in the same
    file. Raises `BadInput` for a file that cannot be used, naming the key or the variable.
    """
    context = _trusting(environment)
    if ca_file:
        where = f"ca_file of [models.{role}]"
        try:
            context.load_verify_locations(cafile=_file(ca_file, where))
        except ssl.SSLError:
            _holds_no("certificate", ca_file, where)
    if client_cert:
        _show(context, client_cert, client_key, role)
    return context


def _trusting(environment: Mapping[str, str]) -> ssl.SSLContext:
    file, folder = environment.get("SSL_CERT_FILE", ""), environment.get("SSL_CERT_DIR", "")
    if folder and not Path(folder).is_dir() and not file:
        raise BadInput(f"SSL_CERT_DIR names {folder}, which is no folder: correct the variable, or unset it")
    try:
        return ssl.create_default_context(cafile=_file(file, "SSL_CERT_FILE") if file else None, capath=folder or None)
    except ssl.SSLError:
        _holds_no("certificate", file, "SSL_CERT_FILE")


def _show(context: ssl.SSLContext, certificate: str, key: str, role: str) -> None:
    where = f"client_cert of [models.{role}]"
    certificate_file = _file(certificate, where)
    key_file = _file(key, f"client_key of [models.{role}]") if key else None
    try:
        context.load_cert_chain(certificate_file, key_file, password=_no_password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise BadInput(f"client_key of [models.{role}] is not the key of {certificate}: name its own") from None
        _holds_no("certificate and key", f"{certificate} {key}".strip(), where)
    except _EncryptedError:
        raise BadInput(
            f"the key of {certificate} is encrypted, and its password cannot be asked for: "
            f"name a decrypted copy in client_key of [models.{role}]"
        ) from None


class _EncryptedError(Exception):
    """The key asks for a password; by default OpenSSL would ask for it at the terminal."""


def _no_password() -> NoReturn:
    raise _EncryptedError


def _file(path: str, where: str) -> Path:
    file = Path(path).expanduser()
    try:
        with file.open("rb"):
            return file
    except OSError as error:
        raise BadInput(f"{where} names {path}: {error.strerror or error}; correct it") from error


def _holds_no(what: str, path: str, where: str) -> NoReturn:
    raise BadInput(f"{where} names {path}, which holds no usable {what} in PEM form; name a file that does") from None
