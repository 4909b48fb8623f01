"""How much of a video file could be read, beside what its container announces: a file that is cut off ends silently.

Only seconds are compared, and only where a header names them: frames may be shown for any time, and be left out by an
edit list. What FFmpeg tells of other containers is estimated from their size or their last packets.
"""

from __future__ import annotations

import functools
import warnings
from typing import Any

LEAST = 0.9  # of the announced seconds; with fewer a file counts as cut off


class Extent:
    """The seconds that the packets of a file span.

    Attributes:
        announced: seconds by the header; 0 where it names none.
    """

    def __init__(self, stream: Any) -> None:
        """Of a video stream of PyAV, before its first packet."""
        formats = stream.container.format.name.split(",")
        self.index, self.whole = stream.index, "matroska" in formats
        self.announced = 0.0
        if self.whole:  # Matroska names the end of the longest of its streams, counted from 0
            self.announced = (stream.container.duration or 0) / 1e6
        elif "mov" in formats:
            self.announced = float((stream.duration or 0) * stream.time_base)
        elif "avi" in formats:  # its duration is estimated where the index is missing; its length is in ticks
            self.announced = float((stream.frames or 0) * stream.time_base)
        self.first = self.last = self.end = self.gap = 0.0
        self.begun = False

    def add(self, packet: Any) -> None:
        """Count a packet of any stream."""
        times = [time for time in (packet.pts, packet.dts) if time is not None]
        is_ours = packet.stream.index == self.index
        if not times or not (is_ours or self.whole):
            return
        unit = float(packet.time_base)
        self.end = max(self.end, (max(times) + (packet.duration or 0)) * unit)
        if not is_ours:
            return
        time = times[-1] * unit  # of decoding, which only grows
        if not self.begun:
            self.begun, self.first, self.last = True, 0.0 if self.whole else min(times) * unit, time
        self.gap, self.last = max(self.gap, time - self.last), time

    def check(self, where: str) -> None:
        """Warn, once of each file, where clearly less was read than is announced.

        The last frame may be shown as long as the longest before it, which not every container tells.
        """
        read = self.end - self.first
        if self.begun and read + self.gap < LEAST * self.announced:
            _warn(f"{where} announces {self.announced:.4g} seconds, but only {read:.4g} could be read; is it cut off?")


@functools.cache
def _warn(text: str) -> None:
    warnings.warn(text, stacklevel=3)
