"""Parsers of other files than PDF: each turns bytes into blocks of text, and `blocks` makes the extracted document of them.

In: the bytes of one paper. Out: `jobs.parsing.extracted.Extracted`. May import the modules of `jobs.parsing` that its
parsers need; only `jobs.parsing.parsers` names what stands here.
"""

from __future__ import annotations
