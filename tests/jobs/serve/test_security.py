from __future__ import annotations

from pathlib import Path

import pytest
from aiohttp import web
from served import client, site

from jobs.serve import security
from jobs.serve.access import HEADER


async def test_the_address_with_its_token_is_the_way_in(tmp_path: Path) -> None:
    """Without the token nothing is shown; with it a cookie is set that no script reads, and the token leaves the address."""
    run = site(tmp_path / "a-secret-name")
    async with client(run, signed_in=False) as browser:
        for path in ("/", "/?token=", "/?token=wrong", "/nowhere"):
            refused = await browser.get(path)
            assert refused.status == 403
            assert "a-secret-name" not in await refused.text()
        let_in = await browser.get("/", params={"token": run.access.token}, allow_redirects=False)
        assert (let_in.status, let_in.headers["Location"]) == (303, "/")
        cookie = let_in.headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert run.access.token not in cookie
        assert (await browser.get("/")).status == 200


async def test_another_host_is_refused(tmp_path: Path) -> None:
    """A name that was made to point here reads nothing, whatever it sends with it."""
    async with client(site(tmp_path)) as browser:
        assert (await browser.get("/", headers={"Host": "rebound.example"})).status == 421


async def test_a_password_is_asked_for_where_there_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything leads to the question; a wrong word is refused, the right one opens the run."""
    monkeypatch.setattr(security, "_WRONG_PASSWORD_S", 0.0)
    run = site(tmp_path, password="millstone")
    async with client(run, signed_in=False) as browser:
        asked = await browser.get("/", params={"token": run.access.token})
        assert asked.url.path == "/sign-in"
        wrong = await browser.post("/sign-in", data={"password": "mill"})
        assert wrong.status == 403
        assert "This is not the password" in await wrong.text()
        right = await browser.post("/sign-in", data={"password": "millstone"})
        assert (right.status, right.url.path) == (200, "/")


async def test_a_change_needs_the_token_in_its_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A form of another site, which can send no header of ours, changes nothing, even with the cookie."""

    async def change(request: web.Request) -> web.Response:
        return web.Response(text="changed")

    monkeypatch.setattr(security, "ROUTES", (*security.ROUTES, web.post("/change", change)))
    run = site(tmp_path)
    async with client(run) as browser:
        assert (await browser.post("/change", headers={HEADER: ""})).status == 403
        assert (await browser.post("/change", headers={HEADER: run.access.token})).status == 403
        assert await (await browser.post("/change")).text() == "changed"


@pytest.mark.parametrize("path", ["/", "/nowhere", "/static/serve.css", "/static/nothing.css"])
async def test_every_answer_says_what_a_browser_may_do(tmp_path: Path, path: str) -> None:
    """Pages, files and errors carry the strict policy, allow no frame, and stay out of caches."""
    async with client(site(tmp_path)) as browser:
        answer = await browser.get(path)
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "name", ["..%2fserve.css", "%2e%2e%2f%2e%2e%2fapp.py", "app.py", "%2fetc%2fpasswd", "serve.css%00"]
)
async def test_a_request_names_no_path(tmp_path: Path, name: str) -> None:
    """Only the package's own files are served, each by its name."""
    async with client(site(tmp_path)) as browser:
        assert (await browser.get(f"/static/{name}")).status == 404
        assert (await browser.get("/static/report.css")).status == 200
