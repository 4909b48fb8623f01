"""The settings of a training run. Free of torch."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from zoo.device import check_device
from zoo.errors import OptionError, TrainingError

LOCK = ".lock"
PAIRS = ("left-right", "right-left")
PRECISIONS = ("fp32", "tf32", "bf16", "fp16")
# All that is in the folder of a run that ended before its first checkpoint, from which nothing could go on.
LEFT = {"run.json", "metrics.jsonl", "checkpoints", "samples", "tensorboard"}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that determines a run.

    Attributes:
        model, data, preset: what to train on what.
        init: tag, folder or owner/repo of weights to begin with; None begins with random ones.
        overrides, recipe: arguments of the model's constructor and of its trainer, on top of the preset.
        out: the run folder.
        examples: how many to see in all, in whole batches: the last one may go beyond.
        batch_size: of one update, over all processes and accumulated parts.
        seed: of weights, order and noise.
        precision: "fp32", "tf32", "bf16" or "fp16".
        accumulate: parts that a process splits its share of a batch into.
        ema_images: half-life of the weights' moving average in examples; 0 for none.
        max_minutes: wall-clock limit of this call; the run ends with a checkpoint.
        eval_every, sample_every, checkpoint_every, log_every: in examples; 0 for never.
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
    batch_size: int = 32
    seed: int = 0
    precision: str = "fp32"
    accumulate: int = 1
    ema_images: int = 10_000
    max_minutes: float | None = None
    eval_every: int = 50_000
    sample_every: int = 50_000
    checkpoint_every: int = 10_000
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
        *("out", "examples", "max_minutes", "workers", "device", "accumulate"),
        *("log_every", "eval_every", "sample_every", "checkpoint_every", "eval_count"),
    )

    @classmethod
    def read(cls, folder: str | Path) -> Settings:
        """The settings of an existing run."""
        if not (Path(folder) / "run.json").is_file():
            raise TrainingError(f"there is no run in '{folder}'; --out must be the folder of one")
        try:
            stored = json.loads((Path(folder) / "run.json").read_text(encoding="utf-8"))["settings"]
            return cls(**{**stored, "out": str(folder)})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise TrainingError(f"'{folder}' holds no run that could be resumed: {error}") from None

    def check_folder(self, *, resume: bool) -> None:
        """Raise TrainingError unless a run of these settings may begin in `out`, or go on there with `resume`."""
        folder = Path(self.out)
        if resume:
            stored, own = (json.loads(json.dumps(asdict(s))) for s in (Settings.read(folder), self))  # tuples are lists
            for name, before in stored.items():
                if name not in Settings.FREE and own[name] != before:
                    raise TrainingError(f"the run in '{folder}' has {name} {before}, not {own[name]}; start a new one")
            return
        if folder.exists() and not folder.is_dir():
            raise TrainingError(f"'{folder}' is a file; choose another --out")
        found = {path.name for path in folder.iterdir()} - {LOCK} if folder.exists() else set()
        if found and "run.json" not in found:
            raise TrainingError(f"'{folder}' is not empty; choose another --out")
        if found - LEFT or any((folder / "checkpoints").glob("*.pt")):
            raise TrainingError(f"'{folder}' is not empty; resume it with --resume, or choose another --out")

    def check(self) -> None:
        """Raise OptionError for a value that makes no sense."""
        for name in ("examples", "batch_size", "accumulate", "eval_count", "workers", "frame_stride"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name in ("ema_images", "eval_every", "sample_every", "checkpoint_every", "log_every", "seed"):
            if getattr(self, name) < 0:
                raise OptionError(f"{name} must not be negative, but is {getattr(self, name)}")
        if self.max_minutes is not None and not self.max_minutes > 0:
            raise OptionError(f"max_minutes must be positive, not {self.max_minutes}")
        if self.precision not in PRECISIONS:
            raise OptionError(f"precision takes one of {', '.join(PRECISIONS)}, not {self.precision!r}")
        if self.pairs not in (None, *PAIRS):
            raise OptionError(f"pairs takes one of {', '.join(PAIRS)}, not {self.pairs!r}")
        check_device(self.device)
