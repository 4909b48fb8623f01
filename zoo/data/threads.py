"""Threads that read data while another one computes."""

from __future__ import annotations

import threading

import torch

_LOCK = threading.Lock()


def alone() -> None:
    """Let the operations of this thread use no other: the initializer of threads that read.

    With a team of its own, even one that only waits, a process has more OpenMP threads than there are processors.
    GNU's OpenMP then lets the team of a training step fall asleep between operations, and a step on two cores takes
    1.2 times as long, or twice where waking is slow (`benchmarks/training.py --beside`).
    """
    with _LOCK:  # two at once would take each other's 1 for the usual
        usual = torch.get_num_threads()
        torch.set_num_threads(1)  # of this thread, and of those that begin later, but for what follows
        other = threading.Thread(target=torch.set_num_threads, args=(usual,))
        other.start()
        other.join()
