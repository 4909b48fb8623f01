"""What there is to choose: models with weights as entries of a gallery, what they draw, their options as fields.

All of it follows from the specs, so a plugin of anybody appears here without a change. Free of torch and of Gradio.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zoo
from zoo.plugins import checkout
from zoo.spec import ModelSpec, Option

PICTURES = ("samples.webp", "samples.gif", "walk.gif", "samples.png")  # what moves comes first
EXAMPLES = (".webp", ".gif", ".png", ".mp4")  # files of a card that are examples of the option they are named like
FORMLESS = ("tensor",)
TABLE = 3  # sources of a table at first


@dataclass(frozen=True)
class Entry:
    """One set of weights.

    Attributes:
        spec: of the model; tag: of the weights.
        about: what they were trained on; licence: of the weights, or "" if their card is not on this machine.
        picture: samples from their card, if it is on this machine.
        classes: names of the classes, if they have names.
        inputs: files of their card that are named like an option, as examples of it.
    """

    spec: ModelSpec
    tag: str
    about: str
    licence: str
    picture: Path | None
    classes: tuple[str, ...]
    inputs: Mapping[str, Path] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.spec.name}:{self.tag}"

    @property
    def may_edit(self) -> bool:
        """Whether the spec is of a model whose clips might be edited; the model itself says whether they can."""
        driven = (option.type == "video" and option.shape is not None for option in self.spec.sample_options)
        return self.spec.is_video and any(driven)


@dataclass(frozen=True)
class Field:
    """One field of a form.

    Attributes:
        option: whose value it is.
        kind: "slider", "number", "choice", "switch", "text", "picture" or "clip".
        value: what it holds at first.
        choices: of a choice; "" stands for none.
        step: of a slider.
    """

    option: Option
    kind: str
    value: Any = None
    choices: tuple[str, ...] = ()
    step: float | None = None

    @property
    def name(self) -> str:
        return self.option.name


@dataclass(frozen=True)
class Way:
    """One thing that a model can draw.

    Attributes:
        name: of the option that asks for it; "" for samples, which none has to ask for.
        title, help: for people.
        unit: what is counted.
        n: how many of it at first.
        own: names of the options that only this way has.
        hidden: names of the options that only other ways have.
    """

    name: str
    title: str
    help: str
    unit: str
    n: int
    own: frozenset[str]
    hidden: frozenset[str]


@functools.cache
def _card(name: str) -> tuple[dict[str, Any], Path | None, dict[str, Path]]:
    """The config of weights that came with the source, a picture of them, and all files by their stems."""
    folder = (checkout() or Path(zoo.__file__).parent) / "model_cards" / name
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}, None, {}
    picture = next((folder / file for file in PICTURES if (folder / file).is_file()), None)
    return config, picture, {path.stem: path for path in sorted(folder.iterdir()) if path.suffix in EXAMPLES}


def entries(specs: Sequence[ModelSpec] | None = None) -> list[Entry]:
    """All models with weights, those with pictures first."""
    found = []
    for spec in zoo.models() if specs is None else specs:
        for tag, pin in sorted(spec.weights.items()):
            config, picture, files = _card(pin.folder_name)
            classes = tuple(config.get("classes", ()))
            inputs = {option.name: files[option.name] for option in spec.sample_options if option.name in files}
            licence = str(config.get("licence") or "")
            found.append(Entry(spec, tag, pin.summary, licence, picture, classes, inputs))
    return sorted(found, key=lambda entry: entry.picture is None)


def ways(entry: Entry) -> list[Way]:
    """What a model draws: samples first, then what its options declare to be walks, tables and completions.

    To an option with a way of its own belong those that it names, and those whose names begin with its own.
    """
    spec = entry.spec
    own: dict[str, frozenset[str]] = {}
    for option in spec.sample_options:
        if option.frames or option.table or option.rows:
            named = {option.name, *option.frames, *([option.rows] if option.rows else [])}
            longer = {other.name for other in spec.sample_options if other.name.startswith(f"{option.name}_")}
            own[option.name] = frozenset(named | longer)
    special = frozenset().union(*own.values())
    found = [Way("", "Samples", "", "Samples", 4 if spec.is_video else 16, frozenset(), special)]
    for option in spec.sample_options:
        if option.name in own:
            title = "Completion" if option.rows else option.name.capitalize()
            unit, n = ("Walks", 1) if option.frames else ("Rows", 4) if option.table else ("Completions", 8)
            mine = own[option.name]
            found.append(Way(option.name, title, option.help, unit, n, mine, special - mine))
    return found


def fields(entry: Entry) -> list[Field]:
    """The form of an entry: a field for each option that a person can give."""
    return [_field(option, entry) for option in entry.spec.sample_options if option.type not in FORMLESS]


def _field(option: Option, entry: Entry) -> Field:
    """A slider needs both ends and a value to stand at; whatever may be left out is a text that can be empty."""
    if option.frames and option.choices:  # its way can't do without it
        return Field(option, "choice", option.default or option.choices[0], option.choices)
    if option.table:
        return Field(option, "number", max(TABLE, int(option.minimum or 1)))
    if option.type in ("image", "video"):
        return Field(option, "picture" if option.type == "image" else "clip")
    if option.type == "bool":
        return Field(option, "switch", bool(option.default))
    choices = option.choices or (entry.classes if option.type == "label" else ())
    if choices:
        none = () if option.default is not None else ("",)
        return Field(option, "choice", option.default or "", (*none, *choices))
    if option.type in ("int", "float") and option.default is not None:  # an empty field of numbers would be 0
        if None in (option.minimum, option.maximum):
            return Field(option, "number", option.default)
        return Field(option, "slider", option.default, step=1 if option.type == "int" else 0.01)
    return Field(option, "text", "" if option.default is None else str(option.default))
