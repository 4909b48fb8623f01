"""Training: the loop that every model shares."""

from __future__ import annotations

from zoo.train.loop import train
from zoo.train.planning import plan

__all__ = ["plan", "train"]
