"""The folder of a training run: taken by one process, with its settings, metrics, pictures and TensorBoard."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from PIL import Image

from zoo import media
from zoo.errors import TrainingError
from zoo.files import sweep, write_atomically
from zoo.media import video
from zoo.settings import LOCK


class RunFolder:
    """What a run writes besides checkpoints and weights. The main process alone takes and writes it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = FileLock(path / LOCK)
        self._writer: Any = None

    def take(self) -> None:
        """Keep other processes from training here; the system ends this with the process, however it dies."""
        with self._writing():
            self.path.mkdir(parents=True, exist_ok=True)
            try:
                self._lock.acquire(timeout=0)
            except Timeout:
                raise TrainingError(f"another process trains in '{self.path}'; choose another --out") from None

    def release(self) -> None:
        """Let others train here."""
        self._lock.release()

    def begin(self, run: dict[str, Any], seen: int) -> None:
        """Write `run.json`, and drop metric lines and samples that lie after `seen`; the run writes them again."""
        with self._writing():
            for name in ("checkpoints", "samples"):
                (self.path / name).mkdir(parents=True, exist_ok=True)
            for folder in (self.path, self.path / "checkpoints", self.path / "samples"):
                sweep(folder)
            write_atomically(self.path / "run.json", json.dumps(run, indent=2).encode())
            metrics = self.path / "metrics.jsonl"
            if metrics.exists():
                lines = [line for line in metrics.read_text(encoding="utf-8").splitlines() if _line_seen(line) <= seen]
                write_atomically(metrics, "".join(line + "\n" for line in lines).encode())
            for samples in (self.path / "samples").glob("[0-9]*.*"):
                number = samples.stem.partition("-")[0]
                if number.isdigit() and int(number) > seen:
                    samples.unlink()

    def log(self, line: dict[str, Any], values: dict[str, Any]) -> None:
        """Add a line to the metrics, and its `values` to TensorBoard."""
        with self._writing(), (self.path / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        for name, value in values.items():
            self._tensorboard(line["seen"]).add_scalar(name, value, line["seen"])

    def show(
        self, samples: torch.Tensor, seen: int, *, fps: float = 10.0, name: str = "", columns: int | None = None
    ) -> None:
        """Write a grid of samples (N, C, H, W), uint8; of clips (N, T, C, H, W) an animation, and a sheet with a row
        of frames for each. What is no samples has a `name`."""
        path = self.path / "samples" / f"{seen:09d}{name and '-'}{name}.png"
        if samples.ndim == 5:
            canvas = media.grid(samples.flatten(0, 1), columns=samples.shape[1])
            frames = [media.grid(frame) for frame in samples.unbind(1)]
            video.write_clip(frames, path.with_suffix(".gif"), [1000 / fps] * len(frames), scale=2)
            self._show_clip(path.with_suffix(".gif"), seen, name or "samples")
        else:
            canvas = media.grid(samples, columns)
        media.write_image(canvas, path, scale=2)
        self._tensorboard(seen).add_image(name or "samples", canvas, seen)

    def _show_clip(self, path: Path, seen: int, name: str) -> None:
        """Bring an animation to TensorBoard, whose pictures may move. `add_video` would need moviepy."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        with Image.open(path) as picture:
            width, height = picture.size
        image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=path.read_bytes())
        summary = Summary(value=[Summary.Value(tag=f"{name}/clips", image=image)])
        self._tensorboard(seen).file_writer.add_summary(summary, seen)

    def close(self) -> None:
        """Write out what TensorBoard holds back."""
        if self._writer is not None:
            self._writer.close()

    def _tensorboard(self, seen: int) -> Any:
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self.path / "tensorboard"), purge_step=seen)
        return self._writer

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise TrainingError(f"can't write into '{self.path}': {error.strerror or error}") from None


def _line_seen(line: str) -> int:
    try:
        return int(json.loads(line)["seen"])
    except (ValueError, KeyError, TypeError):
        return 2**63  # a line cut off by a kill
