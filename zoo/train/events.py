"""When a run evaluates itself, draws samples and writes checkpoints: after so many examples, or so many minutes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import torch

from zoo.settings import Settings, interval

if TYPE_CHECKING:
    from accelerate import Accelerator

NAMES = ("eval", "sample", "checkpoint")


class Events:
    """What is due after an update; the same on all processes.

    Args:
        settings: `eval_every`, `sample_every`, `checkpoint_every` and `log_every`.
    """

    def __init__(self, settings: Settings, accelerator: Accelerator) -> None:
        self.batch_size, self.accelerator = settings.batch_size, accelerator
        self.every = {name: interval(getattr(settings, f"{name}_every")) for name in NAMES}
        self.every["log"] = settings.log_every, 0.0
        self._last = dict.fromkeys(NAMES, time.monotonic())

    def due(self, seen: int) -> set[str]:
        """The events that the update that ended after `seen` examples brings."""
        late = self.agree(seen, sum(1 << i for i, name in enumerate(NAMES) if self._late(name)))
        found = {name for name, (examples, _) in self.every.items() if examples and self._crossed(seen, examples)}
        found |= {name for i, name in enumerate(NAMES) if late >> i & 1}
        for name in found & self._last.keys():
            self._last[name] = time.monotonic()
        return found

    def agree(self, seen: int, wanted: int) -> int:
        """The largest number that a process wants. Several ask one another at every tenth update; else it is 0."""
        if self.accelerator.num_processes == 1:
            return wanted
        if seen // self.batch_size % 10:
            return 0
        vote = torch.tensor([wanted], device=self.accelerator.device)
        return int(self.accelerator.gather(vote).max())

    def _late(self, name: str) -> bool:
        """Whether the minutes of an event have passed, by the clock of the main process alone."""
        minutes = self.every[name][1]
        return self.accelerator.is_main_process and 0 < minutes * 60 <= time.monotonic() - self._last[name]

    def _crossed(self, seen: int, every: int) -> bool:
        """Whether the last update crossed a multiple of `every` examples."""
        return seen // every > (seen - self.batch_size) // every
