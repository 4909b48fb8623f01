"""Checkpoints of a run: written whole or not at all, the last two kept."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import torch

from zoo.errors import TrainingError
from zoo.files import sweep, write_atomically

NAME = re.compile(r"(\d{12})\.pt")


class Checkpoints:
    """The checkpoints in one folder, named by examples seen."""

    KEEP = 2

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _paths(self) -> list[Path]:
        """Oldest first."""
        found = self.folder.iterdir() if self.folder.is_dir() else ()
        return sorted(path for path in found if NAME.fullmatch(path.name))

    @property
    def last(self) -> int | None:
        """Examples seen at the newest checkpoint, or None."""
        paths = self._paths()
        return int(paths[-1].stem) if paths else None

    def write(self, state: dict[str, Any], seen: int) -> Path:
        """Add a checkpoint, then drop what is older than the last two."""
        path = self.folder / f"{seen:012d}.pt"
        buffer = io.BytesIO()
        torch.save(state, buffer)
        try:
            write_atomically(path, buffer.getvalue())
        except OSError as error:
            raise TrainingError(f"can't write checkpoint '{path}': {error.strerror or error}") from None
        sweep(self.folder)
        for old in self._paths()[: -self.KEEP]:
            old.unlink(missing_ok=True)
        return path

    def newest(self) -> dict[str, Any] | None:
        """The newest checkpoint that can be read, on the CPU; None if there is none."""
        paths = self._paths()
        for path in reversed(paths):
            try:
                state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
                return state
            except Exception:  # torch raises half a dozen types for a damaged file; the one before is still whole
                continue
        if paths:
            raise TrainingError(f"no checkpoint in '{self.folder}' can be read; start the run anew")
        return None
