"""A model as Jupyter shows it. Free of torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from zoo.spec import ModelSpec


def describe(spec: ModelSpec, facts: Mapping[str, str]) -> str:
    """Paper, facts about one network, pretrained weights, and options of `sample`, as HTML; every text is escaped."""
    rows = {"summary": spec.summary, "paper": spec.paper, **facts}
    rows["pretrained"] = ", ".join(sorted(spec.weights)) or "none yet"
    text = f"<b>{escape(spec.name)}</b>{_table(list(rows.items()))}"
    options = [(o.name, o.describe(), "" if o.default is None else str(o.default), o.help) for o in spec.sample_options]
    return text + (_table([("option", "takes", "default", "help"), *options], head=True) if options else "")


def _table(rows: Sequence[Sequence[str]], head: bool = False) -> str:
    lines = []
    for i, row in enumerate(rows):
        tag = "th" if head and i == 0 else "td"
        cells = "".join(f'<{tag} style="text-align: left">{escape(cell)}</{tag}>' for cell in row)
        lines.append(f"<tr>{cells}</tr>")
    return f"<table>{''.join(lines)}</table>"
