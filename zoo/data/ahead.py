"""Batches read ahead of the step that takes them."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

import torch

from zoo.data.examples import Batch
from zoo.data.threads import alone

AHEAD = 2  # batches that are ready or being read


class Feed(Protocol):
    """Batches in the order of training, such as `Shuffled` and `Stream`."""

    def take(self, first: int, count: int) -> Batch: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class Ahead:
    """Reads the next batches of a feed in a thread while the present one is learned from.

    Its state is that of the feed at the batch that was taken last, however far reading is ahead of it.

    Args:
        feed: what is read.
        step: examples from the beginning of one batch to that of the next, of all processes together.
        pin: put tensors where a CUDA device fetches them without waiting.
    """

    def __init__(self, feed: Feed, *, step: int, pin: bool = False) -> None:
        self.feed, self.step, self.pin = feed, step, pin
        self._pool = ThreadPoolExecutor(1, "zoo-data", initializer=alone)
        self._coming: dict[tuple[int, int], Future[tuple[Batch, dict[str, Any]]]] = {}
        self._state = feed.state_dict()

    def take(self, first: int, count: int) -> Batch:
        """Examples `first` to `first + count - 1`, as of the feed."""
        if (first, count) not in self._coming:
            self._forget()
        for ahead in range(AHEAD + 1):
            place = (first + ahead * self.step, count)
            if place not in self._coming:
                self._coming[place] = self._pool.submit(self._read, *place)
        batch, self._state = self._coming.pop((first, count)).result()
        return batch

    def _read(self, first: int, count: int) -> tuple[Batch, dict[str, Any]]:
        batch = self.feed.take(first, count)
        if self.pin:
            batch = {
                key: value.pin_memory() if isinstance(value, torch.Tensor) else value for key, value in batch.items()
            }
        return batch, self.feed.state_dict()

    def _forget(self) -> None:
        """Drop what was read for another place."""
        for future in self._coming.values():
            if not future.cancel():
                future.exception()
        self._coming.clear()

    def state_dict(self) -> dict[str, Any]:
        return self._state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._forget()
        self.feed.load_state_dict(state)
        self._state = state

    def close(self) -> None:
        """End the thread."""
        self._pool.shutdown(wait=False, cancel_futures=True)
