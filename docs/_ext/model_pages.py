"""Directives of the pages: `glance`, `weights`, `paper-figures`, `measured`, `gallery` and `verbs` write what `facts`
reads, and `drawing` draws.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from typing import Any

import drawing
import facts
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from zoo.errors import ZooError


class Facts(SphinxDirective):
    """Markdown that a function of `facts` writes, in a box of a class of its own."""

    optional_arguments = 1
    final_argument_whitespace = True
    text: Callable[[str, str], str]

    def run(self) -> list[nodes.Node]:
        folder = posixpath.dirname(self.env.docname)
        here = posixpath.relpath("..", folder or ".") + "/"
        try:
            text = type(self).text("".join(self.arguments), here)
        except ZooError as error:
            raise self.error(str(error)) from None
        for path in (facts.__file__, *facts.CARDS.glob("*/config.json"), *facts.CARDS.glob("*/README.md")):
            self.env.note_dependency(str(path))
        box = nodes.container(classes=[f"facts-{self.name}"])
        box += self.parse_text_to_nodes(text)
        return [box]


class Drawing(SphinxDirective):
    """The lines in it as a drawing, see `drawing`; its argument says in words what it shows."""

    has_content = True
    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        self.env.note_dependency(drawing.__file__)
        try:
            markup = drawing.svg("\n".join(self.content), self.arguments[0])
        except ValueError as error:
            raise self.error(str(error)) from None
        return [nodes.raw("", f'<div class="drawing-frame">{markup}</div>', format="html")]


TEXTS: dict[str, Callable[[str, str], str]] = {
    "glance": lambda name, here: facts.at_a_glance(name),
    "weights": facts.released,
    "paper-figures": lambda name, here: facts.papers_figures(name),
    "measured": lambda title, here: facts.measured(title),
    "gallery": lambda _, here: facts.gallery(here),
    "verbs": lambda _, here: facts.verbs(),
}


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("drawing", Drawing)
    for name, text in TEXTS.items():
        app.add_directive(name, type(name, (Facts,), {"text": staticmethod(text)}))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
