"""Clips from and to files: GIF and WebP by Pillow, all other formats by PyAV (extra `video`).

Shapes: T frames, C channels (1 or 3), H, W height and width.
"""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageSequence

from zoo.errors import DataError, one_line
from zoo.media import repeats
from zoo.media.extent import Extent
from zoo.media.gif import writing_gif
from zoo.media.images import fitting, readable, to_array, to_pil, whole_file, write_pictures

ANIMATED = (".gif", ".webp", ".png", ".apng")
SLOWEST, FASTEST = 0.1, 1000.0  # frames a second that are written
CRF = "18"  # H.264's quality, visually lossless
ATTACHED_PICTURE = 0x400  # FFmpeg's AV_DISPOSITION_ATTACHED_PIC
MISSING = 'needs PyAV: pip install "pixelzoo[video]"'


def is_installed() -> bool:
    """Whether formats other than Pillow's can be read and written."""
    return importlib.util.find_spec("av") is not None


def read_frames(path: Path, channels: int, where: str | None = None) -> Iterator[torch.Tensor]:
    """The frames of a video file one by one, (C, H, W), uint8, in playing order, however long each is shown.

    Warns at the end of a file of which clearly less can be read than its container announces.

    Args:
        path: of the file.
        channels: C.
        where: names the file in errors.

    Raises:
        DataError: no video, such as sound alone; a damaged file; a format that needs PyAV, where that is missing.
    """
    where = where or f"'{path}'"
    read = _animated if path.suffix.lower() in ANIMATED else _decoded
    found = False
    for frame in read(path, channels, where):
        found = True
        yield torch.from_numpy(np.ascontiguousarray(frame)).permute(2, 0, 1).contiguous()
    if not found:
        raise DataError(f"{where} has no frame that could be read")


def read_clip(path: Path, channels: int, where: str | None = None) -> torch.Tensor:
    """All frames of a video file, (T, C, H, W), uint8; errors as of `read_frames`."""
    return torch.stack(list(read_frames(path, channels, where)))


def clip_fps(path: Path) -> float | None:
    """Frames a second of a video file, on average; None where it does not say."""
    if path.suffix.lower() in ANIMATED:
        with readable(f"'{path}'"), Image.open(path) as picture:
            times = [_milliseconds(frame) for frame in _moving(picture)]
        return 1000 * len(times) / sum(times) if sum(times) else None
    with _opened(path, f"'{path}'") as stream:
        return float(stream.average_rate) if stream.average_rate else None


def is_moving(path: Path) -> bool:
    """Whether a file is of several frames, or of a format that is for videos alone."""
    if path.suffix.lower() not in ANIMATED:
        return True
    with readable(f"'{path}'"), Image.open(path) as picture:
        return bool(getattr(picture, "is_animated", False))


def _moving(picture: Image.Image) -> Iterator[Image.Image]:
    """The frames of an animation, without a picture that an APNG shows to those alone who can't show animations."""
    return itertools.islice(ImageSequence.Iterator(picture), 1 if picture.info.get("default_image") else 0, None)


def _milliseconds(frame: Image.Image) -> float:
    """How long a frame is shown, which WebP tells of decoded frames alone; 0 if unknown."""
    frame.load()
    return float(frame.info.get("duration") or 0)


def _animated(path: Path, channels: int, where: str) -> Iterator[np.ndarray[Any, Any]]:
    with readable(where), Image.open(path) as picture:
        for frame in _moving(picture):
            yield to_array(frame, channels, where)


def _decoded(path: Path, channels: int, where: str) -> Iterator[np.ndarray[Any, Any]]:
    """(H, W, C), turned as the file says."""
    import av

    with _opened(path, where) as stream:
        extent = Extent(stream)
        try:
            for packet in stream.container.demux():
                extent.add(packet)
                for frame in packet.decode() if packet.stream.index == stream.index else ():
                    pixels = frame.to_ndarray(format="gray" if channels == 1 else "rgb24")
                    turned = np.rot90(pixels, int(getattr(frame, "rotation", 0)) // 90)
                    yield turned.reshape(*turned.shape[:2], channels)
        except av.error.FFmpegError as error:
            raise DataError(f"{where} can't be read as a video: {one_line(error, 120)}") from None
        extent.check(where)


@contextmanager
def _opened(path: Path, where: str) -> Iterator[Any]:
    """The video stream of a file."""
    if not is_installed():
        raise DataError(f"reading {where} {MISSING}")
    import av

    try:
        container = av.open(str(path), metadata_errors="replace")
    except (av.error.FFmpegError, OSError) as error:
        raise DataError(f"{where} can't be read as a video: {one_line(error, 120)}") from None
    with container:
        films = [stream for stream in container.streams.video if not _is_cover(stream)]
        if not films:
            kinds = {stream.type: None for stream in container.streams if stream.type != "video"}
            held = "sound" if "audio" in kinds else " and ".join(kinds) or "nothing"
            raise DataError(f"{where} holds {held} and no video")
        stream: Any = films[0]
        stream.thread_type = "AUTO"
        yield stream


def _is_cover(stream: Any) -> bool:
    """Whether a stream is the picture of a record, as far as this version of PyAV tells it."""
    disposition = getattr(stream, "disposition", None)
    return disposition is not None and bool(disposition.value & ATTACHED_PICTURE)


@contextmanager
def writing(path: Path, size: tuple[int, int], fps: float) -> Iterator[Callable[[Image.Image], None]]:
    """A function that adds a picture to an .mp4 file (H.264).

    Args:
        path: of the file.
        size: width and height of all pictures, even numbers.
        fps: frames a second.
    """
    import av

    with av.open(str(path), "w", format="mp4") as container:
        stream: Any = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1000))
        stream.pix_fmt, stream.options = "yuv420p", {"crf": CRF}
        stream.width, stream.height = size

        def add(picture: Image.Image) -> None:
            for packet in stream.encode(av.VideoFrame.from_image(picture)):
                container.mux(packet)

        yield add
        for packet in stream.encode():
            container.mux(packet)


@contextmanager
def writing_clip(
    path: Path, size: tuple[int, int], fps: float, *, scale: int = 1
) -> Iterator[Callable[[torch.Tensor], None]]:
    """A function that adds a frame (C, H, W), uint8, to an animation, which is there when the block ends, whole.

    .mp4 and .gif are written frame by frame, in constant memory, other formats all at once.

    Args:
        path: of the file, whose ending says the format.
        size: width and height of a frame.
        fps: frames a second.
        scale: enlarges pixels without smoothing.
    """
    if path.suffix.lower() not in (".mp4", ".gif"):
        frames: list[torch.Tensor] = []
        yield frames.append
        write_clip(frames, path, [1000 / fps] * len(frames), scale=scale)
        return
    width, height = (side * scale for side in size)
    with whole_file(path) as part:
        if path.suffix.lower() == ".gif":
            with fitting(path, (width, height)), writing_gif(part, fps) as show:
                yield lambda frame: show(to_pil(frame).resize((width, height), Image.Resampling.NEAREST))
            return
        with writing(part, even := (width + width % 2, height + height % 2), fps) as add:
            yield lambda frame: add(_on_white(to_pil(frame).resize((width, height), Image.Resampling.NEAREST), even))


def _on_white(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    canvas = Image.new("RGB", size, "white")
    canvas.paste(picture)
    return canvas


def write_clip(frames: Sequence[torch.Tensor], path: Path, milliseconds: Sequence[float], *, scale: int = 1) -> None:
    """Write frames (C, H, W), uint8, each shown for its `milliseconds`, as an endless animation; like `write_image`.

    A frame that equals the one before stays a frame of its own.

    A GIF counts in hundredths of a second and shows no frame shorter than two of them, since browsers slow such down.
    """
    pictures = [to_pil(frame) for frame in frames]
    if path.suffix.lower() == ".mp4":
        _write_mp4(pictures, path, milliseconds, scale)
        return
    ending, size = path.suffix.lower(), [side * scale for side in pictures[0].size]
    if ending == ".gif" and pictures[0].mode == "RGB":  # a palette for each frame would flicker
        palette = to_pil(torch.cat(list(frames), 1)).quantize(method=Image.Quantize.FASTOCTREE)
        pictures = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
    unit, least = (10, 20) if ending == ".gif" else (1, 1)
    times = _rounded([max(least, shown) for shown in milliseconds], unit)
    if ending == ".webp":
        enlarged = [picture.resize(size, Image.Resampling.NEAREST) for picture in pictures]
        with fitting(path, size), whole_file(path) as part:
            part.write_bytes(repeats.webp(enlarged, times))
        return
    # Pillow keeps a repeated frame of a PNG that differs in how it is blended, which changes nothing of opaque frames.
    how = {"blend": [i % 2 for i in range(len(pictures))]} if ending in (".png", ".apng") else {}
    frames_apart = repeats.apart(pictures) if ending == ".gif" else pictures
    write_pictures(frames_apart, path, scale, save_all=True, duration=times, loop=0, **how)


def _rounded(times: Sequence[float], unit: int) -> list[int]:
    """Times as multiples of `unit` whose sums up to any frame are as near as can be, so that the mean rate is kept."""
    ends = [unit * round(end / unit) for end in itertools.accumulate(times, initial=0)]
    return [end - begin for begin, end in itertools.pairwise(ends)]


def _write_mp4(pictures: list[Image.Image], path: Path, milliseconds: Sequence[float], scale: int) -> None:
    """H.264; frames are shown all alike long, those with more milliseconds several times."""
    shortest = min(milliseconds)
    width, height = (-(-side * scale // 2) * 2 for side in pictures[0].size)  # even, as the codec wants it
    with whole_file(path) as part, writing(part, (width, height), 1000 / shortest) as add:
        for picture, shown in zip(pictures, milliseconds, strict=True):
            size = (picture.width * scale, picture.height * scale)
            canvas = _on_white(picture.resize(size, Image.Resampling.NEAREST), (width, height))
            for _ in range(round(shown / shortest)):
                add(canvas)
