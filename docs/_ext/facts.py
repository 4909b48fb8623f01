"""What the pages say about models, as Markdown, read from specs, weights and benchmarks, so that no page repeats it.

Needs no Sphinx. Every function raises ZooError for a name that does not exist.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from PIL import Image

import zoo
from zoo.cli.app import whole_app
from zoo.errors import ZooError
from zoo.hub import card
from zoo.registry import model_spec, owner
from zoo.spec import ModelSpec, Weights

ROOT = Path(__file__).resolve().parent.parent.parent
CARDS = ROOT / "model_cards"
WIDTH = 88  # characters of a line of help
SAMPLES = ("samples.gif", "samples.png")  # what moves comes first
KINDS = {
    "autoregressive": "Autoregressive models",
    "gan": "Generative adversarial networks",
    "vae": "Autoencoders with discrete codes",
    "translation": "Translation of pictures and clips",
}


def at_a_glance(name: str) -> str:
    """Paper, data, presets and source of one model, as a table without a header."""
    spec = model_spec(name)
    presets = ", ".join(f"`{preset}`" for preset in spec.presets)
    tags = ", ".join(f"`{tag}`" for tag in spec.weights) or "none released yet"
    axes = ", ".join(spec.data_shape)
    rows = [
        ("Paper", linked(spec.paper)),
        ("Draws", f"{'clips' if spec.is_video else 'pictures'}, uint8 ({axes})"),
        ("Weights", tags),
        ("Presets", presets),
        ("Source", f"[`plugins/{package(spec)}`](https://github.com/{card.SOURCE}/tree/main/plugins/{package(spec)})"),
    ]
    return table(("", ""), rows)


def released(name: str, here: str) -> str:
    """The weights of one model: samples, size, training and figures, from `model_cards/`.

    Args:
        name: of the model.
        here: path from the page to the root of the repository.
    """
    spec = model_spec(name)
    if not spec.weights:
        return "No weights are released yet. `docs/cpu-runs.md` and `docs/gpu-runs.md` name the runs that are planned."
    return "\n\n".join(_weights(spec, tag, pin, here) for tag, pin in spec.weights.items())


def _weights(spec: ModelSpec, tag: str, pin: Weights, here: str) -> str:
    folder = CARDS / pin.folder_name
    address = f"https://github.com/{card.SOURCE}/tree/main/model_cards/{pin.folder_name}"
    picture = samples(folder)
    alt = f"Samples of {spec.name}, weights {tag}"
    images = [shown(f"{here}model_cards/{folder.name}", picture, alt)] if picture else []
    rows = [*_facts(pin, folder), ("load", f'`zoo.load("{spec.name}", weights="{tag}")`')]
    title = f"**[`{tag}`]({address})**: {pin.summary}."
    return "\n\n".join([title, *images, table(("", ""), rows), *limitations(folder, here)])


def _facts(pin: Weights, folder: Path) -> list[tuple[str, str]]:
    """Training, size, licence and figures of one set of weights; what its config doesn't say is left out."""
    config = configuration(folder)
    training = config.get("training", {})
    rows = [("size", f"{parameters(folder / 'model.safetensors'):,} parameters, {pin.size / 1e6:.1f} MB")]
    if config.get("data"):
        licence = f" ({training['data_licence']})" if "data_licence" in training else ""
        rows.append(("trained on", f"{config['data']}{licence}"))
    if "examples" in training:
        rows.append(("examples seen", f"{training['examples']:,}"))
    if "minutes" in training:
        rows.append(("training time", time_taken(training)))
    if config.get("licence"):
        rows.append(("licence", config["licence"]))
    return [*rows, *((r["name"].replace("_", " "), figure(r)) for r in config.get("metrics", ()))]


def configuration(folder: Path) -> dict[str, Any]:
    """The content of a folder's `config.json`."""
    found: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return found


def limitations(folder: Path, here: str) -> list[str]:
    """The paragraphs of a card's limitations, with its pictures, up to its first piece of code."""
    text = (card.limitations((folder / "README.md").read_text(encoding="utf-8")) or "").partition("```")[0]
    address = f"{here}model_cards/{folder.name}/"
    paragraphs = re.sub(r"(!\[[^\]]*\]\()(\w[\w.-]*\))", rf"\1{address}\2", text).strip().split("\n\n")
    return [paragraph for paragraph in paragraphs if paragraph.endswith((".", ")"))]


def figure(receipt: Mapping[str, Any]) -> str:
    """A measured figure with what it was measured on."""
    shown = f"{receipt['value']:.4g}"
    details = [f"{receipt['split']} of {receipt['data']}", f"{receipt['count']:,} samples"]
    if "features" in receipt:
        details.append(f"features of {receipt['features']}" + (f", {receipt['of']}" if "of" in receipt else ""))
    else:
        details[1] = f"{receipt['count']:,} examples"
        details += [f"{receipt['levels']} levels"] if "levels" in receipt else []
        details += [f"given the {receipt['given']}"] if receipt.get("given") else []
    return f"**{shown}** ({', '.join(details)})"


@functools.cache
def parameters(file: Path) -> int:
    """How many numbers a file of safetensors holds, from its header."""
    from safetensors import safe_open

    total = 0
    with safe_open(file, "np") as tensors:
        for key in tensors.keys():  # noqa: SIM118
            size = 1
            for length in tensors.get_slice(key).get_shape():
                size *= length
            total += size
    return total


def papers_figures(name: str) -> str:
    """The paper's figures, and ours where they were measured on the same data; `zoo info` has them too."""
    spec = model_spec(name)
    if not spec.figures:
        raise ZooError(f"{name} declares no figures")
    header = ["preset", "metric", "data", "paper"]
    rows = [[f"`{f.preset}`", f.metric, f.data, f"{f.paper:g}"] for f in spec.figures]
    if any(f.ours for f in spec.figures):
        header.append("ours")
        rows = [[*row, f.ours or ""] for row, f in zip(rows, spec.figures, strict=True)]
    return table(header, rows)


def measured(title: str) -> str:
    """The rows of the tables in `benchmarks/README.md` whose first cell is this title, or begins with it and a comma.

    Raises:
        ZooError: there are none.
    """
    found = []
    for block in re.findall(r"(?:^\|.*\n)+", (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8"), re.M):
        header, rule, *rows = block.strip().splitlines()
        kept = [row for row in rows if re.match(rf"\| {re.escape(title)}(,[^|]*)? \|", row)]
        if kept:
            found.append("\n".join([header, rule, *kept]))
    if not found:
        raise ZooError(f"benchmarks/README.md has no row of {title}")
    source = f"https://github.com/{card.SOURCE}/tree/main/benchmarks#measured"
    return "\n\n".join([*found, f"Machine and settings are in [`benchmarks/README.md`]({source})."])


def gallery(here: str, names: Iterable[str] | None = None) -> str:
    """All models by kind, each with its page, its line and samples of its first weights.

    Args:
        here: path from the page to the root of the repository.
        names: of the models; None takes all.
    """
    specs = [model_spec(name) for name in names] if names is not None else zoo.models()
    ours = [spec for spec in specs if is_ours(spec)]
    kinds = sorted({spec.kind for spec in ours}, key=lambda kind: list(KINDS).index(kind) if kind in KINDS else 99)
    parts = []
    for kind in kinds:
        cards = "\n".join(_card(spec, here) for spec in ours if spec.kind == kind)
        parts.append(f"**{KINDS.get(kind, kind)}**\n\n:::::{{grid}} 1 2 3 3\n:gutter: 2\n\n{cards}\n:::::")
    return "\n\n".join(parts)


def _card(spec: ModelSpec, here: str) -> str:
    """One model as a card that leads to its page."""
    pins = list(spec.weights.values())
    picture = samples(CARDS / pins[0].folder_name) if pins else None
    folder = f"{here}model_cards/{pins[0].folder_name}" if pins else ""
    image = f":img-bottom: {folder}/{picture}\n:img-alt: Samples of {spec.name}\n" if picture else ""
    link = f":link: /models/{spec.name}\n:link-type: doc\n"
    return f"::::{{grid-item-card}} `{spec.name}`\n{link}{image}\n{spec.summary}.\n::::"


def samples(folder: Path) -> str | None:
    """The file with samples in a folder of `model_cards/`."""
    return next((name for name in SAMPLES if (folder / name).is_file()), None)


def shown(folder: str, name: str, alt: str) -> str:
    """A picture, those of few pixels twice as large."""
    with Image.open(CARDS / Path(folder).name / name) as picture:
        width = picture.width
    return f":::{{image}} {folder}/{name}\n:alt: {alt}\n:width: {width if width > 300 else 2 * width}px\n:::"


def verbs() -> str:
    """The help of every verb of `zoo`, to be opened one by one."""
    app = whole_app()
    root = click.Context(app, info_name="zoo", max_content_width=WIDTH, terminal_width=WIDTH)
    parts = []
    for name in sorted(app.commands):
        command = app.commands[name]
        with click.Context(command, info_name=name, parent=root) as context:
            text = command.get_help(context)
        parts.append(
            f"::::{{dropdown}} `zoo {name}`: {command.get_short_help_str(200)}\n:name: zoo-{name}\n\n"
            f"```text\n{text}\n```\n::::"
        )
    return "\n\n".join(parts)


def is_ours(spec: ModelSpec) -> bool:
    """Whether a model comes with this repository."""
    return (ROOT / "plugins" / package(spec)).is_dir()


def package(spec: ModelSpec) -> str:
    """The Python package of a model's plugin."""
    return owner(spec).value.partition(".")[0]


def linked(paper: str) -> str:
    """A reference whose arXiv number is a link."""
    return re.sub(r"arXiv (\d{4}\.\d{4,5})(v\d+)?", r"[arXiv \1\2](https://arxiv.org/abs/\1\2)", paper)


def time_taken(training: Mapping[str, Any]) -> str:
    """ "2 h 34 min, CPU, 1 thread", of a run's receipt."""
    hours, minutes = divmod(round(training["minutes"]), 60)
    device = training["device"].replace("1 threads", "1 thread")
    return f"{hours} h {minutes} min, {device}" if hours else f"{minutes} min, {device}"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
