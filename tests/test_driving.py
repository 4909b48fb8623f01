"""Clips drawn from clips of files: read, drawn and written frame by frame, and what is wrong with them said first."""

from __future__ import annotations

import json
import re
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import zoo
from zoo import media
from zoo.cli import console
from zoo.cli.app import main
from zoo.cli.options import read_targets
from zoo.errors import DataError
from zoo.files import digest
from zoo.media import origin, video
from zoo.media.gif import FIRST
from zoo.media.output import CLIP, Target

FRAMES = 12


def built(name: str, **config: Any) -> Any:
    torch.manual_seed(0)
    return zoo.build(name, preset="tiny", discriminator=False, **config)


def frames_in(folder: Path, clip: torch.Tensor) -> None:
    """A clip (T, C, H, W) as numbered pictures, without leading zeros."""
    folder.mkdir(parents=True, exist_ok=True)
    for t, frame in enumerate(clip):
        media.write_image(frame, folder / f"{t}.png")


def conditions(model: Any, n: int, name: str = "condition") -> torch.Tensor:
    return torch.cat([model.examples(n)[name]] * 3, 1)[:, :FRAMES]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with weights and driving clips, where commands run."""
    monkeypatch.chdir(tmp_path)
    model = built("vid2vid")
    zoo.save(model, "weights")
    for i, clip in enumerate(conditions(model, 3)):
        frames_in(tmp_path / "clips" / str(i), clip)
    video.write_clip(list(conditions(model, 1)[0]), tmp_path / "one.webp", [40.0] * FRAMES)
    return tmp_path


def draw(*more: str, model: str = "vid2vid", weights: str = "weights") -> int:
    return main(["sample", model, "--weights", weights, *more])


def test_all_of_a_driving_clip_is_drawn_as_python_draws_it(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = zoo.load("vid2vid", weights="weights")
    wanted = model.sample(3, frames=FRAMES, condition=conditions(model, 3))
    for more in (["--batch-size", "2"], []):  # rounding that depends on the batch grows from frame to frame
        assert draw("--option", "condition=clips", "-o", "all.npy", *more) == 0
        assert (torch.from_numpy(np.load("all.npy")).int() - wanted.int()).abs().float().mean() < 0.1
    drawn = torch.from_numpy(np.load("all.npy"))
    assert re.search(r"wrote 3 samples to all.npy in \d+\.\d s, \d+\.\d frames/s", capsys.readouterr().out)
    assert draw("--option", "condition=clips", "-o", "each/{}.webp") == 0
    for i in range(3):
        assert torch.equal(video.read_clip(place / "each" / f"{i:05d}.webp", 3), drawn[i])
    assert draw("--option", "condition=clips", "-o", "grid.webp", "--columns", "3", "--frames", "5") == 0
    shown = video.read_clip(place / "grid.webp", 3)
    assert torch.equal(shown, torch.stack([media.grid(drawn[:, t], 3) for t in range(5)]))
    assert draw("--option", "condition=clips/1", "-o", "sheet.png") == 0
    assert Image.open("sheet.png").size == (2 + 18 * FRAMES, 20)


def test_a_clip_plays_at_the_rate_of_the_one_it_is_drawn_from(place: Path) -> None:
    assert draw("--option", "condition=one.webp", "-o", "out.gif") == 0
    assert video.clip_fps(place / "out.gif") == pytest.approx(25)
    assert draw("--option", "condition=clips/0", "-o", "out.gif") == 0
    assert video.clip_fps(place / "out.gif") == pytest.approx(10)  # the model's own
    slow = [image.convert("RGB") for image in (Image.open(f"clips/0/{t}.png") for t in range(4))]
    slow[0].save("slow.webp", save_all=True, append_images=slow[1:], duration=1_000_000, lossless=True)
    assert draw("--option", "condition=slow.webp", "-o", "out.gif") == 0
    assert video.clip_fps(place / "out.gif") == pytest.approx(0.1)  # the slowest that is written


def test_conditions_and_true_frames_stand_beside_what_is_drawn(place: Path) -> None:
    model = zoo.load("vid2vid", weights="weights")
    given = conditions(model, 2)
    command = ["--option", "condition=clips/0", "--option", "condition=clips/1", "--show-given", "--target", "clips/2"]
    assert draw(*command, "-o", "beside.webp") == 0
    shown = video.read_clip(place / "beside.webp", 3)
    true = conditions(model, 3)[2]
    drawn = model.sample(2, frames=FRAMES, condition=given)
    wanted = [
        media.grid(torch.stack([given[0, t], drawn[0, t], true[t], given[1, t], drawn[1, t], true[t]]), 3)
        for t in range(FRAMES)
    ]
    assert (shown.int() - torch.stack(wanted).int()).abs().max() <= 1


def test_progress_counts_frames(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(console, "PROGRESS_SECONDS", 0)
    assert draw("--option", "condition=clips", "-o", "out.gif") == 0
    said = capsys.readouterr().err
    assert re.search(r"drawing: 3 of 12 frames, about \d+ s left", said)
    assert "drawing: 12 of 12 frames" in said


def test_a_moving_label_map_and_a_seed_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples of one clip differ by their noise; a palette of label maps is for the eye."""
    monkeypatch.chdir(tmp_path)
    model = built("deep_video_portraits", conditions=("condition",), condition_classes=6)
    zoo.save(model, "weights")
    clip = conditions(model, 1)
    Path("maps").mkdir()
    for t, frame in enumerate(clip[0, :, 0]):
        picture = Image.fromarray(frame.numpy())
        picture.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9, 8, 8, 8, 7, 7, 7])
        picture.save(f"maps/{t}.png")
    assert draw("--option", "condition=maps", "-n", "2", "-o", "out.npy", model="deep_video_portraits") == 0
    drawn = torch.from_numpy(np.load("out.npy"))
    assert torch.equal(drawn, model.sample(2, frames=FRAMES, condition=clip))
    assert not torch.equal(drawn[0], drawn[1])


# What a file says of its origin


def test_what_is_drawn_says_which_clips_it_was_drawn_from(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file by its digest, a folder by those of its frames in order; each of several samples has those of its own."""

    def frames(folder: str) -> list[str]:
        return [digest(place / folder / f"{t}.png") for t in range(FRAMES)]

    def told(*more: str) -> list[dict[str, Any]]:
        capsys.readouterr()
        assert draw(*more) == 0
        return [row["inputs"] for row in json.loads(capsys.readouterr().out)]

    assert told("--option", "condition=one.webp", "-o", "a.gif", "--json") == [
        {"condition": [digest(Path("one.webp"))]}
    ]
    given = ["--option", "condition=clips/0", "--show-given", "--target", "clips/2"]
    both = {"condition": [frames("clips/0")], "target": [frames("clips/2")]}
    assert told(*given, "-o", "a.png", "--json", "--sidecar") == [both]
    assert origin.read(Path("a.png")).inputs == origin.read(Path("a.png.json")).inputs == both
    each = [{"condition": [frames(f"clips/{i}")]} for i in range(3)]
    assert told("--option", "condition=clips", "-o", "each/", "--format", "png", "--json") == each
    lines = (place / "each" / origin.MANIFEST).read_text().splitlines()
    assert [json.loads(line)["inputs"] for line in lines] == each
    assert origin.read(place / "each" / "00002.png").inputs == each[2]


def test_a_clip_is_drawn_again_from_the_folder_that_drives_it(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert draw("--option", "condition=clips/1", "-o", "a.png", "--frames", "5") == 0
    again = ["sample", "--like", "a.png", "--weights", "weights", "-o", "b.png"]
    assert main(again) == 2
    assert "give it again with --option condition=FILE" in capsys.readouterr().err
    assert main([*again, "--option", "condition=clips/1"]) == 0
    assert (place / "a.png").read_bytes() == (place / "b.png").read_bytes()


# Streams


class Watched:
    """Frames of which it is known how many are held at once."""

    def __init__(self, count: int) -> None:
        self.count, self.alive, self.most = count, 0, 0

    def __iter__(self) -> Iterator[torch.Tensor]:
        for _ in range(self.count):
            frame = torch.randint(0, 256, (1, 3, 16, 16), dtype=torch.uint8)
            self.alive += 1
            weakref.finalize(frame, self._gone)
            self.most = max(self.most, self.alive)
            yield frame
            del frame

    def _gone(self) -> None:
        self.alive -= 1


@pytest.mark.parametrize("ending", ["gif", "mp4"])
def test_frames_are_written_as_they_come_and_not_kept(tmp_path: Path, ending: str) -> None:
    sizes: list[int] = []
    watched = Watched(200)

    def frames() -> Iterator[torch.Tensor]:
        for t, frame in enumerate(watched):
            if t in (100, 199):
                sizes.append(sum(path.stat().st_size for path in tmp_path.iterdir()))
            yield frame

    target = Target.parse(str(tmp_path / f"out.{ending}"), "", CLIP)
    target.stream(frames(), 1, None, 1, 10.0)
    assert watched.most <= 3
    assert len(video.read_clip(tmp_path / f"out.{ending}", 3)) == 200
    if ending == "gif":  # an encoder of films has a buffer of its own
        assert 0 < sizes[0] < sizes[1]


def test_a_gif_keeps_the_colours_of_its_first_frames(tmp_path: Path) -> None:
    torch.manual_seed(0)
    ground = torch.randint(0, 3, (3, 9, 8), dtype=torch.uint8) * 100
    clip = torch.stack([ground.roll(t // 2, 2) for t in range(2 * FIRST + 3)])  # each frame is shown twice
    for channels in (1, 3):
        with video.writing_clip(tmp_path / "a.gif", (8, 9), 20.0, scale=2) as add:
            for frame in clip[:, :channels]:
                add(frame)
        read = video.read_clip(tmp_path / "a.gif", channels)
        assert torch.equal(read, clip[:, :channels].repeat_interleave(2, 2).repeat_interleave(2, 3))
        assert video.clip_fps(tmp_path / "a.gif") == pytest.approx(20)


@pytest.mark.parametrize("ending", ["gif", "mp4", "webp"])
def test_what_is_not_finished_leaves_no_file(tmp_path: Path, ending: str) -> None:
    def broken() -> Iterator[torch.Tensor]:
        yield from Watched(FIRST + 8)
        raise KeyboardInterrupt

    target = Target.parse(str(tmp_path / f"out.{ending}"), "", CLIP)
    with pytest.raises(KeyboardInterrupt):
        target.stream(broken(), 1, None, 1, 10.0)
    assert not list(tmp_path.iterdir())


# What is wrong with files


def short(clip: torch.Tensor) -> torch.Tensor:
    return clip[:2]


def small(clip: torch.Tensor) -> torch.Tensor:
    return clip[..., :8]


def other(clip: torch.Tensor) -> torch.Tensor:
    changed = clip.clone()
    changed[5] = 7
    return changed


MAPS = {"conditions": ("condition",), "condition_classes": 6}
WRONG: list[tuple[str, dict[str, Any], Callable[[torch.Tensor], torch.Tensor], list[str], str]] = [
    ("vid2vid", {}, short, ["--frames", "3"], "'clip' has 2 frames, but 3 are to be drawn"),
    ("vid2vid", {}, small, [], "option 'condition': 'clip/0.png' is 8x16 pixels, but vid2vid needs 16x16"),
    ("everybody_dance_now", {}, small, [], "option 'condition': 'clip/0.png' is 8x16 pixels, but everybody_dance_now"),
    ("deep_video_portraits", MAPS, short, [], "'clip' has 2 frames, but a window of deep_video_portraits has 3"),
    ("deep_video_portraits", MAPS, other, [], "'clip/5.png' has the value 7, but its classes are 0 to 5"),
]


@pytest.mark.parametrize(("name", "config", "damage", "more", "message"), WRONG)
def test_clips_that_do_not_fit_are_named_before_anything_is_drawn(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    config: dict[str, Any],
    damage: Callable[[torch.Tensor], torch.Tensor],
    more: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    model = built(name, **config)
    zoo.save(model, "weights")
    frames_in(tmp_path / "clip", damage(conditions(model, 1)[0]))
    monkeypatch.setattr(type(model), "advance", lambda *_: pytest.fail("drawn"))
    assert draw("--option", "condition=clip", "-o", "out.gif", *more, model=name) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {message}")
    assert said.count("\n") == 1
    assert not Path("out.gif").exists()


def test_other_mistakes_with_clips_are_one_line(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frames_in(place / "longer" / "a", torch.zeros(3, 3, 16, 16, dtype=torch.uint8))
    frames_in(place / "longer" / "b", torch.zeros(4, 3, 16, 16, dtype=torch.uint8))
    frames_in(place / "mixed", torch.zeros(3, 3, 16, 16, dtype=torch.uint8))
    media.write_image(torch.zeros(3, 8, 8, dtype=torch.uint8), place / "mixed" / "9.png")
    video.write_clip([torch.zeros(3, 8, 8, dtype=torch.uint8)] * 3, place / "tiny.webp", [40.0] * 3)
    zoo.save(built("vid2vid", condition_channels=1, condition_classes=3), "maps")
    for more, message in (
        (["--option", "condition=longer"], "'longer/a' has 3 frames and 'longer/b' 4; say with --frames how many"),
        (["--option", "condition=mixed"], "option 'condition': 'mixed/9.png' is 8x8 pixels, but vid2vid needs 16x16"),
        (["--option", "condition=tiny.webp"], "option 'condition': 'tiny.webp' is 8x8 pixels, but vid2vid needs"),
        (
            ["--option", "condition=one.webp", "--frames", "2", "--show-given", "--target", "mixed"],
            "--target: 'mixed/9.png' is 8x8 pixels, but 'mixed/0.png' 16x16; all frames must be of one size",
        ),
        (["--option", "condition=nowhere"], "there is no file or folder 'nowhere'"),
        (["--option", "condition=one.webp", "--show-given", "--target", "mixed"], "--target: 'mixed' has 4 frames"),
        (["--option", "condition=clips/0", "--weights", "maps"], "'clips/0/0.png' is in colours, but a label map has"),
        (["--option", "condition=one.webp", "--weights", "maps"], "frame 0 of 'one.webp' is in colours, but a label"),
    ):
        assert draw(*more, "-o", "out.gif") == 2
        assert capsys.readouterr().err.startswith(f"error: {message}")
    assert draw("--option", "condition=longer", "--frames", "3", "-o", "out.gif") == 0
    with pytest.raises(DataError, match="--target: 'mixed/9.png' is 8x8 pixels, but 'mixed/0.png' 16x16"):
        read_targets("mixed", zoo.load("vid2vid", weights="weights").spec, 3)
