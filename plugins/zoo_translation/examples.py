"""Conditions made by a rule, to show what a model does where there are no data.

Shapes: C channels, H, W height and width, K classes.
"""

from __future__ import annotations

import math
import random

import torch

from zoo.seeds import derive_seed


def picture(channels: int, height: int, width: int, seed: int, index: int) -> torch.Tensor:
    """Coloured rectangles, or white strokes on black where there is one channel; uint8 (C, H, W)."""
    chance = random.Random(derive_seed(seed, "example", index))
    if channels == 1:
        canvas = torch.zeros(1, height, width, dtype=torch.uint8)
        for _ in range(8):
            _stroke(canvas, chance)
        return canvas
    canvas = torch.full((channels, height, width), chance.randrange(256), dtype=torch.uint8)
    for _ in range(12):
        rows, columns = _span(chance, height), _span(chance, width)
        for channel in range(channels):
            canvas[channel, rows, columns] = chance.randrange(256)
    return canvas


def label_map(classes: int, height: int, width: int, seed: int, index: int) -> torch.Tensor:
    """Rectangles of classes on class 0; uint8 (1, H, W)."""
    chance = random.Random(derive_seed(seed, "example", index))
    canvas = torch.zeros(1, height, width, dtype=torch.uint8)
    for _ in range(12):
        canvas[:, _span(chance, height), _span(chance, width)] = chance.randrange(classes)
    return canvas


def dancer(frames: int, height: int, width: int, seed: int, index: int) -> torch.Tensor:
    """Keypoints of `pose.FIGURE` that swing their arms and legs, (T, 18, 2) in pixels."""
    chance = random.Random(derive_seed(seed, "dancer", index))
    phase, swing, pace = chance.uniform(0, math.tau), chance.uniform(0.3, 0.9), chance.uniform(0.3, 0.7)
    waves = (swing * torch.sin(pace * torch.arange(frames) + phase)).tolist()
    unit = 0.11 * height
    middle = (width / 2 + chance.uniform(-0.1, 0.1) * width, 0.5 * height)
    return torch.tensor([_stance(middle, unit, wave) for wave in waves])


def _stance(hips: tuple[float, float], unit: float, wave: float) -> list[tuple[float, float]]:
    """One frame of `dancer`: the limbs of both sides swing against each other by `wave`, an angle."""

    def limb(start: tuple[float, float], *angles: float) -> list[tuple[float, float]]:
        points = []
        for angle in angles:
            start = (start[0] + unit * math.sin(angle), start[1] + unit * math.cos(angle))
            points.append(start)
        return points

    (x, y), half = hips, unit / 3
    neck = (x, y - 1.8 * unit)
    parts = [(x, neck[1] - unit), neck]
    for side, angle in ((-1, wave), (1, -wave)):
        shoulder = (x + side * half, neck[1])
        parts += [shoulder, *limb(shoulder, angle + side * 0.4, 1.6 * angle + side * 0.4)]
    for side, angle in ((-1, -wave), (1, wave)):
        hip = (x + side * half / 2, y)
        knee, ankle = limb(hip, angle / 2, angle / 4)
        parts += [hip, knee, ankle, (ankle[0] + side * half, ankle[1])]
    return [*parts, hips, (x, y - 0.9 * unit)]


def moving(count: int, is_map: bool, frames: int, height: int, width: int, seed: int, index: int) -> torch.Tensor:
    """A clip of what `picture` or `label_map` makes, moved to the right pixel by pixel; uint8 (T, C, H, W)."""
    first = (label_map if is_map else picture)(count, height, width, seed, index)
    return torch.stack([first.roll(t, 2) for t in range(frames)])


def _span(chance: random.Random, size: int) -> slice:
    first = chance.randrange(size)
    return slice(first, first + 1 + chance.randrange(max(size // 2, 1)))


def _stroke(canvas: torch.Tensor, chance: random.Random) -> None:
    """A straight line between two points, one pixel thick."""
    height, width = canvas.shape[1:]
    ends = [(chance.uniform(0, height - 1), chance.uniform(0, width - 1)) for _ in range(2)]
    steps = torch.linspace(0, 1, 2 * max(height, width))
    rows, columns = ((a + (b - a) * steps).round().long() for a, b in zip(*ends, strict=True))
    canvas[:, rows, columns] = 255
