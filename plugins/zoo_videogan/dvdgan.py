"""DVD-GAN: Clark, Donahue, Simonyan: Adversarial Video Generation on Complex Datasets, 2019, arXiv 1907.06571v2.

BigGAN for clips. Against MoCoGAN: no latent for each frame; one latent and a class, spread over time, go through a
convolutional recurrent network at every scale, each followed by two residual blocks which see the frames one by one.
Two discriminators share the work: one judges a few frames at full size, the other all of them at half of it (see
`zoo_videogan.dvd_discriminators`). The frame-conditional form starts the recurrent networks from given frames.

The paper gives no table of widths for all sizes: ours halve from 8 `width` at 4x4 to `width`. The embedding of classes
has no spectral norm: divided by it, a class would weigh as much as one number of the latent. Beyond the frames that it
was trained on, batch normalisation goes on with the statistics of the last one. Ours, too, is what the recurrent units
remember at first (see `dvd_layers.ConvGRU`), and how the encoder joins given frames: side by side, as channels.

Shapes: B batch, T frames, C features, H, W height and width, Z latent and class together.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import nn

from zoo.errors import OptionError
from zoo.nn.adversarial import AdversarialModel, from_pixels, measuring, to_pixels
from zoo.request import SampleRequest
from zoo_videogan.clips import check_sizes, labels_of, levels_of
from zoo_videogan.dvd_discriminators import DBlock, Discriminators
from zoo_videogan.dvd_layers import ConvGRU, FrameBatchNorm, GBlock
from zoo_videogan.spectral import Conv2d, Linear

STANDING, BATCH = 64, 16  # clips whose statistics normalise truncated samples, and how many at once


class Generator(nn.Module):
    """Latents and classes to clips.

    Args:
        latent_size, class_size: of z and of a class's embedding.
        classes: K; 0 for none.
        widths: features at 4x4, 8x8, and so on up to the last size.
        frames: that statistics are kept of.
        normalised: see `DVDGAN`.
    """

    def __init__(
        self,
        latent_size: int,
        class_size: int,
        classes: int,
        widths: list[int],
        channels: int,
        frames: int,
        normalised: bool,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(classes, class_size) if classes else None
        condition = latent_size + (class_size if classes else 0)
        self.first = Linear(condition, widths[0] * 16)
        pairs = list(itertools.pairwise(widths))
        self.recurrences = nn.ModuleList(ConvGRU(a, frames) for a, _ in pairs)
        norms = (FrameBatchNorm(a, 0, frames) for a, _ in pairs[1:])
        self.before = nn.ModuleList(norms) if normalised else None
        self.steady = nn.ModuleList(GBlock(a, a, condition, frames, up=False) for a, _ in pairs)
        self.growing = nn.ModuleList(GBlock(a, b, condition, frames, up=True) for a, b in pairs)
        self.norm = FrameBatchNorm(widths[-1], 0, frames)
        self.last = Conv2d(widths[-1], channels)

    def condition(self, z: torch.Tensor, label: torch.Tensor | None) -> torch.Tensor:
        """(B, latent_size) and (B,) to (B, Z)."""
        return z if self.embedding is None else torch.cat([z, self.embedding(label)], 1)

    def forward(
        self,
        condition: torch.Tensor,
        t: int,
        states: list[torch.Tensor | None] | None = None,
        first: int = 0,
    ) -> tuple[torch.Tensor, list[torch.Tensor | None]]:
        """The next T frames of clips.

        Args:
            condition: (B, Z), by `condition`.
            t: T.
            states: of the recurrences before them, (B, C, H, W) each; by default zeros.
            first: the number of the first of them.

        Returns:
            (B, T, C, H, W) of -1 to 1, and the states after them.
        """
        states = states or [None] * len(self.recurrences)
        x: torch.Tensor = self.first(condition).unflatten(1, (-1, 4, 4))
        after: list[torch.Tensor | None] = []
        stages = zip(self.recurrences, self.steady, self.growing, states, strict=True)
        for i, (recurrence, steady, growing, state) in enumerate(stages):
            if i and self.before is not None:
                x = self.before[i - 1](x, condition, first)
            x = recurrence(x, state) if i else recurrence.spread(x, t, state)
            after.append(x[:, -1])
            x = growing(steady(x, condition, first), condition, first)
        frames = self.last(self.norm(x, condition, first).relu().flatten(0, 1)).tanh()
        return frames.unflatten(0, (-1, t)), after


class Encoder(nn.Module):
    """Given frames to the states that the recurrences start from: blocks of a discriminator, read out at each scale."""

    def __init__(self, frames: int, channels: int, widths: list[int]) -> None:
        super().__init__()
        down = widths[::-1]
        pairs = itertools.pairwise([frames * channels, *down[1:]])
        self.blocks = nn.ModuleList(DBlock(a, b, down=2, first=not i) for i, (a, b) in enumerate(pairs))
        self.reads = nn.ModuleList(Conv2d(c, c) for c in down[1:])

    def forward(self, frames: torch.Tensor) -> list[torch.Tensor]:
        """(B, T, C, H, W) of -1 to 1 to states (B, C, H, W), the smallest first."""
        x, states = frames.flatten(1, 2), []
        for block, read in zip(self.blocks, self.reads, strict=True):
            x = block(x)
            states.append(read(x.relu()).relu())
        return states[::-1]


class DVDGAN(AdversarialModel):
    """DVD-GAN.

    Args:
        resolution: H = W, a power of two; 64 to 256 in the paper.
        frames: T of the clips that it learns from, and that it draws unless it is asked for others; a multiple of 4.
        channels: 1 or 3.
        classes: K; 0 for none.
        latent_size, class_size: of the latent and of a class's embedding.
        width: features of the generator's last stage.
        discriminator_width: of the discriminators' first; 0 means `width`.
        normalised: whether batch normalisation stands before each recurrent unit but the first. Ours: in short runs
            without it their gates are at 0 or 1 soon, and all frames but the first few are alike.
        given_frames: how many frames a clip begins with that are given, in the frame-conditional form; 0 otherwise.
        discriminator: whether there are any; released weights come without.
    """

    training_only: ClassVar[tuple[str, ...]] = ("discriminators",)
    sample_batch_size: ClassVar[int] = 16
    discriminators: Discriminators | None

    def __init__(
        self,
        *,
        resolution: int = 64,
        frames: int = 12,
        channels: int = 3,
        classes: int = 0,
        latent_size: int = 120,
        class_size: int = 120,
        width: int = 128,
        discriminator_width: int = 0,
        normalised: bool = False,
        given_frames: int = 0,
        discriminator: bool = True,
    ) -> None:
        super().__init__()
        judging = discriminator_width or width
        check_sizes(channels, latent_size=latent_size, class_size=class_size, width=width, discriminator_width=judging)
        levels = levels_of(resolution)
        if classes < 0 or not 0 <= given_frames < frames:
            raise ValueError("classes must not be negative, given_frames must be from 0 to frames - 1")
        if frames < 4 or frames % 4:
            raise ValueError(
                f"frames must be a multiple of 4, which the temporal discriminator halves twice, not {frames}"
            )
        self.image_shape, self.frames = (channels, resolution, resolution), frames
        self.classes, self.latent_size, self.given_frames = classes, latent_size, given_frames
        self.shown = ("given",) if given_frames else ()
        widths = [width * min(8, 1 << (levels - i)) for i in range(levels + 1)]
        made = frames - given_frames
        self.generator = Generator(latent_size, class_size, classes, widths, channels, made, normalised)
        self.encoder = Encoder(given_frames, channels, widths) if given_frames else None
        self.discriminators = Discriminators(channels, judging, levels, classes) if discriminator else None

        for weight in self.parameters():  # the generator is 1.25 times as fast so on a CPU
            if weight.dim() == 4:
                weight.data = weight.data.contiguous(memory_format=torch.channels_last)

    @property
    def label_classes(self) -> int | None:
        return self.classes or None

    @property
    def condition_names(self) -> tuple[str, ...]:
        return ("label",) if self.classes else ()

    @property
    def latent_shapes(self) -> dict[str, list[tuple[int | None, ...]]]:
        return {"z": [(self.latent_size,)]}

    def latent_of(self, request: SampleRequest) -> torch.Tensor:
        """z (B, Z), standard normal, before any truncation."""
        return request.normal(self.latent_size)

    def examples(self, n: int, seed: int = 0) -> dict[str, Any]:
        """Clips to go on with: a square that moves to the right on grey."""
        if not self.given_frames:
            return {}
        channels, height, width = self.image_shape
        clips = torch.full((n, self.given_frames, channels, height, width), 128, dtype=torch.uint8)
        side = height // 4
        for i in range(n):
            for t in range(self.given_frames):
                left = (t + (i + seed) * side // 2) % (width - side)
                clips[i, t, :, side : 2 * side, left : left + side] = 255
        return {"given": clips}

    def show(self, batch: dict[str, Any]) -> dict[str, Any]:
        return {**batch, "given": batch["video"][:, : self.given_frames]} if self.given_frames else batch

    def draw(self, request: SampleRequest) -> Iterator[torch.Tensor]:
        """The frames of a request one by one, (B, C, H, W), uint8; the given ones first."""
        z = self.z_of(request)
        truncation = request.options.get("truncation")
        if truncation is not None:
            z = truncated(z, truncation)
        label = labels_of(request, self.classes)
        given = self._given(request)
        states: list[torch.Tensor | None] | None = None
        if given is not None and self.encoder is not None:
            yield from given.unbind(1)
            states = list(self.encoder(from_pixels(given)))
        statistics = None if truncation is None else self._standing(request, truncation)
        last = itertools.count() if request.frames is None else range(request.frames - self.given_frames)
        with normalised_by(self.generator, statistics):
            condition = self.generator.condition(z, label)
        for t in last:
            with normalised_by(self.generator, statistics):
                frames, states = self.generator(condition, 1, states, first=t)
            yield to_pixels(frames[:, 0])

    def _given(self, request: SampleRequest) -> torch.Tensor | None:
        """The first frames (B, T, C, H, W), uint8."""
        given = request.options.get("given")
        if self.given_frames and request.options.get("truncation") is not None:
            raise OptionError(
                "option 'truncation' is for weights that draw from nothing: these go on with given frames"
            )
        if not self.given_frames:
            if given is not None:
                raise OptionError("option 'given': this model draws clips from nothing, not from given frames")
            return None
        if given is None:
            raise OptionError(f"this {self.spec.name} goes on with {self.given_frames} frames: give given=CLIP")
        if isinstance(given, list):  # an iterator of frames, which all samples share
            given = self._read(given[0]).expand(request.n, -1, -1, -1, -1)
        if given.shape[1] < self.given_frames:
            raise OptionError(f"option 'given' takes {self.given_frames} frames, not {given.shape[1]}")
        first: torch.Tensor = given[:, : self.given_frames].to(request.device)
        return first

    def _read(self, frames: Iterator[torch.Tensor]) -> torch.Tensor:
        """The first frames (1, T, C, H, W) of an iterator over (C, H, W), uint8."""
        first = list(itertools.islice(frames, self.given_frames))
        wrong = [f for f in first if f.dtype != torch.uint8 or tuple(f.shape) != self.image_shape]
        if wrong or not first:
            found = f"{wrong[0].dtype} {tuple(wrong[0].shape)}" if wrong else "none"
            raise OptionError(f"frames of option 'given' must be uint8 {self.image_shape}, not {found}")
        return torch.stack(first)[None]

    def _standing(self, request: SampleRequest, truncation: float) -> dict[str, torch.Tensor]:
        """Statistics of batch normalisation over truncated latents (BigGAN, appendix D), once for a whole call.

        They follow from a seed of their own, so that no sample depends on others.
        """
        key = ("standing", truncation)
        if key not in request.kept:
            with normalised_by(self.generator, statistics_of(self.generator)), measuring(self.generator):
                for first in range(0, STANDING, BATCH):
                    seeds = SampleRequest(0, range(first, first + BATCH), request.device, {}).child("standing")
                    z = truncated(seeds.normal(self.latent_size), truncation)
                    self.generator(self.generator.condition(z, labels_of(seeds, self.classes)), self.frames)
                request.kept[key] = statistics_of(self.generator)
        kept: dict[str, torch.Tensor] = request.kept[key]
        return kept


def truncated(z: torch.Tensor, threshold: float) -> torch.Tensor:
    """Normal noise as that of the normal distribution cut off beyond +-threshold, by equal quantiles."""
    half = math.erf(threshold / math.sqrt(2))  # probability within the threshold
    return torch.erfinv(torch.erf(z.double() / math.sqrt(2)) * half).mul(math.sqrt(2)).to(z.dtype)


@contextmanager
def normalised_by(generator: Generator, statistics: dict[str, torch.Tensor] | None) -> Iterator[None]:
    """Batch normalisation by these running statistics while the block runs; None leaves them."""
    before = {name: generator.get_buffer(name).clone() for name in statistics or {}}
    try:
        for name, value in (statistics or {}).items():
            generator.get_buffer(name).copy_(value)
        yield
    finally:
        for name, value in before.items():
            generator.get_buffer(name).copy_(value)


def statistics_of(generator: Generator) -> dict[str, torch.Tensor]:
    """The running statistics of batch normalisation, by the names of their buffers."""
    norms = (name for name, module in generator.named_modules() if isinstance(module, FrameBatchNorm))
    return {
        f"{name}.{kind}": generator.get_buffer(f"{name}.{kind}").clone() for name in norms for kind in ("mean", "var")
    }
