"""What a plugin declares: pure data, no torch.

A `ModelSpec` says everything the zoo must know about a model before it is built: its name and paper, its presets, the
options its sampler takes, and where its pretrained weights are. A `DataSpec` does the same for a named data set.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from zoo.errors import OptionError, told, unknown

NAME = re.compile(r"[a-z][a-z0-9_]*")
WORD = re.compile(r"[a-z][a-z0-9-]*")
REPO = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
REPO_AT = re.compile(rf"(?P<repo>{REPO.pattern})(?:@(?P<revision>[^\s@]+))?")
SHA256 = re.compile(r"[0-9a-f]{64}")
REVISION = re.compile(r"[0-9a-f]{40}")

OPTION_TYPES = ("int", "float", "bool", "str", "label", "image", "video", "tensor")
INPUTS = ("image", "video", "tensor")  # options that are tensors, given as such or as files
COLUMN_KINDS = ("image", "video", "label", "caption", "tensor")
AXES = (("C", "H", "W"), ("T", "C", "H", "W"))
RESERVED = ("n", "seed", "start", "batch_size", "precision", "progress", "frames")  # keywords of `model.sample` itself


@dataclass(frozen=True, kw_only=True)
class Option:
    """One typed sampling option; the command line's `--option`, its errors and its help all follow from it.

    Attributes:
        name: keyword of `model.sample`.
        type: "int", "float", "bool", "str", "label" (a class, by number or by name), "image" (a uint8 tensor
            (N, C, H, W); on the command line a file or folder), "video" ((N, T, C, H, W); a file or a folder of
            frames), or "tensor" (from Python alone).
        default: the value when the caller gives none; None means "not given".
        help: one line.
        minimum, maximum: inclusive bounds of a number.
        choices: the only admissible values, if any.
        per_sample: the caller may give one value, or one for each sample.
        shape: of an input for one sample, (C, H, W) or (T, C, H, W); where it is None, as in the output. Without it all
            of the input's shape is that of the output, except for the number of frames.
        frames: names of options whose product is how many samples in succession are the frames of one clip, where this
            option is given; the command line gives its first choice when a clip is asked for.
        rows: of pictures to complete: the name of the option that says how many of their top rows a sample keeps.
        table: the value k makes the samples a table of k + 1 columns.
    """

    name: str
    type: str
    default: Any = None
    help: str = ""
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    per_sample: bool = False
    shape: tuple[int | None, ...] | None = None
    frames: tuple[str, ...] = ()
    rows: str | None = None
    table: bool = False

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
            raise OptionError(f"option '{self.name}' takes {self.describe()}, not {told(value)}") from None
        is_number = isinstance(parsed, int | float)
        below = is_number and self.minimum is not None and parsed < self.minimum
        above = is_number and self.maximum is not None and parsed > self.maximum
        if below or above or (self.choices and parsed not in self.choices):
            raise OptionError(f"option '{self.name}' takes {self.describe()}, not {told(value)}")
        return parsed

    def _convert(self, value: Any) -> Any:
        if self.type == "bool":
            if isinstance(value, bool):
                return value
            return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[str(value).lower()]
        if isinstance(value, bool):
            raise TypeError
        if self.type == "label" and isinstance(value, str) and not value.lstrip("-").isdigit():
            return value  # the name of a class, which the model knows
        if self.type in ("int", "label"):
            if isinstance(value, float) and not value.is_integer():
                raise ValueError
            return int(value) if isinstance(value, str | float) else operator.index(value)
        if self.type == "float":
            number = float(value)
            if not math.isfinite(number):
                raise ValueError
            return number
        if not isinstance(value, str) or self.type in INPUTS:
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
            "label": "a class, by number or name",
            "image": "pictures, a uint8 tensor (N, C, H, W)",
            "video": "clips, a uint8 tensor (N, T, C, H, W)",
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
class Preset:
    """One experiment, the paper's or ours: what `zoo train MODEL --preset NAME` does without any other flag.

    Attributes:
        model: keyword arguments of the constructor: the network.
        recipe: keyword arguments of the trainer: the objective (learning rate, betas, r1_gamma, ...).
        settings: of the run (examples, batch_size, precision, ...), see `zoo.settings.Settings`.
    """

    model: Mapping[str, Any] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """One model of the zoo.

    Attributes:
        name: what people type; lower case, digits and underscores.
        summary: one line.
        paper: authors, title, year, and arXiv number or venue.
        kind: what sort of model: "autoregressive", "gan", "vae", "translation", or any other word.
        task: "image-generation", "image-translation", "video-generation", "video-translation", or any other word.
        data_shape: names of the axes of one sample: ("C", "H", "W"), or ("T", "C", "H", "W") for a clip.
        presets: name -> `Preset`; always has "tiny", which builds, trains two steps and samples in seconds on a CPU.
            Without --preset, training takes the one that is named like the data.
        sample_options: what `model.sample` takes besides the core's `n`, `seed`, `batch_size` and `precision`.
        weights: tag -> pin.
        figures: of the paper, and ours; `zoo info` prints them.
        stages: whether the model draws a picture in stages that can be watched, by `Model.draw_stages`.
    """

    name: str
    summary: str
    paper: str
    kind: str
    task: str
    data_shape: tuple[str, ...]
    presets: Mapping[str, Preset]
    sample_options: tuple[Option, ...] = ()
    weights: Mapping[str, Weights] = field(default_factory=dict)
    figures: tuple[Figure, ...] = ()
    stages: bool = False

    @property
    def is_video(self) -> bool:
        return len(self.data_shape) == 4

    def preset(self, name: str | None) -> Preset:
        """One preset, an empty one for None; raises UnknownNameError."""
        if name is None:
            return Preset()
        if name not in self.presets:
            raise unknown(f"preset of {self.name}", name, self.presets)
        return self.presets[name]

    def parse_options(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """All sampling options, checked; one that is None has its default. Raises UnknownNameError or OptionError."""
        options = {option.name: option for option in self.sample_options}
        for name in given:
            if name not in options:
                raise unknown(f"option of {self.name}", name, options)
        known = {name: value for name, value in given.items() if value is not None}
        return {name: option.parse(known.get(name, option.default)) for name, option in options.items()}

    def problems(self) -> list[str]:
        """What is wrong with this spec; empty if nothing is."""
        found = []
        if not NAME.fullmatch(self.name):
            found.append(f"name {self.name!r} is not lower case with digits and underscores")
        if not (self.summary and self.paper):
            found.append("summary and paper must not be empty")
        for name, value in (("kind", self.kind), ("task", self.task)):
            if not WORD.fullmatch(value):
                found.append(f"{name} {value!r} is no word in lower case")
        if self.data_shape not in AXES:
            found.append(f"data_shape {self.data_shape!r} is none of {', '.join(map(str, AXES))}")
        if not isinstance(self.presets, Mapping) or not all(isinstance(p, Preset) for p in self.presets.values()):
            found.append("presets must map names to zoo.Preset")
        elif "tiny" not in self.presets:
            found.append("there is no 'tiny' preset")
        names = [option.name for option in self.sample_options]
        for name in dict.fromkeys(names):
            if name in RESERVED or names.count(name) > 1:
                found.append(f"option {name!r} is {'a keyword of model.sample' if name in RESERVED else 'there twice'}")
        for option in self.sample_options:
            for name in (*option.frames, *([option.rows] if option.rows else [])):
                if name not in names:
                    found.append(f"option {option.name!r} names {name!r}, which is no option")
            if option.type not in OPTION_TYPES:
                found.append(f"option {option.name!r} has type {option.type!r}, not one of {', '.join(OPTION_TYPES)}")
            elif option.default is not None:
                try:
                    option.parse(option.default)
                except OptionError as error:
                    found.append(f"default of {error}")
            if option.shape is not None and option.type not in INPUTS:
                found.append(f"option {option.name!r} has a shape, but is no input")
        for figure in self.figures:
            if figure.preset not in self.presets:
                found.append(f"figures name {figure.preset!r}, which is no preset")
        for tag, pin in self.weights.items():
            if not REPO.fullmatch(pin.repo) or not SHA256.fullmatch(pin.sha256) or pin.size <= 0:
                found.append(f"weights {tag!r} need an owner/name, a sha256 and a size")
            if pin.revision is not None and not REVISION.fullmatch(pin.revision):
                found.append(f"weights {tag!r} are pinned to {pin.revision!r}, which is no full commit hash")
        return found


@dataclass(frozen=True)
class Column:
    """One column of a data set.

    Attributes:
        kind: "image", "video" (a list of pictures, or a video file), "label" (a class), "caption" (a text), or "tensor"
            (numbers).
        name: in the table; None where it is called like the batch key.
    """

    kind: str
    name: str | None = None


@dataclass(frozen=True, kw_only=True)
class DataSpec:
    """One named data set.

    Attributes:
        name: what people type after `--data`; `$ZOO_DATA/<name>` is searched first.
        summary: one line.
        repo: the data set on the Hugging Face Hub, or None if it is only to be had as a local folder.
        revision: branch, tag or commit of `repo`.
        licence: short name or a sentence.
        columns: batch key ("image", "video", "label", "caption", "condition", ...) -> column; None leaves it to what
            is found in the table. Where captions are promised, examples without one are left out.
        splits: our split name -> the set's own; at least "train".
        holdout: how many of the last training examples serve as "validation" where the set has no such split; -1 for a
            twentieth of all, 5,000 at most, chosen by a seed, since a table may be sorted; 0 for none.
        resize: "box" where pictures larger than a model's by a whole factor are brought to its size, each pixel the
            mean of a box; otherwise sizes must be equal, unless the user asks for `--resize`.
        fps: frames a second of its clips, if known.
        made_by: "module:function" that makes the set where `$ZOO_DATA` does not hold it. It gives for each of the set's
            own splits a generator function and its arguments; rows are dicts by column, pictures {"bytes", "path"}.
    """

    name: str
    summary: str
    repo: str | None
    licence: str
    revision: str | None = None
    columns: Mapping[str, Column] | None = None
    splits: Mapping[str, str] = field(default_factory=lambda: {"train": "train", "test": "test"})
    holdout: int = -1
    resize: str | None = None
    fps: float | None = None
    made_by: str | None = None

    def column(self, key: str) -> str | None:
        """The name of the column that a batch key is promised to come from, or None if none is promised."""
        column = (self.columns or {}).get(key)
        return (column.name or key) if column else None

    def problems(self) -> list[str]:
        """What is wrong with this spec; empty if nothing is."""
        kinds = {column.kind for column in (self.columns or {}).values()} - set(COLUMN_KINDS)
        return [f"a column of kind {kind!r}, which is none of {', '.join(COLUMN_KINDS)}" for kind in sorted(kinds)]
