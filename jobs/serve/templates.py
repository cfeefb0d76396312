"""Answers that are pages: a template of this package in the frame that all pages share.

All text is escaped by jinja2; text from outside also goes through the filters `visible` (one line) or `passage`
(several), and stands in ``<bdi>``.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import web

from jobs.report.html import environment
from jobs.run.outside_text import legible
from jobs.serve.site import SITE

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["page"]

_TEMPLATES = Path(__file__).with_name("templates")


async def page(request: web.Request, template: str, *, status: int = 200, **values: Any) -> web.Response:
    """The page that `template` makes of `values`. It may use ``site``, ``path``, and ``token``, which changes need."""
    site = request.app[SITE]
    text = (
        _environment()
        .get_template(template)
        .render(values, site=site, path=request.path, token=site.access.header, status=status)
    )
    return web.Response(body=text.encode("utf-8", "replace"), status=status, content_type="text/html", charset="utf-8")


@cache
def _environment() -> Environment:
    made = environment(_TEMPLATES)
    made.globals["navigation"] = _NAVIGATION
    made.filters["legible"] = legible
    return made


_NAVIGATION = (("/", "Progress"), ("/papers", "Papers"), ("/pairs", "Pairs"), ("/review", "Review"))
"""The pages that every page links to, in their order. A page below one of them counts as its."""
