"""Animations in which a frame that equals the one before stays a frame of its own.

Pillow and libwebp merge such frames into one that is shown longer; a clip read back would have fewer frames. What is
added here changes no pixel that is seen.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence

from PIL import Image, ImageOps


def are_repeats(pictures: Sequence[Image.Image]) -> list[bool]:
    """For each picture whether it equals the one before."""
    contents = [picture.tobytes() for picture in pictures]
    return [i > 0 and content == contents[i - 1] for i, content in enumerate(contents)]


def apart(pictures: Sequence[Image.Image]) -> list[Image.Image]:
    """Frames for a GIF (modes P, of one palette, and L) of which no two in succession are equal to Pillow.

    Every second repeat gets one transparent pixel, through which the frame before is seen.
    """
    corners = [picture.getpixel((0, 0)) for picture in pictures]
    frames: list[Image.Image] = []
    marked = False
    for i, (picture, repeats) in enumerate(zip(pictures, are_repeats(pictures), strict=True)):
        marked = repeats and not marked
        if marked:
            near = corners[i : i + 2]  # the next frame has to differ there too, so that its pixel is drawn
            index = next(index for index in range(3) if index not in near)
            picture = picture.copy()
            picture.putpixel((0, 0), index)
            picture.info["transparency"] = index
        frames.append(picture)
    return frames


def webp(pictures: Sequence[Image.Image], milliseconds: Sequence[int]) -> bytes:
    """An endless lossless WebP of RGB or grey pictures; repeats are frames of one transparent pixel."""
    repeats = are_repeats(pictures)
    first, *others = [picture for picture, again in zip(pictures, repeats, strict=True) if not again]
    times = [shown for shown, again in zip(milliseconds, repeats, strict=True) if not again]
    if not others and len(pictures) > 1:  # Pillow makes no animation of one frame: the second is dropped below
        others, times = [ImageOps.invert(first)], [*times, 1]
    file = io.BytesIO()
    first.save(file, "webp", save_all=True, append_images=others, duration=times, loop=0, lossless=True)
    if not any(repeats):
        return file.getvalue()
    chunks = _chunks(file.getvalue()[12:])
    drawn = iter([content for name, content in chunks if name == b"ANMF"])
    head = [(name, content) for name, content in chunks if name in (b"VP8X", b"ANIM")]
    head[0] = (b"VP8X", bytes([head[0][1][0] | 0x10]) + head[0][1][1:])  # there is transparency
    frames = [
        (b"ANMF", _unseen(shown) if again else next(drawn)) for shown, again in zip(milliseconds, repeats, strict=True)
    ]
    body = b"WEBP" + b"".join(_chunk(name, content) for name, content in [*head, *frames])
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _unseen(milliseconds: int) -> bytes:
    """A frame of one transparent pixel, blended with what is there."""
    file = io.BytesIO()
    Image.new("RGBA", (1, 1)).save(file, "webp", lossless=True, exact=True)
    picture = next(content for name, content in _chunks(file.getvalue()[12:]) if name == b"VP8L")
    place = bytes(12)  # left, top, width - 1 and height - 1, of three bytes each
    return place + milliseconds.to_bytes(3, "little") + bytes(1) + _chunk(b"VP8L", picture)


def _chunks(content: bytes) -> list[tuple[bytes, bytes]]:
    """The chunks of a RIFF file: names and contents."""
    found, place = [], 0
    while place < len(content):
        name, size = content[place : place + 4], struct.unpack_from("<I", content, place + 4)[0]
        found.append((name, content[place + 8 : place + 8 + size]))
        place += 8 + size + size % 2
    return found


def _chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)
