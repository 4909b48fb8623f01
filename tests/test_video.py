"""Video files: what is read from them, and what odd or broken ones get."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from zoo import data
from zoo.errors import DataError
from zoo.media import video

av = pytest.importorskip("av")


def encode(path: Path, n: int = 6, size: tuple[int, int] = (32, 16), codec: str = "libx264", **how: Any) -> Path:
    """n frames, the t-th of the one grey 40 t, but for a white corner in the upper left."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=how.get("rate", 10))
        stream.width, stream.height = size
        stream.pix_fmt = how.get("pix_fmt", "yuv420p")
        stream.codec_context.time_base = Fraction(1, 1000)
        for t in range(n):
            pixels = np.full((size[1], size[0], 3), 40 * t, np.uint8)
            pixels[:8, :8] = 255
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = how.get("times", range(0, 100 * n, 100))[t]
            frame.time_base = Fraction(1, 1000)
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


def greys(clip: torch.Tensor) -> list[int]:
    return [round(float(frame[:, 10:, 10:].float().mean()) / 40) for frame in clip]


@pytest.mark.parametrize(("ending", "codec", "pix_fmt"), [
    ("mp4", "libx264", "yuv420p"), ("mp4", "libx264", "yuv444p"), ("mp4", "libx264", "yuv420p10le"),
    ("webm", "libvpx-vp9", "yuv420p"), ("mkv", "ffv1", "bgr0"), ("mkv", "ffv1", "gray"),
])  # fmt: skip
def test_frames_of_any_pixel_format(tmp_path: Path, ending: str, codec: str, pix_fmt: str) -> None:
    path = encode(tmp_path / f"a.{ending}", codec=codec, pix_fmt=pix_fmt)
    for channels in (1, 3):
        clip = video.read_clip(path, channels)
        assert (clip.shape, clip.dtype) == ((6, channels, 16, 32), torch.uint8)
        assert greys(clip) == list(range(6))
        assert (clip[:, :, 2:6, 2:6] > 200).all()


def test_frames_are_taken_as_they_come_however_long_they_are_shown(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp4", times=[0, 10, 500, 510, 1500, 3000])
    assert greys(video.read_clip(path, 1)) == list(range(6))


def test_the_rate_is_read(tmp_path: Path) -> None:
    assert video.clip_fps(encode(tmp_path / "a.mp4")) == pytest.approx(10, rel=0.2)
    stills = [Image.new("L", (8, 8), 40 * t) for t in range(3)]
    stills[0].save(tmp_path / "a.gif", save_all=True, append_images=stills[1:], duration=40)
    assert video.clip_fps(tmp_path / "a.gif") == 25


def test_a_clip_is_turned_as_its_file_says(tmp_path: Path) -> None:
    """The display matrix of a film taken upright: the white corner comes to lie elsewhere."""
    source = encode(tmp_path / "a.mp4")
    turned = rotated(source, tmp_path / "turned.mp4")
    clip = video.read_clip(turned, 1)
    assert clip.shape == (6, 1, 32, 16)
    assert (clip[:, :, 2:6, -6:-2] > 200).all()  # clockwise by 90 degrees


def rotated(source: Path, target: Path) -> Path:
    """A copy whose display matrix says to turn the frames clockwise by 90 degrees."""
    content = bytearray(source.read_bytes())
    place = content.index(b"tkhd") + 4 + 40  # the matrix of the track's header, version 0
    unit = (1 << 16).to_bytes(4, "big")
    minus = (-(1 << 16)).to_bytes(4, "big", signed=True)
    zero = bytes(4)
    content[place : place + 36] = b"".join(
        (zero, unit, zero, minus, zero, zero, zero, zero, (1 << 30).to_bytes(4, "big"))
    )
    target.write_bytes(content)
    return target


def record(path: Path, *, cover: bool = False) -> Path:
    """A tenth of a second of silence, with a picture of the record or without."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le" if path.suffix == ".mkv" else "aac", rate=8000)
        if cover:
            picture = container.add_stream("png", rate=1)
            picture.width = picture.height = 16
            picture.pix_fmt, picture.disposition = "rgb24", av.stream.Disposition.attached_pic
            for packet in picture.encode(av.VideoFrame.from_image(Image.new("RGB", (16, 16)))):
                container.mux(packet)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
        frame.rate = 8000
        for packet in (*stream.encode(frame), *stream.encode()):
            container.mux(packet)
    return path


def test_sound_alone_and_damaged_files_are_named(tmp_path: Path) -> None:
    tells_covers = hasattr(av.stream, "Disposition")  # not the oldest PyAV that will do
    for sound in (record(tmp_path / "sound.mkv"), record(tmp_path / "song.mp4", cover=tells_covers)):
        for read in (lambda path: video.read_clip(path, 3), video.clip_fps):
            with pytest.raises(DataError, match=f"{sound.name}' holds sound and no video$"):
                read(sound)
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "text.mp4").write_text("no film")
    for name in ("empty.mp4", "text.mp4"):
        with pytest.raises(DataError, match=f"{name}' can't be read as a video"):
            video.read_clip(tmp_path / name, 3)
    (tmp_path / "broken.gif").write_bytes(b"GIF89a")
    with pytest.raises(DataError, match="broken.gif' holds something that is no picture"):
        video.read_clip(tmp_path / "broken.gif", 3)


def test_without_pyav_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video, "is_installed", lambda: False)
    with pytest.raises(DataError, match=r'needs PyAV: pip install "pixelzoo\[video\]"'):
        video.read_clip(tmp_path / "a.mp4", 3)


def test_broken_files_of_a_folder_are_left_out_and_named(tmp_path: Path) -> None:
    for i in range(5):
        encode(tmp_path / f"{i}.mp4", size=(16, 16))
    for name in ("2.mp4", "3.mp4"):
        (tmp_path / name).write_bytes(b"nothing")
    for split, count in (("train", 2), ("validation", 1)):
        with pytest.warns(UserWarning, match=r"2 clips are left out: '.*2\.mp4' can't be read"):
            part = data.load(str(tmp_path), split, {"video": (4, 3, 16, 16)})
        assert part.batch([0])["video"].shape == (1, 4, 3, 16, 16)
        assert len(part) == count
    for i in range(5):
        (tmp_path / f"{i}.mp4").write_bytes(b"nothing")
    with pytest.raises(DataError, match="no clip that can be used: none can be read"):
        data.load(str(tmp_path), "train", {"video": (4, 3, 16, 16)})


def test_a_broken_clip_is_never_the_one_that_is_held_out(tmp_path: Path) -> None:
    """Whichever it is: of five others one can always be held out."""
    for broken in range(6):
        folder = tmp_path / str(broken)
        folder.mkdir()
        for i in range(6):
            encode(folder / f"{i}.mp4", size=(16, 16))
        (folder / f"{broken}.mp4").write_bytes(b"nothing")
        with pytest.warns(UserWarning, match="1 clips are left out"):
            assert len(data.load(str(folder), "validation", {"video": (4, 3, 16, 16)})) == 1


def test_what_is_written_is_read(tmp_path: Path) -> None:
    frames = [torch.full((3, 16, 16), 50 * t, dtype=torch.uint8) for t in range(4)]
    for ending, tolerance in (("mp4", 4), ("webp", 0), ("gif", 0)):
        path = tmp_path / f"a.{ending}"
        video.write_clip(frames, path, [100] * 4)
        clip = video.read_clip(path, 3)
        assert len(clip) == 4
        assert (clip.int() - torch.stack(frames).int()).abs().max() <= tolerance, ending
    odd = [torch.zeros(1, 15, 17, dtype=torch.uint8)] * 3  # H.264 wants even sides
    video.write_clip(odd, tmp_path / "odd.mp4", [100] * 3)
    assert video.read_clip(tmp_path / "odd.mp4", 3).shape == (3, 3, 16, 18)


def test_films_of_another_size_ask_for_resizing(tmp_path: Path) -> None:
    """They can be read, so they are not left out as broken ones are."""
    for i in range(3):
        encode(tmp_path / f"{i}.mp4")
    with pytest.raises(DataError, match=r"/[012].mp4' holds a picture of 32x16.*bring it to that size by --resize"):
        data.load(str(tmp_path), "train", {"video": (4, 3, 16, 16)})
    assert len(data.load(str(tmp_path), "train", {"video": (4, 3, 16, 16)}, resize=True)) == 2
    with pytest.warns(UserWarning, match="frames"), pytest.raises(DataError, match="none has the 9 frames of a window"):
        data.load(str(tmp_path), "train", {"video": (9, 3, 16, 16)}, resize=True)


def test_the_still_picture_of_an_apng_is_no_frame(tmp_path: Path) -> None:
    """It is for programs that can't show animations."""
    frames = [Image.new("L", (8, 8), value) for value in (10, 20, 30)]
    still = Image.new("L", (8, 8), 255)
    still.save(tmp_path / "a.png", save_all=True, append_images=frames, default_image=True, duration=100)
    assert video.read_clip(tmp_path / "a.png", 1)[:, 0, 0, 0].tolist() == [10, 20, 30]
    assert video.clip_fps(tmp_path / "a.png") == pytest.approx(10)
