"""The documentation site: Sphinx reads the pages of this folder with MyST; `make docs` builds them into ``site/``."""

from __future__ import annotations

import re
from importlib.metadata import version as version_of

from sphinx.application import Sphinx

project = "gristmill"
version = release = version_of("gristmill")
project_copyright = "gristmill's contributors; AGPL-3.0-or-later"
extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_*"]
myst_heading_anchors = 3
smartquotes = False  # "--flag" stays what it is
default_role = "literal"  # docstrings put names between single backticks
autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 100
python_use_unqualified_type_names = True
html_theme = "furo"
html_title = "gristmill"
html_show_sphinx = False
html_copy_source = False


def _outside(app: Sphinx, name: str, source: list[str]) -> None:
    """Markdown files outside of this folder are no pages of the site: a link to one gives the file."""
    source[0] = re.sub(r"\]\((\.\./[^)#]+\.md)\)", r"](path:\1)", source[0])


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", _outside)
