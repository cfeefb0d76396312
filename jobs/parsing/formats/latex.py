"""The parser "latex": the source of a paper, with the files of its folder that it includes."""

from __future__ import annotations

from jobs.parsing.extracted import Extracted
from jobs.parsing.failures import failed
from jobs.parsing.formats.blocks import assemble
from jobs.parsing.formats.decoding import decode
from jobs.parsing.formats.latex_blocks import LatexBlocks
from jobs.parsing.formats.latex_source import with_included, with_macros
from jobs.parsing.parsers import Options

__all__ = ["read"]


def read(data: bytes, path: str, options: Options) -> Extracted:
    r"""Title, abstract, sections, captions and rows of tables; formulas stay as they are written.

    ``\input`` and ``\include`` read files of the paper's own folder only; one that is missing is named in the note. A
    citation reads "[key]". Macros that the source defines are put in where they are used.
    """
    from pylatexenc.latexwalker import LatexWalkerError

    source = with_included(decode(data), path)
    reader = LatexBlocks()
    try:
        reader.read(with_macros(source.text))
    except RecursionError as error:
        raise failed("damaged", "LaTeX: it is nested too deeply") from error
    except LatexWalkerError as error:
        raise failed("damaged", f"LaTeX: {error}"[:200]) from error
    remarks = [f"included files are missing: {', '.join(source.missing)}"] if source.missing else []
    return assemble(reader.blocks, options, title=reader.title, remarks=remarks)
