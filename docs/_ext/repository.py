"""Links from a page to files of the repository that are no pages: they lead to the source on GitHub."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx

SOURCE = "https://github.com/pixelzoo/pixelzoo"
LINK = re.compile(r"(?<!!)(\[[^\]\n]*\])\(([^)\s:]+)\)")


def outside(page: Path, target: str, docs: Path) -> str | None:
    """The address of what a link of a page names outside `docs`; None of what is inside.

    Raises:
        FileNotFoundError: there is no such file.
    """
    path, _, anchor = target.partition("#")
    found = Path(os.path.normpath(page.parent / path))
    if not path or found.is_relative_to(docs):
        return None
    if not found.exists():
        raise FileNotFoundError(f"{page.relative_to(docs)} links to {target}, which does not exist")
    kind = "tree" if found.is_dir() else "blob"
    return f"{SOURCE}/{kind}/main/{found.relative_to(docs.parent).as_posix()}{'#' + anchor if anchor else ''}"


def _read(app: Sphinx, docname: str, source: list[str]) -> None:
    docs, page = Path(app.srcdir), Path(app.env.doc2path(docname))

    def address(match: re.Match[str]) -> str:
        return f"{match[1]}({outside(page, match[2], docs) or match[2]})"

    if page.suffix == ".md":
        source[0] = LINK.sub(address, source[0])


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("source-read", _read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
