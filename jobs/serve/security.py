"""What every request passes and every answer carries: host, way in, token of changes, headers, and errors as pages."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import web

from engine.errors import GristmillError
from jobs.serve.access import HEADER
from jobs.serve.site import SITE
from jobs.serve.templates import page

__all__ = ["MIDDLEWARES", "ROUTES", "add_headers"]

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_READING = frozenset({"GET", "HEAD"})
_SIGN_IN = "/sign-in"
_WRONG_PASSWORD_S = 1.0


@web.middleware
async def _errors(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Every failure is a page: what is refused, what is not there, a damaged file, and what nobody expected."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return await page(request, "error.html.j2", status=error.status, heading=error.reason, text=error.text or "")
    except GristmillError as error:
        return await page(request, "error.html.j2", status=500, heading="The run cannot be read", text=str(error))
    except OSError as error:
        text = f"{error.filename or 'the system'}: {error.strerror or error}"
        return await page(request, "error.html.j2", status=500, heading="The run cannot be read", text=text)


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Say with every answer what a browser may do with it."""
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)


@web.middleware
async def _guard(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Refuse another host, a reader who is not known, and a change without its token."""
    access = request.app[SITE].access
    if not access.admits_host(request.host):
        raise web.HTTPMisdirectedRequest(text="This address is not one of this server.")
    if request.path.startswith("/static/") or request.path == _SIGN_IN:
        return await handler(request)
    if not access.admits_session(request.cookies.get(_cookie(request), "")):
        if access.admits_token(request.query.get("token", "")):
            return _signed_in(request)
        if access.password and request.method in _READING:
            raise web.HTTPSeeOther(_SIGN_IN)
        raise web.HTTPForbidden(text="Open the address that gristmill printed, with its token.")
    if request.method not in _READING and not access.admits_change(request.headers.get(HEADER, "")):
        raise web.HTTPForbidden(text="This page is of an earlier server. Load it again.")
    if "token" in request.query:
        raise web.HTTPSeeOther("/")
    return await handler(request)


def _cookie(request: web.Request) -> str:
    """Cookies are shared by all ports of a host, so each server's has a name of its own."""
    return f"gristmill-{request.url.port}"


def _signed_in(request: web.Request) -> web.Response:
    """An answer that sets the cookie, and leads to where the token is not in the address."""
    response = web.Response(status=303, headers={"Location": "/"})
    response.set_cookie(_cookie(request), request.app[SITE].access.session, httponly=True, samesite="Strict", path="/")
    return response


async def _ask_password(request: web.Request) -> web.Response:
    return await page(request, "sign_in.html.j2", wrong=False)


async def _check_password(request: web.Request) -> web.Response:
    """A wrong password is answered late, and one at a time, so that guessing takes long."""
    given = (await request.post()).get("password", "")
    if request.app[SITE].access.admits_password(given if isinstance(given, str) else ""):
        return _signed_in(request)
    async with request.app[SITE].guessing:
        await asyncio.sleep(_WRONG_PASSWORD_S)
    return await page(request, "sign_in.html.j2", status=403, wrong=True)


MIDDLEWARES = (_errors, _guard)
ROUTES = (web.get(_SIGN_IN, _ask_password), web.post(_SIGN_IN, _check_password))
