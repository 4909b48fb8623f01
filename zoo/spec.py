"""What a plugin declares: pure data, no torch.

A `ModelSpec` says everything the zoo must know about a model before it is built: its name and paper, its presets, the
options its sampler takes, and where its pretrained weights are. A `DataSpec` does the same for a named data set.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from zoo.errors import OptionError, unknown

NAME = re.compile(r"[a-z][a-z0-9_]*")
REPO = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
REPO_AT = re.compile(rf"(?P<repo>{REPO.pattern})(?:@(?P<revision>[^\s@]+))?")
SHA256 = re.compile(r"[0-9a-f]{64}")
REVISION = re.compile(r"[0-9a-f]{40}")

OPTION_TYPES = ("int", "float", "bool", "str", "image", "tensor")
KINDS = ("autoregressive", "gan", "vae", "translation")
TASKS = ("image-generation", "image-translation", "video-generation", "video-translation")
AXES = (("C", "H", "W"), ("T", "C", "H", "W"))
RESERVED = ("n", "seed", "start", "batch_size", "precision", "progress")  # keywords of `model.sample` itself


@dataclass(frozen=True, kw_only=True)
class Option:
    """One typed sampling option; the command line's `--option`, its errors and its help all follow from it.

    Attributes:
        name: keyword of `model.sample`.
        type: "int", "float", "bool", "str", "image" (a uint8 tensor (N, C, H, W); on the command line a file), or
            "tensor" (from Python alone).
        default: the value when the caller gives none; None means "not given".
        help: one line.
        minimum, maximum: inclusive bounds of a number.
        choices: the only admissible values, if any.
        per_sample: the caller may give one value, or one for each sample.
    """

    name: str
    type: str
    default: Any = None
    help: str = ""
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    per_sample: bool = False

    def parse(self, value: Any) -> Any:
        """`value`, a Python object or the text of a command line, as this option's type.

        Raises:
            OptionError: wrong type, out of range, or none of the choices.
        """
        if value is None:
            return None
        try:
            parsed = self._convert(value)
        except (TypeError, ValueError, KeyError, OverflowError):
            raise OptionError(f"option '{self.name}' takes {self.describe()}, not {value!r}") from None
        below = self.minimum is not None and parsed < self.minimum
        above = self.maximum is not None and parsed > self.maximum
        if below or above or (self.choices and parsed not in self.choices):
            raise OptionError(f"option '{self.name}' takes {self.describe()}, not {value!r}")
        return parsed

    def _convert(self, value: Any) -> Any:
        if self.type == "bool":
            if isinstance(value, bool):
                return value
            return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[str(value).lower()]
        if isinstance(value, bool):
            raise TypeError
        if self.type == "int":
            if isinstance(value, float) and not value.is_integer():
                raise ValueError
            return int(value)
        if self.type == "float":
            number = float(value)
            if not math.isfinite(number):
                raise ValueError
            return number
        if not isinstance(value, str) or self.type in ("image", "tensor"):
            raise TypeError
        return value

    def describe(self) -> str:
        """The admissible values in words: "a float from 0.0 to 2.0"."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        text = {
            "int": "an integer",
            "float": "a number",
            "bool": "true or false",
            "str": "a text",
            "image": "pictures, a uint8 tensor (N, C, H, W)",
            "tensor": "a tensor, from Python alone",
        }[self.type]
        if self.minimum is not None and self.maximum is not None:
            return f"{text} from {self.minimum} to {self.maximum}"
        if self.minimum is not None:
            return f"{text} of at least {self.minimum}"
        if self.maximum is not None:
            return f"{text} of at most {self.maximum}"
        return text


@dataclass(frozen=True, kw_only=True)
class Weights:
    """The pin of one set of pretrained weights.

    Attributes:
        repo: "owner/name" on the Hugging Face Hub; `name` is also the folder in `model_cards/`.
        revision: full commit hash on the Hub, or None while the weights are only bundled with the source.
        sha256: of `model.safetensors`.
        size: of `model.safetensors`, in bytes.
        summary: what they were trained on, in a few words.
    """

    repo: str
    revision: str | None
    sha256: str
    size: int
    summary: str = ""

    @property
    def folder_name(self) -> str:
        return self.repo.rpartition("/")[2]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One figure of the paper, and ours beside it.

    Attributes:
        preset: which configuration.
        metric, data: what was measured, on what.
        paper: the paper's value.
        ours: our value with what it was measured on, or None while there is none.
    """

    preset: str
    metric: str
    data: str
    paper: float
    ours: str | None = None


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """One model of the zoo.

    Attributes:
        name: what people type; lower case, digits and underscores.
        summary: one line.
        paper: authors, title, year, and arXiv number or venue.
        kind: one of `KINDS`.
        task: one of `TASKS`.
        data_shape: names of the axes of one sample: ("C", "H", "W"), or ("T", "C", "H", "W") for a clip.
        presets: data name -> keyword arguments of the constructor; always has "tiny", which builds, trains two steps
            and samples in seconds on a CPU.
        sample_options: what `model.sample` takes besides the core's `n`, `seed`, `batch_size` and `precision`.
        weights: tag -> pin.
        figures: of the paper, and ours; `zoo info` prints them.
    """

    name: str
    summary: str
    paper: str
    kind: str
    task: str
    data_shape: tuple[str, ...]
    presets: Mapping[str, Mapping[str, Any]]
    sample_options: tuple[Option, ...] = ()
    weights: Mapping[str, Weights] = field(default_factory=dict)
    figures: tuple[Figure, ...] = ()

    @property
    def is_video(self) -> bool:
        return len(self.data_shape) == 4

    def preset(self, name: str) -> dict[str, Any]:
        """A copy of the constructor arguments of one preset; raises UnknownNameError."""
        if name not in self.presets:
            raise unknown(f"preset of {self.name}", name, self.presets)
        return dict(self.presets[name])

    def parse_options(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """All sampling options with their defaults, checked; raises UnknownNameError or OptionError."""
        options = {option.name: option for option in self.sample_options}
        for name in given:
            if name not in options:
                raise unknown(f"option of {self.name}", name, options)
        return {name: option.parse(given.get(name, option.default)) for name, option in options.items()}

    def problems(self) -> list[str]:
        """What is wrong with this spec; empty if nothing is."""
        found = []
        if not NAME.fullmatch(self.name):
            found.append(f"name {self.name!r} is not lower case with digits and underscores")
        if not (self.summary and self.paper):
            found.append("summary and paper must not be empty")
        for name, value, known in (("kind", self.kind, KINDS), ("task", self.task, TASKS)):
            if value not in known:
                found.append(f"{name} {value!r} is none of {', '.join(known)}")
        if self.data_shape not in AXES:
            found.append(f"data_shape {self.data_shape!r} is none of {', '.join(map(str, AXES))}")
        if not isinstance(self.presets, Mapping) or not all(isinstance(p, Mapping) for p in self.presets.values()):
            found.append("presets must map names to constructor arguments")
        elif "tiny" not in self.presets:
            found.append("there is no 'tiny' preset")
        names = [option.name for option in self.sample_options]
        for name in dict.fromkeys(names):
            if name in RESERVED or names.count(name) > 1:
                found.append(f"option {name!r} is {'a keyword of model.sample' if name in RESERVED else 'there twice'}")
        for option in self.sample_options:
            if option.type not in OPTION_TYPES:
                found.append(f"option {option.name!r} has type {option.type!r}, not one of {', '.join(OPTION_TYPES)}")
            elif option.default is not None:
                try:
                    option.parse(option.default)
                except OptionError as error:
                    found.append(f"default of {error}")
        for figure in self.figures:
            if figure.preset not in self.presets:
                found.append(f"figures name {figure.preset!r}, which is no preset")
        for tag, pin in self.weights.items():
            if not REPO.fullmatch(pin.repo) or not SHA256.fullmatch(pin.sha256) or pin.size <= 0:
                found.append(f"weights {tag!r} need an owner/name, a sha256 and a size")
            if pin.revision is not None and not REVISION.fullmatch(pin.revision):
                found.append(f"weights {tag!r} are pinned to {pin.revision!r}, which is no full commit hash")
        return found


@dataclass(frozen=True, kw_only=True)
class DataSpec:
    """One named data set.

    Attributes:
        name: what people type after `--data`; `$ZOO_DATA/<name>` is searched first.
        summary: one line.
        repo: the data set on the Hugging Face Hub, or None if it is only to be had as a local folder.
        revision: branch, tag or commit of `repo`.
        licence: short name or a sentence.
        image_column, label_column, caption_column: columns of the table; None where there is none. Where captions are
            promised, pictures without one are left out.
        splits: our split name -> the set's own; at least "train".
        holdout: how many of the last training examples serve as "validation" where the set has no such split.
        resize: whether pictures larger than a model's by a whole factor are brought to its size, each pixel the mean of
            a box; otherwise, sizes must be equal.
    """

    name: str
    summary: str
    repo: str | None
    licence: str
    revision: str | None = None
    image_column: str = "image"
    label_column: str | None = None
    caption_column: str | None = None
    splits: Mapping[str, str] = field(default_factory=lambda: {"train": "train", "test": "test"})
    holdout: int = 0
    resize: bool = False
