"""A GIF that grows frame by frame: Pillow holds all frames of an animation that it writes.

All frames share a palette, since one for each would flicker; it is that of the first frames.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from PIL import GifImagePlugin, Image, ImageChops

FIRST = 32  # frames whose colours are those of the palette
LEAST = 2  # hundredths of a second that a frame is shown: browsers slow down what is quicker


@contextmanager
def writing_gif(path: Path, fps: float) -> Iterator[Callable[[Image.Image], None]]:
    """A function that adds a picture, grey or RGB, to a GIF that plays for ever.

    Args:
        path: of the file.
        fps: frames a second, 50 at most.
    """
    waiting: list[Image.Image] = []
    with path.open("wb") as file:
        gif = _Gif(file, fps)

        def flush() -> None:
            if waiting and gif.palette is None and waiting[0].mode == "RGB":
                gif.palette = _palette(waiting)
            for picture in waiting:
                gif.add(picture)
            waiting.clear()

        def add(picture: Image.Image) -> None:
            waiting.append(picture)
            if gif.count or len(waiting) == FIRST:
                flush()

        yield add
        flush()
        file.write(b";")


class _Gif:
    def __init__(self, file: BinaryIO, fps: float) -> None:
        self.file, self.count = file, 0
        self.palette: Image.Image | None = None
        self.before: Image.Image | None = None
        ends = (
            round(100 * t / min(fps, 100 / LEAST)) for t in itertools.count()
        )  # hundredths, so the mean rate is kept
        self.times = (end - begin for begin, end in itertools.pairwise(ends))

    def add(self, picture: Image.Image) -> None:
        """Write what has changed since the picture before."""
        if self.palette is not None:
            picture = picture.quantize(palette=self.palette, dither=Image.Dither.NONE)
        box = (0, 0, *picture.size)
        if self.before is None:
            header, _ = GifImagePlugin.getheader(picture.copy(), info={"loop": 0})
            self.file.writelines(header)
        else:
            box = ImageChops.difference(_numbers(picture), _numbers(self.before)).getbbox() or (0, 0, 1, 1)
        milliseconds = 10 * max(LEAST, next(self.times))
        self.file.writelines(GifImagePlugin.getdata(picture.crop(box), box[:2], duration=milliseconds))
        self.before, self.count = picture, self.count + 1


def _palette(pictures: list[Image.Image]) -> Image.Image:
    """A picture with 256 colours that suit all of these."""
    width, height = pictures[0].size
    canvas = Image.new("RGB", (width, height * len(pictures)))
    for i, picture in enumerate(pictures):
        canvas.paste(picture, (0, i * height))
    return canvas.quantize(method=Image.Quantize.FASTOCTREE)


def _numbers(picture: Image.Image) -> Image.Image:
    """A picture of palette numbers, or of greys, as greys."""
    return Image.frombytes("L", picture.size, picture.tobytes())
