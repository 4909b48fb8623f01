"""Training: the loop that every model shares."""

from __future__ import annotations

from zoo.train.loop import plan, train

__all__ = ["plan", "train"]
