"""Files of clips: at which rate they play, what drives a clip, damaged files, and what training and cards show."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from zoo import media
from zoo.cli.options import _read_clips, clip_files
from zoo.errors import DataError
from zoo.hub.write import _samples
from zoo.media import video
from zoo.media.output import CLIP, Target
from zoo.train.run_folder import RunFolder

ENDINGS = ("gif", "webp", "apng", "mp4")


def needs(ending: str) -> None:
    if ending == "mp4":
        pytest.importorskip("av")


def noise(n: int, size: int = 12) -> list[torch.Tensor]:
    """n frames (3, size, size), no two alike."""
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(0, 256, (3, size, size), generator=generator, dtype=torch.uint8) for _ in range(n)]


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize(("fps", "of_gif"), [(12, 12), (24, 24), (30, 30), (60, 50), (3000, 50)])
def test_a_file_plays_at_the_rate_of_the_model(tmp_path: Path, ending: str, fps: float, of_gif: float) -> None:
    """Where a format counts in hundredths or thousandths of a second, the mean over a second is right; browsers slow
    down GIFs beyond 50 frames a second."""
    needs(ending)
    frames = torch.stack(noise(60)).unsqueeze(1)  # T N C H W
    path = tmp_path / f"a.{ending}"
    Target(path, False, CLIP, 0).write(list(frames), frames.transpose(0, 1), None, 1, fps)
    expected = {"gif": of_gif, "mp4": fps}.get(ending, min(fps, 1000))
    assert video.clip_fps(path) == pytest.approx(expected, rel=1e-3)
    assert len(video.read_clip(path, 3)) == 60


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("order", ["aaabba", "aab", "aaaa", "abbbbba", "abab", "a"])
def test_equal_frames_in_succession_are_kept(tmp_path: Path, ending: str, order: str, channels: int) -> None:
    """Pillow and libwebp merge them into one frame that is shown longer: a clip read back would be shorter."""
    needs(ending)
    sources = [
        dict(zip("ab", torch.stack(noise(2, 4))[:, :channels], strict=True)),
        {"a": torch.zeros(channels, 4, 4, dtype=torch.uint8), "b": torch.full((channels, 4, 4), 255)},
        {"a": torch.full((channels, 1, 2), 40), "b": torch.full((channels, 1, 2), 200)},
    ]
    for i, source in enumerate(sources):
        frames = [source[name].to(torch.uint8) for name in order]
        path = tmp_path / f"{i}.{ending}"
        video.write_clip(frames, path, [40] * len(frames), scale=2)
        read = video.read_clip(path, channels)
        assert len(read) == len(frames)
        if len(order) > 1:
            assert video.clip_fps(path) == pytest.approx(25)
        expected = torch.stack(frames).repeat_interleave(2, 2).repeat_interleave(2, 3)
        if ending != "mp4":  # which is not lossless
            assert torch.equal(read, expected), i


@pytest.mark.parametrize("ending", ENDINGS)
def test_damage_anywhere_ends_in_one_line_or_in_pixels(tmp_path: Path, ending: str) -> None:
    needs(ending)
    whole, damaged = tmp_path / f"a.{ending}", tmp_path / f"b.{ending}"
    video.write_clip(noise(4), whole, [100] * 4)
    content, said = whole.read_bytes(), []
    for place in range(0, len(content), max(1, len(content) // 150)):
        flipped = bytes([content[place] ^ 255])
        for rest in (b"", flipped + content[place + 1 :]):
            damaged.write_bytes(content[:place] + rest)
            try:
                assert video.read_clip(damaged, 3).dtype == torch.uint8
            except DataError as error:
                said.append(str(error))
    assert len(said) > 50
    assert all(text.startswith(f"'{damaged}'") and "\n" not in text for text in said)


def greys(clips: torch.Tensor) -> list[list[int]]:
    return clips[:, :, 0, 0, 0].tolist()


@pytest.mark.parametrize("ending", ["png", "webp", "gif"])
def test_frames_of_a_folder_drive_a_clip_in_order_of_their_numbers(tmp_path: Path, ending: str) -> None:
    """2 comes before 10; still pictures are frames, though their format may move."""
    for t in range(12):
        Image.new("L", (8, 8), 20 * t).save(tmp_path / f"{t}.{ending}", lossless=True)
    clips = _read_clips(clip_files(tmp_path), 3, "option 'condition'")
    assert greys(clips) == [[20 * t for t in range(12)]]


def test_moving_files_of_a_folder_are_clips_in_order_of_their_numbers(tmp_path: Path) -> None:
    for i in (2, 10, 1):
        frames = [torch.full((3, 8, 8), 20 * i + t, dtype=torch.uint8) for t in range(3)]
        (tmp_path / "files").mkdir(exist_ok=True)
        (tmp_path / "folders" / f"{i}").mkdir(parents=True)
        video.write_clip(frames, tmp_path / "files" / f"{i}.webp", [50] * 3)
        for t, frame in enumerate(frames):
            media.write_image(frame, tmp_path / "folders" / f"{i}" / f"{t}.png")
    expected = [[20 * i + t for t in range(3)] for i in (1, 2, 10)]
    assert greys(_read_clips(clip_files(tmp_path / "files"), 3, "x")) == expected
    assert greys(_read_clips(clip_files(tmp_path / "folders"), 3, "x")) == expected


def test_training_shows_clips_moving_and_still(tmp_path: Path) -> None:
    clips = torch.stack(noise(4 * 5)).view(4, 5, 3, 12, 12)
    folder = RunFolder(tmp_path)
    folder.begin({}, 0)
    folder.show(clips, 32, fps=12.5)
    folder.close()
    moving = video.read_clip(tmp_path / "samples" / "000000032.gif", 3)
    assert moving.shape == (5, 3, 2 * (2 + 2 * 14), 2 * (2 + 2 * 14))
    assert video.clip_fps(tmp_path / "samples" / "000000032.gif") == pytest.approx(12.5)
    with Image.open(tmp_path / "samples" / "000000032.png") as sheet:
        pixels = media.from_pil(sheet, 3)
    assert torch.equal(pixels, media.grid(clips.flatten(0, 1), 5).repeat_interleave(2, 1).repeat_interleave(2, 2))
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Images("samples")] == [32]
    [event] = events.Images("samples/clips")
    assert (event.step, event.encoded_image_string) == (32, (tmp_path / "samples" / "000000032.gif").read_bytes())
    folder.begin({}, 16)  # goes on from before: what came later is dropped
    assert not list((tmp_path / "samples").iterdir())


@pytest.mark.parametrize("axes", [4, 5])
def test_a_card_shows_what_clips_were_drawn_from(tmp_path: Path, axes: int) -> None:
    """A condition is a picture for all frames, or a clip."""
    given = torch.full((2, 1, 12, 12), 200, dtype=torch.uint8)
    condition = given if axes == 4 else given.unsqueeze(1).repeat(1, 3, 1, 1, 1)
    drawn = torch.stack(noise(6)).view(2, 3, 3, 12, 12)
    model = SimpleNamespace(
        examples=lambda n: {"condition": condition},
        sample=lambda n, **options: drawn,
        spec=SimpleNamespace(is_video=True),
        levels=256,
        fps=20.0,
    )
    files = _samples(model, 2, None)  # type: ignore[arg-type]
    (tmp_path / "a.gif").write_bytes(files["samples.gif"])
    (tmp_path / "a.png").write_bytes(files["samples.png"])
    moving = video.read_clip(tmp_path / "a.gif", 3)
    assert len(moving) == 3
    assert video.clip_fps(tmp_path / "a.gif") == pytest.approx(20)
    with Image.open(tmp_path / "a.png") as sheet:
        pixels = media.from_pil(sheet, 3)
    assert (pixels[:, 2:14, 2:14] == 200).all()  # the first row, its first frame
    assert torch.equal(pixels[:, 16:28, 2:14], drawn[0, 0])
