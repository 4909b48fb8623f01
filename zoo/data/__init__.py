"""Data for training and measuring: what `--data` means, read and decoded."""

from __future__ import annotations

from zoo.data.examples import Examples
from zoo.data.order import Shuffled, Stream
from zoo.data.source import Source, find
from zoo.data.tables import load, stream

__all__ = ["Examples", "Shuffled", "Source", "Stream", "find", "load", "stream"]
