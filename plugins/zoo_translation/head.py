"""A drawn head: parameters to frames, and to what Deep Video Portraits draws frames from. Nobody's face.

Parameters of a frame (a row of `NAMES`) turn, shift and light an ellipsoid with eyes, brows, mouth and hair. `render`
gives the frame and three conditions: a plain shaded rendering, the correspondence of pixels to the surface, the gaze.

    python -m zoo_translation.head FOLDER --clips 64    # a folder of clips for `zoo train deep_video_portraits --data`

Shapes: T frames, P parameters, S size of a frame.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import torch

from zoo.errors import OptionError
from zoo.media.images import write_image
from zoo.seeds import derive_seed

NAMES = (
    *("yaw", "pitch", "roll", "x", "y", "size"),  # pose
    *("mouth", "smile", "brows"),  # expression
    *("gaze_x", "gaze_y"),
    "light",  # from the left, -1, to the right, 1
)
CONDITIONS = ("condition", "correspondence", "gaze")
NEUTRAL = (0.0, 0.0, 0.0, 0.0, 0.0, 0.72, 0.1, 0.0, 0.0, 0.0, 0.0, -0.4)
# What a person may ask for: somewhat more than `motion` reaches.
LOW = (-0.8, -0.5, -0.4, -0.25, -0.25, 0.55, -0.3, -1.0, -1.0, -1.0, -1.0, -1.2)
HIGH = (0.8, 0.5, 0.4, 0.25, 0.25, 0.85, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)
SKIN, HAIR, LIPS = (224.0, 172.0, 138.0), (74.0, 48.0, 36.0), (176.0, 70.0, 76.0)


def motion(frames: int, seed: int, index: int = 0) -> torch.Tensor:
    """Parameters (T, P) that wander: slow waves of chance."""
    with torch.device("cpu"):
        generator = torch.Generator().manual_seed(derive_seed(seed, "head", index))
        t = torch.arange(frames).unsqueeze(1)
        pace, phase = torch.rand(2, len(NAMES), generator=generator)
        reach = torch.tensor([0.6, 0.3, 0.2, 0.12, 0.1, 0.05, 0.35, 0.8, 0.8, 0.8, 0.5, 0.7])
        return torch.tensor(NEUTRAL) + reach * torch.sin((0.15 + 0.35 * pace) * t + math.tau * phase)


def transfer(source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Parameters of a source clip (T, P) as changes of a target's: the target's first frame and what changed since the
    source's first (section 4 of the paper); light stays the target's.

    Raises:
        OptionError: parameters of another shape, or that are not finite.
    """
    for clip in (source, target):
        _check(clip)
    moved = target[0] + (source - source[0])
    moved[:, NAMES.index("light")] = target[0, NAMES.index("light")]
    return moved


def render(parameters: torch.Tensor, size: int) -> dict[str, torch.Tensor]:
    """Clips of parameters (T, P): "video", "condition", "correspondence" and "gaze", uint8 (T, 3, S, S).

    Of a correspondence red and green are coordinates of the surface, the same however the head is turned; blue is the
    angle of the point to the camera, which turns with it.

    Raises:
        OptionError: parameters of another shape, that are not finite, or of a head without size.
    """
    _check(parameters)
    with torch.device("cpu"):
        frames = [_frame(dict(zip(NAMES, row.tolist(), strict=True)), size) for row in parameters]
    return {name: torch.stack([frame[name] for frame in frames]) for name in ("video", *CONDITIONS)}


def _check(parameters: torch.Tensor) -> None:
    """Raise OptionError unless parameters are those of a clip."""
    if parameters.ndim != 2 or not len(parameters) or parameters.shape[1] != len(NAMES):
        raise OptionError(f"parameters of a clip are (T, {len(NAMES)}), not {tuple(parameters.shape)}")
    if not parameters.isfinite().all():
        raise OptionError("parameters must be finite")
    if (least := parameters[:, NAMES.index("size")].min().item()) <= 0:
        raise OptionError(f"size must be positive, not {least:g}")


def _frame(p: dict[str, float], size: int) -> dict[str, torch.Tensor]:
    """One frame: a point of the picture is a point of the ellipsoid's front, turned back to where the face is drawn."""
    axis = (torch.arange(size) + 0.5) / size * 2 - 1
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    x, y = (x - p["x"]) / p["size"], (y - p["y"]) / p["size"]
    skin, hair_colour, lips = (torch.tensor(colour).view(3, 1, 1) for colour in (SKIN, HAIR, LIPS))
    cos, sin = math.cos(p["roll"]), math.sin(p["roll"])
    x, y = (cos * x + sin * y) / 0.78, cos * y - sin * x
    inside = x.square() + y.square() < 1
    z = (1 - x.square() - y.square()).clamp(min=0).sqrt()
    shade = 0.62 + 0.38 * (z * 0.6 + x * p["light"] * 0.8 - y * 0.2).clamp(-1, 1)
    u, v = _turned(x, y, z, p["yaw"], p["pitch"])
    marks = _marks(u, v, p)
    surface = torch.stack([u, v, torch.atan2(u, z)]) * 0.5 + 0.5
    plain = torch.where(inside, skin * shade, torch.zeros(()))
    for name in ("mouth", "brow"):
        plain = torch.where(inside & marks[name], 0.55 * plain, plain)
    eyes, pupils = inside & marks["eyes"], inside & marks["eyes"] & marks["pupils"]
    gaze = torch.where(eyes, torch.tensor(230.0), torch.tensor(0.0)).expand(3, -1, -1)
    gaze = torch.where(pupils, torch.tensor([40.0, 80, 160]).view(3, 1, 1), gaze)
    ground = torch.stack([90 + 60 * y, 120 + 40 * y, 150 + 30 * x]).clamp(0, 255)
    hair = (x.square() + (y + 0.12).square() < 1.18) & (y < 0.55 - 0.9 * z)
    face = skin * shade * (1 - 0.12 * torch.sin(9 * u) * torch.cos(7 * v) * (z > 0.6))
    face = torch.where(marks["cheeks"], 0.8 * face + torch.tensor([50.0, 14, 20]).view(3, 1, 1), face)
    face = torch.where(marks["mouth"], lips * shade, face)
    face = torch.where(marks["brow"] | (v < -0.62), hair_colour * shade, face)
    face = torch.where(marks["eyes"], torch.tensor(238.0) * (0.7 + 0.3 * shade), face)
    face = torch.where(marks["eyes"] & marks["pupils"], torch.tensor([44.0, 70, 60]).view(3, 1, 1), face)
    video = torch.where(inside, face, torch.where(hair, hair_colour * (0.5 + 0.5 * shade), ground))
    shown = {
        "video": video,
        "condition": plain,
        "correspondence": torch.where(inside, 255 * surface, torch.zeros(())),
        "gaze": gaze,
    }
    return {name: value.round().clamp(0, 255).to(torch.uint8) for name, value in shown.items()}


def _turned(
    x: torch.Tensor, y: torch.Tensor, z: torch.Tensor, yaw: float, pitch: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Where a point of the front lies on the face that is turned by yaw and pitch."""
    y, z = math.cos(pitch) * y - math.sin(pitch) * z, math.sin(pitch) * y + math.cos(pitch) * z
    return math.cos(yaw) * x - math.sin(yaw) * z, y


def _marks(u: torch.Tensor, v: torch.Tensor, p: dict[str, float]) -> dict[str, torch.Tensor]:
    """Where the parts of the face are, by its coordinates."""

    def spot(left: float, top: float, wide: float, high: float) -> torch.Tensor:
        return ((u - left) / wide).square() + ((v - top) / high).square() < 1

    look, up = 0.07 * p["gaze_x"], -0.24 + 0.04 * p["gaze_y"]
    bend = v + p["smile"] * 0.35 * u.square()
    lips = (u / 0.3).square() + ((bend - 0.45) / (0.05 + 0.13 * max(p["mouth"], 0.0))).square() < 1
    brow = -0.44 - 0.06 * p["brows"]
    return {
        "eyes": spot(-0.33, -0.24, 0.16, 0.09) | spot(0.33, -0.24, 0.16, 0.09),
        "pupils": spot(-0.33 + look, up, 0.065, 0.065) | spot(0.33 + look, up, 0.065, 0.065),
        "brow": spot(-0.33, brow, 0.2, 0.04) | spot(0.33, brow, 0.2, 0.04),
        "cheeks": spot(-0.45, 0.2, 0.16, 0.12) | spot(0.45, 0.2, 0.16, 0.12),
        "mouth": lips,
    }


def write(folder: Path, clips: int, frames: int, size: int, seed: int = 0) -> None:
    """A folder of clips as frames, `train/video/0000/00000.png` beside `train/condition/...`; a tenth is test."""
    for i in range(clips):
        split = "test" if i % 10 == 9 else "train"
        for name, clip in render(motion(frames, seed, i), size).items():
            place = folder / split / name / f"{i:04d}"
            place.mkdir(parents=True, exist_ok=True)
            for t, frame in enumerate(clip):
                write_image(frame, place / f"{t:05d}.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--clips", type=int, default=64)
    parser.add_argument("--frames", type=int, default=48)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for name in ("clips", "frames", "size"):
        if (value := getattr(options, name)) < 1:
            parser.error(f"--{name} takes an integer of at least 1, not {value}")
    try:
        if options.folder.exists() and (not options.folder.is_dir() or any(options.folder.iterdir())):
            parser.error(f"'{options.folder}' exists and is not empty; choose another folder")
        write(options.folder, options.clips, options.frames, options.size, options.seed)
    except OSError as error:
        parser.error(f"can't write '{options.folder}': {error.strerror or error}")
    print(f"wrote {options.clips} clips to {options.folder}")


if __name__ == "__main__":
    main()
