"""Formulas as MathML, which browsers draw themselves: no script, no network, and the colours of the page."""

from __future__ import annotations

from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.util import logging

logger = logging.getLogger(__name__)


def drawn(node: nodes.Element, display: str) -> str:
    """A formula as MathML, with a warning if a command of it is unknown."""
    markup = convert(node.astext(), display=display)
    if "\\" in markup:
        logger.warning("unknown command in the formula %s", node.astext(), location=node)
    return markup


def _inline(translator: Any, node: nodes.math) -> None:
    translator.body.append(drawn(node, "inline"))
    raise nodes.SkipNode


def _block(translator: Any, node: nodes.math_block) -> None:
    translator.body.append(f'<div class="formula">{drawn(node, "block")}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_html_math_renderer("mathml", inline_renderers=(_inline, None), block_renderers=(_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
