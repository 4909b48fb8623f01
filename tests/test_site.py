"""The pages of docs/: every model has one, links lead somewhere, and what pages say about weights is read from them."""

from __future__ import annotations

import itertools
import json
import re
import sys
from pathlib import Path

import pytest

import zoo

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
sys.path.insert(0, str(DOCS / "_ext"))

import drawing  # noqa: E402
import facts  # noqa: E402
import repository  # noqa: E402

OURS = [spec for spec in zoo.models() if facts.is_ours(spec)]
MODELS = {page.stem: page for page in (DOCS / "models").glob("*.md") if page.stem != "index"}
TEXTS = sorted({*DOCS.rglob("*.md"), *ROOT.glob("*.md"), *(ROOT / "benchmarks").rglob("*.md")})
LINK = re.compile(r"!?\[[^\]\n]*\]\(([^)\s]+)\)")
OTHER = re.compile(r"[a-z]+:|#")  # another site, or a place on the page itself


def prose(page: Path) -> str:
    """A page without its pieces of code."""
    return re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)


def slugs(page: Path) -> set[str]:
    """The names of a page's headings in addresses, as GitHub and MyST make them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", TEXTS, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for target in LINK.findall(prose(page)):
        if OTHER.match(target):
            continue
        path, _, anchor = target.partition("#")
        found = page.parent / path
        assert found.exists(), f"{page.relative_to(ROOT)} links to {target}"
        if anchor and found.suffix == ".md":
            assert anchor in slugs(found), f"{page.relative_to(ROOT)} links to {target}"


def test_links_out_of_the_docs_lead_to_the_repository() -> None:
    page = DOCS / "models" / "pixelcnn.md"
    assert repository.outside(page, "../../README.md#use-it", DOCS) == f"{repository.SOURCE}/blob/main/README.md#use-it"
    assert repository.outside(page, "../../examples", DOCS) == f"{repository.SOURCE}/tree/main/examples"
    assert repository.outside(page, "../metrics.md", DOCS) is None
    with pytest.raises(FileNotFoundError, match="pixelcnn.md links to ../../NOTHING.md"):
        repository.outside(page, "../../NOTHING.md", DOCS)


def drawings(text: str) -> list[str]:
    """The lines of all drawings of a page."""
    return re.findall(r"^:::\{drawing\} [^\n]+\n(.*?)^:::$", text, re.MULTILINE | re.DOTALL)


def test_every_model_has_a_page_and_every_page_a_model() -> None:
    assert sorted(MODELS) == [spec.name for spec in OURS]


@pytest.mark.parametrize("name", MODELS)
def test_a_page_of_a_model_has_its_parts(name: str) -> None:
    text = MODELS[name].read_text(encoding="utf-8")
    for part in ("glance", "weights"):
        assert f":::{{{part}}} {name}\n" in text
    assert drawings(text), "no drawing"
    assert {"How it works", "Draw", "Weights", "Pitfalls"} <= set(re.findall(r"^## (.+)$", text, re.MULTILINE))
    assert "$$" in text, "no equation"


@pytest.mark.parametrize("spec", OURS, ids=lambda spec: spec.name)
def test_figures_and_samples_are_those_of_the_weights(spec: zoo.ModelSpec) -> None:
    text = facts.released(spec.name, "../../")
    for tag, pin in spec.weights.items():
        config = facts.configuration(facts.CARDS / pin.folder_name)
        assert f"weights {tag}" in text
        for receipt in config["metrics"]:
            assert facts.figure(receipt) in text
            assert f"**{receipt['value']:.4g}**" in text
    for file in re.findall(r"\.\./\.\./(model_cards/[\w./-]+)", text):
        assert (ROOT / file).is_file()
    assert bool(spec.weights) == ("No weights" not in text)


def test_measured_times_are_rows_of_the_benchmarks() -> None:
    text = facts.measured("PixelCNN")
    assert "PixelCNN, 15 blocks, h = 64" in text
    assert "Gated" not in text
    with pytest.raises(zoo.ZooError, match="no row of NothingCNN"):
        facts.measured("NothingCNN")


def test_the_page_of_the_command_line_has_every_verb_with_its_options() -> None:
    text = facts.verbs()
    for verb in ("sample", "train", "doctor", "demo"):
        assert f"::::{{dropdown}} `zoo {verb}`" in text
    assert "--max-minutes" in text


def test_parameters_are_counted_from_the_file() -> None:
    model = zoo.load("pixelcnn", weights="mnist")
    counted = facts.parameters(facts.CARDS / "pixelcnn-mnist" / "model.safetensors")
    assert counted == sum(tensor.numel() for tensor in model.state_dict().values())


@pytest.mark.parametrize("name", MODELS)
def test_arrows_of_drawings_cross_no_box_and_boxes_no_other(name: str) -> None:
    for lines in drawings(MODELS[name].read_text(encoding="utf-8")):
        graph = drawing.parse(lines)
        drawing.arrange(graph)
        boxes = list(graph.nodes.values())
        for box, other in itertools.combinations(boxes, 2):
            apart = abs(box.x - other.x) >= (box.width + other.width) / 2
            assert apart or abs(box.y - other.y) >= (box.height + other.height) / 2, (box.text, other.text)
        for edge in graph.edges:
            for start, end in itertools.pairwise(drawing.route(graph, edge)):
                crossed = [box.text for box in boxes if inside(box, start, end)]
                assert not crossed, f"{edge.source.text} -> {edge.target.text} crosses {crossed}"


def inside(box: drawing.Node, start: drawing.Point, end: drawing.Point) -> bool:
    """Whether a line along an axis passes through the inner of a box."""
    (left, right), (top, bottom) = (sorted(pair) for pair in zip(start, end, strict=True))
    across = left < box.right - 1 and right > box.x - box.width / 2 + 1
    return across and top < box.y + box.height / 2 - 1 and bottom > box.y - box.height / 2 + 1


def test_a_drawing_says_what_is_wrong_with_it() -> None:
    with pytest.raises(ValueError, match="no chain of nodes and arrows"):
        drawing.svg("(a) -> b", "")
    with pytest.raises(ValueError, match="no chain of nodes and arrows"):
        drawing.svg("(a) ->", "")
    with pytest.raises(ValueError, match="round in a circle"):
        drawing.svg("(a) -> [b] -> (a)", "")


def test_a_drawing_has_its_texts_escaped_its_levels_and_its_arrows() -> None:
    markup = drawing.svg("(a < b) -again-> [c | d] -> <e>\n[c] ~back~> (a < b)", "a & b")
    assert "<title>a &amp; b</title>" in markup
    assert "a &lt; b" in markup
    assert [markup.count(tag) for tag in ("<rect", "<polyline", "drawing-dashed", "drawing-label")] == [3, 3, 1, 2]
    graph = drawing.parse("(a) -> [b] -> (c)\n(a) -> (c)\n(d) -> (c)")
    drawing.arrange(graph)
    assert {node.text: (node.column, node.level) for node in graph.nodes.values()} == {
        "(a)": (0, 0),
        "[b]": (0, 1),
        "(c)": (0, 2),
        "(d)": (1, 0),
    }


@pytest.mark.parametrize("name", MODELS)
def test_the_code_of_a_page_runs(name: str) -> None:
    """All that builds a model or loads bundled weights, with fewer samples."""
    for _, language, code in re.findall(r"^(```)(\w+)\n(.*?)^```$", MODELS[name].read_text(), re.MULTILINE | re.DOTALL):
        if language == "python" and re.search(r"zoo\.(load|build)\(", code):
            exec(code.replace("sample(16", "sample(2"), {})


def test_the_tour_is_kept_as_written_and_its_code_compiles() -> None:
    """Outputs are made when the site is built, which executes it."""
    cells = json.loads((DOCS / "tour.ipynb").read_text(encoding="utf-8"))["cells"]
    codes = [cell for cell in cells if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in codes)
    for source in ("".join(cell["source"]) for cell in codes):
        if source.startswith("%%writefile"):
            source = source.partition("\n")[2]
        if not source.startswith("%%"):
            compile(source, "tour.ipynb", "exec")
