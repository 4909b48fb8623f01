"""Drawings of architectures: a few lines of text become an SVG in the colours of the page around it.

    (picture) -> [7x7, mask A | 64 features] -> [residual block | 15 times] -> (logits)
    (picture) -> [1x1] -skip-> [residual block]
    [residual block] ~next row~> [residual block]

`(...)` is data, `[...]` a layer or a network, `<...>` a loss; `|` breaks a line. Where a node comes again, its first
line is enough. `->` is an arrow, `~>` a dashed one, which may lead back; `-text->` and `~text~>` have a label. A line
that begins with an arrow goes on with the line above.

Time runs downwards: a node is a level below the lowest of those that arrows lead to it from. The new nodes of a chain
go to the first column that is free at all levels of the chain.
"""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import dataclass, field
from html import escape

NODE = r"\([^()]*(?:\([^()]*\)[^()]*)*\)|\[[^\[\]]*\]|<[^<>]*>"
PART = re.compile(rf"\s*(?P<node>{NODE})\s*(?:(?P<arrow>-(?P<solid>[^>~]*?)-?>|~(?P<dashed>[^>]*?)~?>)|$)")
SHAPES = {"(": "data", "[": "layer", "<": "loss"}

Point = tuple[float, float]

# Pixels: the mean width of a character of 13 pixels, the height of a line, what is around the text of a box, what is
# between levels and between columns, how far an arrow goes round a box, the head of an arrow, and the drawing's edge.
CHARACTER, LINE, PADDING, GAP, LANE, SIDE, HEAD, MARGIN = 6.9, 17, 11, 34, 40, 16, 7, 2


@dataclass
class Node:
    """One box: its text, its place on the grid, and its centre and size in pixels."""

    text: str
    level: int = 0
    column: int = 0
    x: float = 0
    y: float = 0

    @property
    def lines(self) -> list[str]:
        return [line.strip() for line in self.text[1:-1].split("|")]

    @property
    def height(self) -> float:
        return LINE * len(self.lines) + PADDING

    @property
    def width(self) -> float:
        return max(len(line) for line in self.lines) * CHARACTER + 2 * PADDING

    @property
    def right(self) -> float:
        return self.x + self.width / 2


@dataclass
class Edge:
    """One arrow."""

    source: Node
    target: Node
    label: str
    dashed: bool


@dataclass
class Graph:
    """What the text says, and where each level ends."""

    nodes: dict[str, Node] = field(default_factory=dict)
    edges: list[Edge] = field(default_factory=list)
    chains: list[list[str]] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)

    def node(self, text: str) -> Node:
        """The node of this text, or the one that has it as its first line; else a new one.

        Raises:
            ValueError: several have it as their first line.
        """
        same = [node for node in self.nodes.values() if node.text[0] == text[0] and node.lines[0] == text[1:-1].strip()]
        if text not in self.nodes and len(same) > 1:
            raise ValueError(f"several nodes begin with {text!r}")
        return same[0] if text not in self.nodes and same else self.nodes.setdefault(text, Node(text))

    def column(self, number: int) -> list[Node]:
        return [node for node in self.nodes.values() if node.column == number]


def parse(text: str) -> Graph:
    """Raises ValueError for a line that is no chain of nodes and arrows."""
    graph = Graph()
    for line in filter(None, map(str.strip, re.sub(r"\n\s*(?=[-~])", " ", text).splitlines())):
        place, last, chain = 0, None, []
        while place < len(line):
            found = PART.match(line, place)
            if found is None or (found.end() == len(line)) != (found["arrow"] is None):
                raise ValueError(f"no chain of nodes and arrows: {line!r}, from {line[place:]!r} on")
            node = graph.node(found["node"])
            if last is not None:
                before, arrow = last
                label = (arrow["solid"] or arrow["dashed"] or "").strip(" -~")
                graph.edges.append(Edge(before, node, label, arrow["arrow"].startswith("~")))
            chain.append(node.text)
            last, place = (node, found), found.end()
        graph.chains.append(chain)
    return graph


def arrange(graph: Graph) -> None:
    """Places of all nodes; raises ValueError if solid arrows go round in a circle."""
    _levels(graph)
    taken: set[tuple[int, int]] = set()
    placed: set[str] = set()
    for chain in graph.chains:
        new = [graph.nodes[text] for text in dict.fromkeys(chain) if text not in placed]
        levels = [graph.nodes[text].level for text in chain]
        first, last = (bool(new) and chain[end] in placed for end in (0, -1))  # in a column of their own
        spanned = range(min(levels) + first, max(levels) + 1 - last)
        column = next(c for c in itertools.count() if not new or not any((c, level) in taken for level in spanned))
        for node in new:
            node.column = column
        columns = {column} if new else {graph.nodes[text].column for text in chain}
        taken |= {(column, level) for column in columns for level in spanned}
        placed |= {node.text for node in new}
    left = 0.0
    for number in range(max(node.column for node in graph.nodes.values()) + 1):
        members = graph.column(number)
        width = max(node.width for node in members)
        for node in members:
            node.x = left + width / 2
        left += width + LANE
    top = 0.0
    for level in range(max(node.level for node in graph.nodes.values()) + 1):
        members = [node for node in graph.nodes.values() if node.level == level]
        height = max(node.height for node in members)
        for node in members:
            node.y = top + height / 2
        graph.ends.append(top + height)
        top += height + GAP


def _levels(graph: Graph) -> None:
    for _ in range(len(graph.nodes) + 1):
        late = [e for e in graph.edges if not e.dashed and e.target.level <= e.source.level]
        for edge in late:
            edge.target.level = max(edge.target.level, edge.source.level + 1)
        if not late:
            return
    raise ValueError("solid arrows go round in a circle; the one that leads back must be dashed")


def span(edge: Edge) -> range:
    """The levels from one end of an arrow to the other."""
    ends = sorted((edge.source.level, edge.target.level))
    return range(ends[0], ends[1] + 1)


def goes_round(graph: Graph, edge: Edge) -> bool:
    """Whether an arrow leads back, or past boxes of its own column."""
    source, target = edge.source, edge.target
    inner = [node for node in graph.column(source.column) if node.level in span(edge)[1:-1]]
    return source is not target and (target.level <= source.level or (source.column == target.column and bool(inner)))


def route(graph: Graph, edge: Edge) -> list[Point]:
    """The corners of an arrow, which crosses no box."""
    source, target = edge.source, edge.target
    if source is target:
        side, quarter = source.right + SIDE, source.height / 4
        return [
            (source.right, source.y + quarter),
            (side, source.y + quarter),
            (side, source.y - quarter),
            (source.right, source.y - quarter),
        ]
    if goes_round(graph, edge):
        # On the right what skips boxes, or leads back to a column on the right; on the left what else leads back.
        way = 1 if target.level > source.level or target.column > source.column else -1
        rows = span(edge)
        columns = range(min(source.column, target.column), max(source.column, target.column) + 1)
        boxes = [node for node in graph.nodes.values() if node.column in columns and node.level in rows]
        others = graph.edges[: graph.edges.index(edge)]
        nested = sum(goes_round(graph, e) and e.dashed == edge.dashed and bool({*span(e)} & {*rows}) for e in others)
        side = way * (SIDE * (1 + nested) + max(way * node.x + node.width / 2 for node in boxes))
        start, end = (node.x + way * node.width / 2 for node in (source, target))
        return [(start, source.y), (side, source.y), (side, target.y), (end, target.y)]
    start, end = (source.x, source.y + source.height / 2), (target.x, target.y - target.height / 2)
    near, far = GAP * 0.35, GAP * 0.65  # so that arrows from level to level run beside those that come from afar
    above, below = graph.ends[source.level] + near, graph.ends[target.level - 1] + far
    if source.column == target.column:
        return [start, end]
    between = range(source.level + 1, target.level)
    blocked = [any(node.level in between for node in graph.column(c)) for c in (source.column, target.column)]
    if not blocked[0] and between:
        return [start, (start[0], below), (end[0], below), end]
    if not blocked[1]:
        return [start, (start[0], above), (end[0], above), end]
    lane = min(node.x - node.width / 2 for node in graph.column(target.column)) - LANE / 2
    return [start, (start[0], above), (lane, above), (lane, below), (end[0], below), end]


def svg(text: str, title: str) -> str:
    """The drawing as an `<svg>` element that takes the colours of the page; raises ValueError, see `parse`."""
    graph = parse(text)
    arrange(graph)
    parts: list[str] = []
    labels: list[str] = []
    reach = [
        (node.x + way * node.width / 2, graph.ends[node.level]) for node in graph.nodes.values() for way in (-1, 1)
    ]
    for edge in graph.edges:
        points = route(graph, edge)
        parts.append(_arrow(edge, points))
        reach += points
        if edge.label:
            (x, y), anchor = _label_place(points)
            labels.append(_text(edge.label, (x, y), f"drawing-label drawing-{anchor}"))
            width = len(edge.label) * CHARACTER
            begin = x - {"start": 0, "middle": width / 2, "end": width}[anchor]
            reach += [(begin, y), (begin + width, y)]
    parts += [*(_box(node) for node in graph.nodes.values()), *labels]
    left, right = min(x for x, _ in reach) - MARGIN, max(x for x, _ in reach) + MARGIN
    height = max(y for _, y in reach) + 2 * MARGIN
    head = f'<svg xmlns="http://www.w3.org/2000/svg" class="drawing" role="img" width="{right - left:.0f}"'
    view = f'viewBox="{left:.0f} {-MARGIN} {right - left:.0f} {height:.0f}"'
    name = f"<title>{escape(title)}</title>"
    return "\n".join([f"{head} {view}>", name, *parts, "</svg>"])


def _box(node: Node) -> str:
    kind = SHAPES[node.text[0]]
    corner = node.height / 2 if kind == "data" else 4
    place = f'x="{node.x - node.width / 2:.1f}" y="{node.y - node.height / 2:.1f}"'
    size = f'width="{node.width:.1f}" height="{node.height:.1f}" rx="{corner:.1f}"'
    first = node.y - LINE * (len(node.lines) - 1) / 2 + 4.5
    texts = [_text(line, (node.x, first + LINE * k), "drawing-text") for k, line in enumerate(node.lines)]
    return "".join([f'<rect class="drawing-{kind}" {place} {size}/>', *texts])


def _text(text: str, place: Point, kind: str) -> str:
    return f'<text class="{kind}" x="{place[0]:.1f}" y="{place[1]:.1f}">{escape(text)}</text>'


def _arrow(edge: Edge, points: list[Point]) -> str:
    """A line and, at its end, a triangle in the direction of its last piece."""
    (x, y), (before_x, _) = points[-1], points[-2]
    if x == before_x:
        corners = [(x, y), (x - HEAD / 2, y - HEAD), (x + HEAD / 2, y - HEAD)]
        last = (x, y - HEAD)
    else:
        way = HEAD if before_x > x else -HEAD
        corners = [(x, y), (x + way, y - HEAD / 2), (x + way, y + HEAD / 2)]
        last = (x + way, y)
    line = " ".join(f"{a:.1f},{b:.1f}" for a, b in [*points[:-1], last])
    head = " ".join(f"{a:.1f},{b:.1f}" for a, b in corners)
    kind = "drawing-arrow drawing-dashed" if edge.dashed else "drawing-arrow"
    return f'<polyline class="{kind}" points="{line}"/><polygon class="drawing-head" points="{head}"/>'


def _label_place(points: list[Point]) -> tuple[Point, str]:
    """Where a label stands, and what of it is there: its "start", "middle" or "end"."""
    pieces = list(itertools.pairwise(points))
    (x, y), (to_x, to_y) = max(pieces[1:-1] or pieces, key=lambda ends: math.dist(*ends))
    if x != to_x:
        return ((x + to_x) / 2, y - 3), "middle"
    is_left = x < points[0][0] and x < points[-1][0]
    return (x - 5 if is_left else x + 5, (y + to_y) / 2 + 4), "end" if is_left else "start"
