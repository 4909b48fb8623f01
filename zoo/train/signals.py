"""Ctrl-C and SIGTERM as a question that a loop asks when it is ready for the answer."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

STOPPING = "\nstopping with a checkpoint after this update; again to stop now\n"


@contextmanager
def interrupts(*, tell: bool = False) -> Iterator[Callable[[], bool]]:
    """Ctrl-C, or a scheduler's SIGTERM, lets the update finish; a second one is an ordinary KeyboardInterrupt.

    Args:
        tell: say so on stderr.
    """
    caught = False

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal caught
        if caught:
            raise KeyboardInterrupt
        caught = True
        if tell:
            with suppress(OSError):
                os.write(2, STOPPING.encode())

    try:
        previous = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread
        yield lambda: False
        return
    try:
        yield lambda: caught
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
