"""Data for training and measuring: what `--data` means, read and decoded."""

from __future__ import annotations

from zoo.data.order import Shuffled, Stream
from zoo.data.pictures import Pictures
from zoo.data.source import Source, find
from zoo.data.tables import load, stream

__all__ = ["Pictures", "Shuffled", "Source", "Stream", "find", "load", "stream"]
