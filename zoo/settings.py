"""The settings of a training run. Free of torch."""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass, field, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from zoo.device import check_device
from zoo.errors import OptionError, TrainingError

LOCK = ".lock"
PAIRS = ("left-right", "right-left")
PRECISIONS = ("fp32", "tf32", "bf16", "fp16")
AUTO = "auto"  # the precision that the hardware is fast in; a run resolves it before it begins
TIME = re.compile(r"(\d+(?:\.\d+)?)\s*min")
# All that is in the folder of a run that ended before its first checkpoint, from which nothing could go on.
LEFT = {"run.json", "metrics.jsonl", "checkpoints", "samples", "tensorboard"}


def interval(every: int | str, name: str = "interval") -> tuple[int, float]:
    """How often something is due: (examples, 0) of an integer, (0, minutes) of a text such as "10min".

    Raises:
        OptionError: it is neither; `name` is of what it belongs to.
    """
    if isinstance(every, int) and every >= 0:
        return every, 0.0
    found = TIME.fullmatch(every.strip()) if isinstance(every, str) else None
    if found is None or not float(found[1]):
        raise OptionError(f"{name} takes a number of examples, or minutes such as 10min, not {every!r}")
    return 0, float(found[1])


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that determines a run.

    Attributes:
        model, data, preset: what to train on what.
        init: tag, folder or owner/repo of weights to begin with; None begins with random ones.
        overrides, recipe: arguments of the model's constructor and of its trainer, on top of the preset.
        out: the run folder.
        examples: how many to see in all, in whole batches: the last one may go beyond.
        planned: how many the schedules of learning rates and stages are laid out for, where a resume has changed
            `examples`; None otherwise.
        batch_size: of one update, over all processes and accumulated parts.
        seed: of weights, order and noise.
        precision: "fp32", "tf32", "bf16", "fp16", or "auto" for what the hardware is fast in.
        accumulate: parts that a process splits its share of a batch into.
        ema_images: half-life of the weights' moving average in examples; 0 for none.
        max_minutes: wall-clock limit of this call; the run ends with a checkpoint.
        eval_every, sample_every, checkpoint_every: in examples, or in minutes as "10min"; 0 for never.
        log_every: in examples; 0 for never.
        eval_count: held-out pictures of an evaluation.
        stream: read the data as a stream, for what does not fit on the disk; shuffled in blocks.
        resize: bring pictures of other sizes to the model's.
        frame_stride: frames of a clip from one frame of a training window to the next.
        columns: names of columns of the data, by the key of a batch that they fill.
        pairs: "left-right" or "right-left" where each picture holds a condition and what belongs to it.
        workers: threads that decode pictures.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
    """

    model: str
    data: str
    out: str
    preset: str | None = None
    overrides: dict[str, Any] = field(default_factory=dict)
    recipe: dict[str, Any] = field(default_factory=dict)
    init: str | None = None
    examples: int = 1_000_000
    planned: int | None = None
    batch_size: int = 32
    seed: int = 0
    precision: str = "fp32"
    accumulate: int = 1
    ema_images: int = 10_000
    max_minutes: float | None = None
    eval_every: int | str = "10min"
    sample_every: int | str = "10min"
    checkpoint_every: int | str = "5min"
    log_every: int = 2_000
    eval_count: int = 1_000
    stream: bool = False
    resize: bool = False
    frame_stride: int = 1
    columns: dict[str, str] = field(default_factory=dict)
    pairs: str | None = None
    workers: int = 2
    device: str = "auto"

    # What a resumed run may change without becoming another run.
    FREE = (
        *("out", "examples", "planned", "max_minutes", "workers", "device", "accumulate"),
        *("log_every", "eval_every", "sample_every", "checkpoint_every", "eval_count"),
    )

    @staticmethod
    def described(folder: str | Path) -> dict[str, Any]:
        """What `run.json` says of an existing run: its settings, config, recipe and data."""
        described: dict[str, Any] = json.loads((Path(folder) / "run.json").read_text(encoding="utf-8"))
        return described

    @classmethod
    def read(cls, folder: str | Path) -> Settings:
        """The settings of an existing run."""
        if not (Path(folder) / "run.json").is_file():
            raise TrainingError(f"there is no run in '{folder}'; --out must be the folder of one")
        try:
            run = cls.described(folder)
            found = cls(**{**run["settings"], "out": str(folder)})
            place = run.get("data", {}).get("place")  # where a relative path led when the run began
            if place and not Path(found.data).expanduser().exists() and Path(place).exists():
                found = replace(found, data=os.path.relpath(place))
            return found
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise TrainingError(f"'{folder}' holds no run that could be resumed: {error}") from None

    @property
    def schedule(self) -> int:
        """Examples over which schedules of learning rates and stages run."""
        return self.planned or self.examples

    def resuming(self) -> Settings:
        """These settings for going on in `out`: the schedules stay as that run planned them."""
        stored = Settings.read(self.out)
        precision = stored.precision if self.precision == AUTO else self.precision
        planned = None if self.examples == stored.schedule else stored.schedule
        return replace(self, planned=planned, precision=precision)

    def check_folder(self, *, resume: bool) -> None:
        """Raise TrainingError unless a run of these settings may begin in `out`, or go on there with `resume`."""
        folder = Path(self.out)
        if resume:
            stored, own = (json.loads(json.dumps(asdict(s))) for s in (Settings.read(folder), self))  # tuples are lists
            for name, before in stored.items():
                if name not in Settings.FREE and own[name] != before and not _same_place(own[name], before):
                    raise TrainingError(f"the run in '{folder}' has {name} {before}, not {own[name]}; start a new one")
            return
        if folder.exists() and not folder.is_dir():
            raise TrainingError(f"'{folder}' is a file; choose another --out")
        found = _names(folder) - {LOCK}
        if "run.json" not in found:  # of a run that was killed before it wrote that
            found -= {name for name in ("checkpoints", "samples") if not _names(folder / name)}
        if found and "run.json" not in found:
            raise TrainingError(f"'{folder}' is not empty; choose another --out")
        if found - LEFT or any(name.endswith(".pt") for name in _names(folder / "checkpoints")):
            raise TrainingError(f"'{folder}' is not empty; resume it with --resume, or choose another --out")

    def check(self) -> None:
        """Raise OptionError for a value that makes no sense."""
        for name in ("examples", "batch_size", "accumulate", "eval_count", "workers", "frame_stride"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name in ("ema_images", "log_every", "seed"):
            if getattr(self, name) < 0:
                raise OptionError(f"{name} must not be negative, but is {getattr(self, name)}")
        for name in ("eval_every", "sample_every", "checkpoint_every"):
            interval(getattr(self, name), name)
        if self.max_minutes is not None and not self.max_minutes > 0:
            raise OptionError(f"max_minutes must be positive, not {self.max_minutes}")
        if self.precision not in (*PRECISIONS, AUTO):
            raise OptionError(f"precision takes one of {', '.join((*PRECISIONS, AUTO))}, not {self.precision!r}")
        if self.pairs not in (None, *PAIRS):
            raise OptionError(f"pairs takes one of {', '.join(PAIRS)}, not {self.pairs!r}")
        check_device(self.device)


def _names(folder: Path) -> set[str]:
    """What is in a folder, if there is one, but for what a process that was killed while it wrote left there."""
    names = (path.name for path in folder.iterdir()) if folder.is_dir() else ()
    return {name for name in names if not fnmatch(name, ".*.part*")}


def _same_place(first: Any, second: Any) -> bool:
    """Whether two values are paths of one file or folder."""
    return all(isinstance(value, str) and Path(value).exists() for value in (first, second)) and Path(first).samefile(
        second
    )
