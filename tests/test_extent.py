"""Video files that are cut off are told of, and odd ones that are whole are not."""

from __future__ import annotations

import struct
import warnings
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import zoo
from zoo import data
from zoo.cli.app import main
from zoo.media import video

av = pytest.importorskip("av")

FAST = {"movflags": "faststart"}  # what is announced comes first


def film(path: Path, codec: str = "ffv1", times: Any = range(0, 3000, 100), sound: float = 0, **options: str) -> Path:
    """Noise of 16x16 pixels, its frames at these milliseconds, beside some seconds of silence."""
    generator = np.random.default_rng(0)
    unit = 100 if path.suffix == ".avi" else 1  # whose frames are as long as a tick
    with av.open(str(path), "w", container_options=options) as container:
        stream = container.add_stream(codec, rate=10)
        stream.width = stream.height = 16
        stream.pix_fmt, stream.codec_context.time_base = "yuv420p", Fraction(unit, 1000)
        silence = container.add_stream("pcm_s16le", rate=8000) if sound else None
        for time in times:
            frame = av.VideoFrame.from_ndarray(generator.integers(0, 255, (16, 16, 3), np.uint8), format="rgb24")
            frame.pts, frame.time_base = time // unit, Fraction(unit, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        for i in range(round(10 * sound)):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
            frame.rate, frame.pts = 8000, 800 * i
            container.mux(silence.encode(frame))
    return path


def cut(path: Path) -> Path:
    """The first two thirds of a file."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    return path


def changed(path: Path, place: int, content: bytes) -> Path:
    whole = path.read_bytes()
    path.write_bytes(whole[:place] + content + whole[place + len(content) :])
    return path


def trimmed(path: Path) -> Path:
    """An edit list shows the first third alone, as phones write it."""
    place = path.read_bytes().index(b"elst") + 12
    [length] = struct.unpack(">I", path.read_bytes()[place : place + 4])
    return changed(path, place, struct.pack(">I", length // 3))


def silent(path: Path) -> Path:
    """Without the element Duration, as live recordings are; an element Void of the same size is in its place."""
    return changed(path, path.read_bytes().index(b"\x44\x89\x88"), b"\xec\x89")


def read(path: Path) -> tuple[int, list[str]]:
    """How many frames a file has, and what is warned of."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        return len(video.read_clip(path, 3)), [str(warning.message) for warning in found]


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [("a.mkv", "ffv1", {}), ("a.webm", "libvpx-vp9", {}), ("a.mov", "mpeg4", FAST), ("a.avi", "mpeg4", {})],
)
def test_a_file_that_is_cut_off_is_told_of(tmp_path: Path, name: str, codec: str, options: dict[str, str]) -> None:
    path = film(tmp_path / name, codec, **options)
    assert read(path) == (30, [])
    count, [told] = read(cut(path))
    assert 1 < count < 25
    assert told.startswith(f"'{path}' announces 3 seconds, but only ")
    assert 0.8 * count / 10 < float(told.split("only ")[1].split()[0]) < 1.2 * count / 10


def test_what_is_whole_is_left_alone(tmp_path: Path) -> None:
    """Frames of any length, an odd start, another stream, less shown than is there, and nothing announced."""
    uneven = [0, 10, 500, 510, 1500, 3000]
    for path, count in (
        (film(tmp_path / "uneven.mkv", times=uneven), 6),
        (film(tmp_path / "uneven.mp4", "libx264", times=uneven), 6),
        (film(tmp_path / "held.mkv", times=[0, 100, 200, 5000]), 4),
        (film(tmp_path / "single.mkv", times=[0]), 1),
        (film(tmp_path / "late.mkv", times=range(5000, 8000, 100)), 30),
        (film(tmp_path / "late.mp4", "libx264", times=range(5000, 8000, 100)), 30),
        (film(tmp_path / "concert.mkv", sound=9), 30),
        (trimmed(film(tmp_path / "trimmed.mov", "mpeg4")), 10),
        (silent(film(tmp_path / "live.mkv")), 30),
        (film(tmp_path / "stream.avi", "mpeg4"), 30),
    ):
        assert read(path) == (count, []), path.name


def test_nothing_is_told_where_nothing_is_announced(tmp_path: Path) -> None:
    count, told = read(cut(silent(film(tmp_path / "live.mkv"))))
    assert count < 25
    assert not told


def test_sampling_tells_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Although the file is read to check it, to draw from it, and to show it."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    zoo.save(zoo.build("vid2vid", preset="tiny", discriminator=False), "weights")
    path = cut(film(tmp_path / "sampled.mkv"))
    given = ["--option", f"condition={path}", "--show-given"]
    with pytest.warns(UserWarning, match=f"^'{path}' announces 3 seconds, but only 1.9 could be read") as found:
        assert main(["sample", "vid2vid", "--weights", "weights", *given, "-o", "a.gif"]) == 0
    assert len(found) == 1


def test_training_tells_it_once(tmp_path: Path) -> None:
    for i in range(4):
        film(tmp_path / f"{i}.mkv", times=range(0, 1200, 100))
    for i in range(3):
        cut(film(tmp_path / f"{i}.mkv"))
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        train = data.load(str(tmp_path), "train", {"video": (4, 3, 16, 16)})
        for _ in range(2):
            train.batch(range(len(train)))
    told = [str(warning.message) for warning in found if "announces" in str(warning.message)]
    assert len(set(told)) == len(told) >= 2
