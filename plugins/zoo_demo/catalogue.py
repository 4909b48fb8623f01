"""What there is to choose: models with weights as entries of a gallery, their options as fields of a form.

All of it follows from the specs, so a plugin of anybody appears here without a change. Free of torch and of Gradio.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zoo
from zoo.plugins import checkout
from zoo.spec import ModelSpec, Option

PICTURES = ("samples.webp", "samples.gif", "walk.gif", "samples.png")  # what moves comes first
FORMLESS = ("tensor",)


@dataclass(frozen=True)
class Entry:
    """One set of weights.

    Attributes:
        spec: of the model; tag: of the weights.
        about: what they were trained on; licence: of the weights, or "" if their card is not on this machine.
        picture: samples from their card, if it is on this machine.
        classes: names of the classes, if they have names.
    """

    spec: ModelSpec
    tag: str
    about: str
    licence: str
    picture: Path | None
    classes: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.spec.name}:{self.tag}"


@dataclass(frozen=True)
class Field:
    """One field of a form.

    Attributes:
        option: whose value it is.
        kind: "slider", "number", "choice", "switch", "text", "picture" or "clip".
        choices: of a choice; "" stands for none.
        step: of a slider.
    """

    option: Option
    kind: str
    choices: tuple[str, ...] = ()
    step: float | None = None

    @property
    def name(self) -> str:
        return self.option.name


@functools.cache
def _card(name: str) -> tuple[dict[str, Any], Path | None]:
    """The config of weights that came with the source, and a picture of them."""
    folder = (checkout() or Path(zoo.__file__).parent) / "model_cards" / name
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}, None
    return config, next((folder / file for file in PICTURES if (folder / file).is_file()), None)


def entries(specs: Sequence[ModelSpec] | None = None) -> list[Entry]:
    """All models with weights, those with pictures first."""
    found = []
    for spec in zoo.models() if specs is None else specs:
        for tag, pin in sorted(spec.weights.items()):
            config, picture = _card(pin.folder_name)
            classes = tuple(config.get("classes", ()))
            found.append(Entry(spec, tag, pin.summary, str(config.get("licence") or ""), picture, classes))
    return sorted(found, key=lambda entry: entry.picture is None)


def fields(entry: Entry) -> list[Field]:
    """The form of an entry: a field for each option that a person can give."""
    return [_field(option, entry) for option in entry.spec.sample_options if option.type not in FORMLESS]


def _field(option: Option, entry: Entry) -> Field:
    """A slider needs both ends and a value to stand at; whatever may be left out is a text that can be empty."""
    if option.type in ("image", "video"):
        return Field(option, "picture" if option.type == "image" else "clip")
    if option.type == "bool":
        return Field(option, "switch")
    choices = option.choices or (entry.classes if option.type == "label" else ())
    if choices:
        return Field(option, "choice", choices if option.default is not None else ("", *choices))
    if option.type in ("int", "float") and option.default is not None:  # an empty field of numbers would be 0
        if None in (option.minimum, option.maximum):
            return Field(option, "number")
        return Field(option, "slider", step=1 if option.type == "int" else 0.01)
    return Field(option, "text")
