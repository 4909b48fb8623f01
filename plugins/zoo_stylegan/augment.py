"""Adaptive discriminator augmentation (ADA), for training on few pictures.

Karras, Aittala, Hellsten, Laine, Lehtinen, Aila: Training Generative Adversarial Networks with Limited Data, NeurIPS
2020, arXiv 2006.06676; the transforms and the sizes of their random numbers are those of its appendix B. The
discriminator sees real and generated pictures only through `Augment`; `AugmentController` raises its probability p
while the discriminator knows the training pictures too well (section 3).

Differences: pixels are blitted before the general geometry, exactly, and not in one resampling with it; the plane
beyond the border is the reflected picture, however far away; a sample for which no transform is drawn is not
resampled at all; p stops at 1. Left out: image-space filtering and corruptions, which the paper's best set, blitting
+ geometry + colour, does without.

Shapes: B batch, C channels (1 or 3), N height and width. All transforms are linear in the pixels and made of operations
that autograd can differentiate any number of times, for the penalties on gradients.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F

# Low-pass filter of the least asymmetric wavelet with 6 vanishing moments, "sym6"; they determine it (Daubechies, Ten
# Lectures on Wavelets, 1992, section 8.1.1).
SYM6 = (
    *(0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633, 0.4910559419267466),
    *(0.787641141030194, 0.3379294217276218, -0.07263752278646252, -0.021060292512300564, 0.04472490177066578),
    *(0.0017677118642428036, -0.007800708325034148),
)
# How late the filter is, in its own samples: the phase of its samples relative to the pixels.
DELAY = sum(i * tap for i, tap in enumerate(SYM6)) / sum(SYM6)
REACH = len(SYM6) // 2  # pixels on either side that the filter needs
SMALLEST = REACH + 1  # pictures, in pixels, that can be reflected that far

# What leaves a picture alone, in the order of the arguments of `warp` and `recolour`.
STILL = (1.0, 0.0, 1.0, 0.0, 0.0, 0.0)
SAME = (0.0, 1.0, 1.0, 0.0, 1.0)


class Augment(nn.Module):
    """Random transforms of pictures, each with probability p; (B, C, N, N) in [-1, 1] to the same.

    Args:
        blit: mirror, quarter turns, translation by whole pixels.
        geometry: scaling in all or one direction, rotation, translation by parts of a pixel.
        colour: brightness, contrast, luma flip, and of RGB hue and saturation.
    """

    p: torch.Tensor

    def __init__(self, *, blit: bool = True, geometry: bool = True, colour: bool = True) -> None:
        super().__init__()
        self.blit, self.geometry, self.colour = blit, geometry, colour
        self.register_buffer("p", torch.zeros(()))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Each sample of (B, C, N, N) transformed on its own; with p = 0 exactly the same pictures.

        Raises:
            ValueError: pictures that are not square, smaller than 7 pixels, or neither grey nor RGB.
        """
        if images.ndim != 4 or images.shape[1] not in (1, 3) or not images.is_floating_point():
            raise ValueError(f"augmentation takes float pictures (B, 1 or 3, N, N), not {tuple(images.shape)}")
        if images.shape[2] != images.shape[3] or images.shape[2] < SMALLEST:
            raise ValueError(
                f"augmentation takes square pictures of at least {SMALLEST} pixels, not {images.shape[2:]}"
            )
        n, size = len(images), images.shape[-1]
        with torch.autocast(images.device.type, enabled=False):
            x = images.to(torch.promote_types(images.dtype, torch.float32))
            if self.blit:
                x = move(x, *self.draw_blit(n, size))
            if self.geometry:
                x = _where_drawn(warp, x, self.draw_geometry(n, size), STILL)
            if self.colour:
                x = _where_drawn(recolour, x, self.draw_colour(n), SAME)
        return x.to(images.dtype)

    def draw_blit(self, n: int, size: int) -> tuple[torch.Tensor, ...]:
        """Whether to mirror, quarter turns, and pixels to the right and down, each (n,)."""
        mirror = self._maybe(self._uniform(n) < 0.5, False)
        turns = self._maybe((self._uniform(n) * 4).long(), 0)
        shift = ((self._uniform(2, n) * 2 - 1) * 0.125 * size).round().long()
        return mirror, turns, *self._maybe(shift, 0)

    def draw_geometry(self, n: int, size: int) -> tuple[torch.Tensor, ...]:
        """Arguments of `warp`, each (n,)."""
        once = 1 - (1 - self.p).sqrt()  # so that either rotation happens with probability p
        scale = self._maybe((0.2 * self._normal(n)).exp2(), 1.0)
        first = self._maybe((self._uniform(n) * 2 - 1) * math.pi, 0.0, once)
        stretch = self._maybe((0.2 * self._normal(n)).exp2(), 1.0)
        second = self._maybe((self._uniform(n) * 2 - 1) * math.pi, 0.0, once)
        return scale, first, stretch, second, *self._maybe(0.125 * size * self._normal(2, n), 0.0)

    def draw_colour(self, n: int) -> tuple[torch.Tensor, ...]:
        """Arguments of `recolour`, each (n,)."""
        brightness = self._maybe(0.2 * self._normal(n), 0.0)
        contrast = self._maybe((0.5 * self._normal(n)).exp2(), 1.0)
        luma = self._maybe(torch.where(self._uniform(n) < 0.5, -1.0, 1.0), 1.0)
        hue = self._maybe((self._uniform(n) * 2 - 1) * math.pi, 0.0)
        saturation = self._maybe(self._normal(n).exp2(), 1.0)
        return brightness, contrast, luma, hue, saturation

    def _uniform(self, *shape: int) -> torch.Tensor:
        return torch.rand(shape, device=self.p.device)

    def _normal(self, *shape: int) -> torch.Tensor:
        return torch.randn(shape, device=self.p.device)

    def _maybe(self, drawn: torch.Tensor, neutral: float, p: torch.Tensor | None = None) -> torch.Tensor:
        """`drawn`, (..., n), for the samples that get this transform, else what leaves them alone."""
        return torch.where(self._uniform(drawn.shape[-1]) < (self.p if p is None else p), drawn, neutral)


def _where_drawn(
    transform: Callable[..., torch.Tensor], x: torch.Tensor, drawn: tuple[torch.Tensor, ...], neutral: tuple[float, ...]
) -> torch.Tensor:
    """The transform of those samples that any of its arguments changes; the others to the last bit as they were."""
    changed = torch.stack([value != same for value, same in zip(drawn, neutral, strict=True)]).any(0)
    return torch.where(changed[:, None, None, None], transform(x, *drawn), x)


def reflect(positions: torch.Tensor, size: int) -> torch.Tensor:
    """Positions anywhere as positions within 0 to size - 1, mirrored at the centres of the outermost pixels."""
    return (size - 1) - ((positions % (2 * (size - 1))) - (size - 1)).abs()


def take(planes: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """Pixels of B C N M at integer places, each (B, R, S); B C R S."""
    index = (rows * planes.shape[-1] + columns).flatten(1)[:, None].expand(-1, planes.shape[1], -1)  # B C RS
    return planes.flatten(2).gather(2, index).unflatten(2, rows.shape[1:])


def move(
    images: torch.Tensor, mirror: torch.Tensor, turns: torch.Tensor, right: torch.Tensor, down: torch.Tensor
) -> torch.Tensor:
    """Mirrored left to right, then turned anticlockwise by quarters, then shifted; pixels keep their values.

    Args:
        images: (B, C, N, N).
        mirror: whether, (B,) bool.
        turns: from 0 to 3, (B,) int64.
        right, down: pixels, (B,) int64; from beyond the border comes the reflected picture.
    """
    size = images.shape[-1]
    places = torch.arange(size, device=images.device)
    rows = reflect(places[:, None] - down[:, None, None], size).expand(-1, -1, size)  # B N N
    columns = reflect(places - right[:, None, None], size).expand(-1, size, -1)
    turns = turns[:, None, None]
    odd = turns % 2 == 1
    rows, columns = torch.where(odd, columns, rows), torch.where(odd, rows, columns)
    rows = torch.where(turns >= 2, size - 1 - rows, rows)
    columns = torch.where(((turns == 1) | (turns == 2)) != mirror[:, None, None], size - 1 - columns, columns)
    return take(images, rows, columns)


def warp(
    images: torch.Tensor,
    scale: torch.Tensor,
    first: torch.Tensor,
    stretch: torch.Tensor,
    second: torch.Tensor,
    right: torch.Tensor,
    down: torch.Tensor,
) -> torch.Tensor:
    """Scaled, rotated, stretched, rotated again and shifted, in this order, about the centre, without aliasing.

    The picture is brought to twice the resolution, sampled there bilinearly, and brought back, both with one orthogonal
    wavelet: what is not moved, or moved by whole pixels, comes back as it was.

    Args:
        images: (B, C, N, N).
        scale: factor of width and height, (B,).
        first, second: angles in radians, clockwise as seen, (B,).
        stretch: factor of the width, by which the height is divided, (B,).
        right, down: pixels, (B,).
    """
    size = images.shape[-1]
    fine = _upsample(images)  # B C 2N+12 2N+12
    # Positions in pixels, from the centre, of the samples from which the result is filtered.
    place = (torch.arange(2 * size + len(SYM6) - 2, device=images.device) - DELAY - size + 1) / 2  # 2N+10
    scale, first, stretch, second, right, down = (
        value[:, None, None] for value in (scale, first, stretch, second, right, down)
    )
    x, y = torch.broadcast_tensors(place - right, place[:, None] - down)  # B 2N+10 2N+10
    x, y = _rotate(x, y, -second)
    x, y = _rotate(x / (stretch * scale), y * (stretch / scale), -first)
    x, y = (_nearby(value + (size - 1) / 2, size) * 2 + DELAY + 1 for value in (x, y))
    return _downsample(_bilinear(fine, x, y))


def _nearby(positions: torch.Tensor, size: int) -> torch.Tensor:
    """Positions as they are where the upsampled picture reaches, and reflected elsewhere."""
    reached = (positions >= -REACH / 2) & (positions <= size - 1 + REACH / 2)
    return torch.where(reached, positions, reflect(positions, size))


def _rotate(x: torch.Tensor, y: torch.Tensor, angle: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    cos, sin = angle.cos(), angle.sin()
    return cos * x - sin * y, sin * x + cos * y


def _bilinear(planes: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """B C N N at fractional positions B M M. torch's grid_sample has no second derivative; gather has all."""
    columns, rows = x.floor(), y.floor()
    right, down = ((value - whole).to(planes.dtype)[:, None] for value, whole in ((x, columns), (y, rows)))
    columns, rows = columns.long(), rows.long()
    above = torch.lerp(take(planes, rows, columns), take(planes, rows, columns + 1), right)
    below = torch.lerp(take(planes, rows + 1, columns), take(planes, rows + 1, columns + 1), right)
    return torch.lerp(above, below, down)


def _taps(x: torch.Tensor) -> torch.Tensor:
    """The filter with sum 1, as a column; 1 1 K 1."""
    return x.new_tensor(SYM6).view(1, 1, -1, 1) / math.sqrt(2)


def _upsample(images: torch.Tensor) -> torch.Tensor:
    """B C N N at twice the resolution, a little beyond the border too, B C 2N+12 2N+12.

    Sample j lies at pixel (j - 1 - DELAY) / 2.
    """
    crop, taps = len(SYM6) - 1, 2 * _taps(images)
    x = F.pad(images, (REACH,) * 4, mode="reflect").flatten(0, 1)[:, None]
    x = F.conv_transpose2d(x, taps, stride=(2, 1), padding=(crop, 0))
    x = F.conv_transpose2d(x, taps.mT, stride=(1, 2), padding=(0, crop))
    return x[:, 0].unflatten(0, images.shape[:2])


def _downsample(fine: torch.Tensor) -> torch.Tensor:
    """Every other sample of the filtered B C M M, with the filter turned round: the inverse of `_upsample`."""
    x = fine.flatten(0, 1)[:, None]
    x = F.conv2d(F.conv2d(x, _taps(fine), stride=(2, 1)), _taps(fine).mT, stride=(1, 2))
    return x[:, 0].unflatten(0, fine.shape[:2])


def recolour(
    images: torch.Tensor,
    brightness: torch.Tensor,
    contrast: torch.Tensor,
    luma: torch.Tensor,
    hue: torch.Tensor,
    saturation: torch.Tensor,
) -> torch.Tensor:
    """Brightness, contrast, luma flip, hue and saturation, in this order; of grey pictures the first three.

    Luma is the mean of the channels, the part of a colour along the grey axis; hue turns and saturation stretches the
    rest. All but brightness commute.

    Args:
        images: (B, C, N, N), mid-grey being 0.
        brightness: to be added, (B,).
        contrast, luma, saturation: factors of everything, of the luma (1 or -1), and of what remains of it, (B,).
        hue: angle in radians about the grey axis, (B,).
    """
    brightness, contrast, luma, hue, saturation = (
        value.to(images.dtype)[:, None, None] for value in (brightness, contrast, luma, hue, saturation)
    )  # B 1 1
    if images.shape[1] == 1:
        return (contrast * luma)[..., None] * (images + brightness[..., None])
    grey = images.new_full((3, 3), 1 / 3)  # projection to the grey axis
    rest = torch.eye(3, dtype=images.dtype, device=images.device) - grey
    across = images.new_tensor([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)  # cross product with the axis
    matrix = contrast * (luma * grey + saturation * (hue.cos() * rest + hue.sin() * across))  # B 3 3
    return (matrix @ images.flatten(2) + contrast * luma * brightness).view_as(images)


class AugmentController(nn.Module):
    """Chooses p such that the discriminator stays as sure of the training pictures as it should be (section 3).

    r = E[sign(D(real))] is 0 without overfitting and 1 when the discriminator knows every picture. Every few steps p
    moves up if r is above the target, else down, at a rate that takes it from 0 to 1 in `span` pictures.
    All state is in buffers, that of `augment` included.

    Args:
        augment: whose p is set.
        target: of r.
        interval: steps between two changes.
        span: training pictures in which p can go from 0 to 1.
    """

    signs: torch.Tensor
    count: torch.Tensor
    steps: torch.Tensor

    def __init__(self, augment: Augment, *, target: float = 0.6, interval: int = 4, span: int = 500_000) -> None:
        super().__init__()
        self.augment, self.target, self.interval, self.span = augment, target, interval, span
        for name in ("signs", "count", "steps"):  # sums since the last change
            self.register_buffer(name, torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def update(self, scores: torch.Tensor) -> dict[str, torch.Tensor]:
        """Take note of D(real) before the loss, any shape, one score for each picture; in all processes the same ones.

        Returns:
            p and r over the pictures since its last change, to be logged.
        """
        self.signs += scores.sign().sum().long()
        self.count += scores.numel()
        self.steps += 1
        r, due = self.signs / self.count, self.steps >= self.interval
        change = torch.sign(r - self.target) * self.count / self.span
        # In place, and by arithmetic rather than by "if", for which a GPU would have to be waited for.
        self.augment.p.copy_(torch.where(due, (self.augment.p + change).clamp(0, 1), self.augment.p))
        for sum_ in (self.signs, self.count, self.steps):
            sum_.mul_(~due)
        return {"augment_p": self.augment.p.clone(), "augment_r": r}
