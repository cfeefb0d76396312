"""Walking a tree of elements without recursion, so that no depth of it can break the walk; and reading it safely."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.entities import html5
from typing import Any

from jobs.parsing.failures import failed

__all__ = ["local_name", "parse_html", "parse_xml", "superscript", "walk"]

_ENTITY = re.compile(rb"&([A-Za-z][A-Za-z0-9._-]*);")
_OF_XML = frozenset("amp lt gt quot apos".split())
_NUMBERS = re.compile(r"\[?[+−–-]?\d[\d ,−–-]*\]?")
_SEVERAL = re.compile(r"[\[,]|\d ?[−–-]")


def parse_xml(data: bytes) -> Any:
    """The root element; raises `Permanent` of kind "damaged". Nothing else is opened.

    Entities that HTML knows become their sign. Those that the file itself declares are dropped, so none can grow.
    """
    from lxml import etree

    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        recover=True,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        root = etree.fromstring(_ENTITY.sub(_sign, data), parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise failed("damaged", f"XML: {error}"[:200]) from error
    if root is None:
        raise failed("damaged", "XML: it has no element")
    return root


def _sign(match: re.Match[bytes]) -> bytes:
    name = match.group(1).decode("ascii")
    if name in _OF_XML:
        return match.group()
    return "".join(f"&#{ord(sign)};" for sign in html5.get(f"{name};", "")).encode("ascii")


def parse_html(text: str) -> Any:
    """The root element, repaired as browsers do; raises `Permanent` of kind "damaged"."""
    from lxml import etree

    parser = etree.HTMLParser(encoding="utf-8", no_network=True, huge_tree=False, remove_comments=True, remove_pis=True)
    try:
        root = etree.fromstring(text.encode("utf-8", "replace"), parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise failed("damaged", f"HTML: {error}"[:200]) from error
    if root is None:
        raise failed("damaged", "HTML: it has no element")
    return root


def walk(
    root: Any, *, start: Callable[[Any, str], bool], end: Callable[[Any, str], None], text: Callable[[str | None], None]
) -> None:
    """Go through the tree below `root` in order.

    `start` is called with each element and its name before what is in it, and says whether to go in; `end` after it,
    and only where it was gone into; `text` with every text between. Comments and entities are passed over.
    """
    from lxml import etree

    walker = etree.iterwalk(root, events=("start", "end"))
    skipped: Any = None
    for event, element in walker:
        if not isinstance(element.tag, str):
            if event == "end" and skipped is None:
                text(element.tail)
            continue
        if event == "start":
            if start(element, local_name(element)):
                text(element.text)
            else:
                walker.skip_subtree()
                skipped = element
            continue
        if element is skipped:
            skipped = None
        else:
            end(element, local_name(element))
        if element is not root:
            text(element.tail)


def local_name(element: Any) -> str:
    """The name of an element without its namespace, in small letters."""
    name: str = element.tag
    return name.rpartition("}")[2].lower()


def superscript(before: str, raised: str, *, linked: bool) -> str:
    """How raised text reads on the line, where `before` is the sign in front of it, "" at the start.

    A number after a letter, a digit or a bracket is an exponent, "2^19"; one that is a link, or that follows a stop,
    and several numbers cite: " [3]". Anything else reads as it is: "1st".
    """
    raised = " ".join(raised.split())
    if not _NUMBERS.fullmatch(raised):
        return raised
    if linked or _SEVERAL.search(raised) or not (before.isalnum() or before in (")", "]")):
        return f" [{raised.strip('[]')}]"
    return f"^{raised}"
