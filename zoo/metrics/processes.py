"""Work that several processes share, as `accelerate launch` and `torchrun` start them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import distributed

PATIENCE = timedelta(days=1)  # the slowest process may be that far behind


@dataclass(frozen=True)
class Processes:
    """This process, `rank`, of `count` that work together; the first one speaks and gets what all have made."""

    rank: int = 0
    count: int = 1
    group: Any = None

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def share(self, n: int) -> range:
        """Which of n items are this process's: every item is one's, and those of a process lie side by side."""
        return range(n * self.rank // self.count, n * (self.rank + 1) // self.count)

    def gather(self, rows: torch.Tensor) -> torch.Tensor | None:
        """The rows of all shares in order, (N, ...), on the CPU, in the first process; None in the others."""
        if self.count == 1:
            return rows
        parts: list[Any] | None = [None] * self.count if self.is_main else None
        distributed.gather_object(rows.cpu(), parts, dst=0, group=self.group)
        return torch.cat([part for part in parts if len(part)]) if parts is not None else None


@contextmanager
def joined() -> Iterator[Processes]:
    """The processes of this launch, connected while the block runs; without a launch, this one alone."""
    own = not distributed.is_initialized() and int(os.environ.get("WORLD_SIZE", "1")) > 1 and "RANK" in os.environ
    if own:
        distributed.init_process_group("gloo", timeout=PATIENCE)
    elif not distributed.is_initialized():
        yield Processes()
        return
    try:
        group = None if own else distributed.new_group(backend="gloo", timeout=PATIENCE)
        yield Processes(distributed.get_rank(), distributed.get_world_size(), group)
    finally:
        if own:
            distributed.destroy_process_group()
