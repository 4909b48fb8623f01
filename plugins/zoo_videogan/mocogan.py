"""MoCoGAN: Tulyakov, Liu, Yang, Kautz: MoCoGAN: Decomposing Motion and Content for Video Generation, CVPR 2018, arXiv
1707.04993.

Against VGAN and TGAN: a latent for each frame. Its content part is drawn once for a clip; its motion part comes from a
recurrent network over noise, so a clip can have any length. Two discriminators look at single frames and at clips; the
second tells categories of motion too, found by itself as in InfoGAN or taught by labels.

Left out: the image-to-video variant (section 4.4 of the paper).

Shapes: B batch, C colour channels, T frames, H, W height and width, Z latent size, M motion size, K categories.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from typing import ClassVar

import torch
from torch import nn

from zoo.errors import OptionError
from zoo.nn.adversarial import AdversarialModel, noise_like, to_pixels
from zoo.request import SampleRequest
from zoo_videogan.clips import SLOPE, check_sizes, labels_of, levels_of, up


class FrameGenerator(nn.Module):
    """The latent of a frame to the frame."""

    def __init__(self, latent_size: int, widths: list[int], channels: int) -> None:
        super().__init__()
        stages = [up(latent_size, widths[0], dims=2, first=(4, 4))]
        stages += [up(a, b, dims=2) for a, b in itertools.pairwise(widths)]
        last = nn.ConvTranspose2d(widths[-1], channels, 4, 2, 1, bias=False)
        self.layers = nn.Sequential(*stages, last, nn.Tanh())

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """(B, Z) to (B, C, H, W) of -1 to 1."""
        frames: torch.Tensor = self.layers(z[:, :, None, None])
        return frames


class Noise(nn.Module):
    """Gaussian noise on what a discriminator's layer sees, in training alone."""

    def __init__(self, deviation: float) -> None:
        super().__init__()
        self.deviation = deviation

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not (self.training and self.deviation):
            return x
        return torch.add(x, noise_like(x), alpha=self.deviation)


class FrameDiscriminator(nn.Module):
    """D_I: single frames to scores of their patches."""

    def __init__(self, channels: int, widths: list[int], noise: float) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for i, (a, b) in enumerate(itertools.pairwise([channels, *widths])):
            layers += [Noise(noise), nn.Conv2d(a, b, 4, 2, 1, bias=False)]
            layers += [nn.BatchNorm2d(b)] if i else []
            layers += [nn.LeakyReLU(SLOPE)]
        self.layers = nn.Sequential(*layers, Noise(noise), nn.Conv2d(widths[-1], 1, 4, 2, 1, bias=False))

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, 1, H', W')."""
        scores: torch.Tensor = self.layers(frames)
        return scores


class ClipDiscriminator(nn.Module):
    """D_V: clips to scores of their parts, and logits of the categories."""

    def __init__(self, channels: int, widths: list[int], categories: int, noise: float) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for i, (a, b) in enumerate(itertools.pairwise([channels, *widths])):
            layers += [Noise(noise), nn.Conv3d(a, b, 4, (1, 2, 2), (0, 1, 1), bias=False)]
            layers += [nn.BatchNorm3d(b)] if i else []
            layers += [nn.LeakyReLU(SLOPE)]
        self.layers = nn.Sequential(*layers, nn.Conv3d(widths[-1], 1 + categories, 4, bias=False))

    def forward(self, clips: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, C, T, H, W) to (B, T'), T' = T - 3 (levels + 1), and (B, K), the mean over the T'."""
        outputs = self.layers(clips)[:, :, :, 0, 0]  # B 1+K T'
        return outputs[:, 0], outputs[:, 1:].mean(2)


class MoCoGAN(AdversarialModel):
    """MoCoGAN.

    Args:
        resolution: H = W, a power of two; 64 in the paper.
        frames: T of the clips that it learns from, and that it draws unless it is asked for others.
        channels: C, 1 or 3.
        content_size: of the latent that a clip's frames have in common.
        motion_size: M, of a frame's own.
        categories: K of motion; 0 for none.
        labelled: whether the labels of the data are the categories; otherwise they are found (InfoGAN).
        width: features of the last stage of the generator, and of the discriminators' first; they double towards 4x4.
        noise: deviation of the noise on what the discriminators' layers see.
        discriminator: whether there are any; released weights come without.
    """

    training_only: ClassVar[tuple[str, ...]] = ("frame_discriminator", "clip_discriminator")
    sample_batch_size: ClassVar[int] = 16
    channels_last: ClassVar[bool] = False  # 32 clips a second without, 24 with it, at 32 pixels
    frame_discriminator: FrameDiscriminator | None
    clip_discriminator: ClipDiscriminator | None

    def __init__(
        self,
        *,
        resolution: int = 64,
        frames: int = 16,
        channels: int = 3,
        content_size: int = 50,
        motion_size: int = 10,
        categories: int = 0,
        labelled: bool = False,
        width: int = 64,
        noise: float = 0.1,
        discriminator: bool = True,
    ) -> None:
        super().__init__()
        check_sizes(channels, content_size=content_size, motion_size=motion_size, width=width)
        levels = levels_of(resolution)
        if categories < 0 or noise < 0 or (labelled and not categories):
            raise ValueError("categories and noise must not be negative, and labelled needs categories")
        if frames < (least := 3 * levels + 4):
            raise ValueError(f"the clip discriminator needs {least} frames at {resolution} pixels, not {frames}")
        self.image_shape, self.frames = (channels, resolution, resolution), frames
        self.content_size, self.motion_size = content_size, motion_size
        self.categories, self.labelled = categories, labelled
        widths = [width << i for i in range(levels)]
        self.generator = FrameGenerator(content_size + categories + motion_size, widths[::-1], channels)
        self.recurrence = nn.GRUCell(motion_size, motion_size)
        self.frame_discriminator = self.clip_discriminator = None
        if discriminator:
            self.frame_discriminator = FrameDiscriminator(channels, widths[: max(1, levels - 1)], noise)
            self.clip_discriminator = ClipDiscriminator(channels, widths, categories, noise)

    @property
    def label_classes(self) -> int | None:
        return self.categories or None

    @property
    def condition_names(self) -> tuple[str, ...]:
        return ("label",) if self.labelled else ()

    def motion(self, state: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Motion parts (B, T, M) of T frames from the first state (B, M) and noise (B, T, M)."""
        states = []
        for inputs in noise.unbind(1):
            state = self.recurrence(inputs, state)
            states.append(state)
        return torch.stack(states, 1)

    def latents(self, content: torch.Tensor, category: torch.Tensor | None, motion: torch.Tensor) -> torch.Tensor:
        """Parts (B, content_size), (B,) of 0 to K - 1, and (B, T, M) to the latents of the frames (B, T, Z)."""
        constant = [content]
        if category is not None:
            constant.append(nn.functional.one_hot(category, self.categories).to(content.dtype))
        still = torch.cat(constant, 1).unsqueeze(1).expand(-1, motion.shape[1], -1)
        return torch.cat([still, motion], 2)

    @property
    def latent_shapes(self) -> dict[str, list[tuple[int | None, ...]]]:
        return {"z": [(None, self.content_size + self.categories + self.motion_size)]}

    def latent_of(self, request: SampleRequest) -> torch.Tensor:
        """The latents of all frames of a request, (B, T, Z): content, category and motion side by side."""
        return torch.stack(list(self.frame_latents(request)), 1)

    def draw(self, request: SampleRequest) -> Iterator[torch.Tensor]:
        """The frames of a request one by one, (B, C, H, W), uint8."""
        for z in self.frame_latents(request) if request.options["z"] is None else self._given(request):
            yield to_pixels(self.generator(z))

    def _given(self, request: SampleRequest) -> Iterator[torch.Tensor]:
        """The latents (B, Z) of option `z`, frame by frame, as many as are asked for."""
        z = request.options["z"].to(request.device)
        for name in ("label", "motions"):
            if request.options[name] is not None:
                raise OptionError(f"options 'z' and '{name}' exclude each other")
        if request.frames is not None and request.frames > z.shape[1]:
            frames, given = request.frames, z.shape[1]
            raise OptionError(f"option 'z' has latents for {given} frames, not for {frames}; take frames={given}")
        yield from z[:, : request.frames].unbind(1)

    def frame_latents(self, request: SampleRequest) -> Iterator[torch.Tensor]:
        """The latents (B, Z) of a request by its noise, frame by frame: frame t's noise does not depend on T."""
        moving = request
        if (columns := request.options.get("motions")) is not None:
            # A table: the contents of its first column along the rows, the motions of its first row along the columns.
            columns += 1
            rows = [i // columns * columns for i in request.indices]
            moving = dataclasses.replace(request, indices=[i % columns for i in request.indices])
            request = dataclasses.replace(request, indices=rows)
        content = request.child("content").normal(self.content_size)
        category = labels_of(moving, self.categories, stream="category", what="categories")
        state = moving.child("motion").normal(self.motion_size)
        for t in range(moving.frames) if moving.frames is not None else itertools.count():
            noise = moving.child(f"frame {t}").normal(1, self.motion_size)
            motion = self.motion(state, noise)  # B 1 M
            state = motion[:, 0]
            yield self.latents(content, category, motion)[:, 0]
