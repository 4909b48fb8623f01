"""What the GANs of this plugin have in common: pictures from latents, growth, and what is left out of released weights.

Shapes: B batch, C colour channels, H, W height and width, Z latent size, K classes.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional as F

from zoo.errors import OptionError
from zoo.nn.adversarial import AdversarialModel
from zoo.request import SampleRequest
from zoo_stylegan.layers import levels_of


@dataclass(frozen=True)
class Growth:
    """The schedule of growing (Progressive GAN, appendix A): at each resolution some pictures stable, then a fade.

    Attributes:
        level, start: log2 of the last and the first resolution.
        stable, fade: pictures seen at a resolution, and while the next one is faded in.
    """

    level: int
    start: int
    stable: int
    fade: int

    def lod(self, seen: int) -> float:
        """The level of detail that is missing after `seen` pictures, from level - start down to 0."""
        stages, rest = divmod(seen, self.stable + self.fade)
        faded = max(rest - self.stable, 0) / self.fade if self.fade else 0.0
        return max(float(self.level - self.start - stages) - faded, 0.0)


class GAN(AdversarialModel):
    """A generator and a discriminator of pictures; `draw` and `judge` are theirs.

    Args:
        resolution: height and width of the pictures, a power of two.
        channels: C, 1 or 3.
        classes: K; 0 for none.
        latent_size: Z.
        group: pictures over which the minibatch standard deviation is taken.
    """

    generator: nn.Module
    discriminator: nn.Module | None
    lod: torch.Tensor
    growth: Growth | None = None
    sample_batch_size: ClassVar[int] = 16

    def __init__(self, *, resolution: int, channels: int, classes: int, latent_size: int, group: int) -> None:
        super().__init__()
        if channels not in (1, 3):
            raise ValueError(f"channels must be 1 or 3, not {channels}")
        if classes < 0 or latent_size < 1:
            raise ValueError("classes must not be negative, latent_size at least 1")
        if group < 1:
            raise ValueError(f"group must be at least 1, not {group}")
        self.level = levels_of(resolution)
        self.image_shape = (channels, resolution, resolution)
        self.classes, self.latent_size = classes, latent_size
        self.register_buffer("lod", torch.zeros(()))

    @property
    def label_classes(self) -> int | None:
        return self.classes or None

    @property
    def condition_names(self) -> tuple[str, ...]:
        """Columns of the data that training needs."""
        return ("label",) if self.classes else ()

    @property
    def latent_shapes(self) -> dict[str, list[tuple[int | None, ...]]]:
        return {"z": [(self.latent_size,)]}

    def latent_of(self, request: SampleRequest) -> torch.Tensor:
        """z (B, Z), standard normal."""
        return request.normal(self.latent_size)

    def grows(self, start_resolution: int, stable_images: int, fade_images: int) -> None:
        """Begin at a low resolution, at most the last; raises ValueError for one that makes no sense."""
        start = min(levels_of(start_resolution, "start_resolution"), self.level)
        if stable_images < 1 or fade_images < 0:
            raise ValueError("stable_images must be at least 1, fade_images must not be negative")
        self.growth = Growth(self.level, start, stable_images, fade_images)

    @abstractmethod
    def draw(self, z: torch.Tensor, label: torch.Tensor | None = None, lod: float = 0.0) -> torch.Tensor:
        """Latents (B, Z) and classes (B,) to pictures (B, C, H, W), about -1 to 1, H = W = 2^(level - floor(lod))."""

    @abstractmethod
    def judge(
        self, images: torch.Tensor, label: torch.Tensor | None = None, lod: float = 0.0
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Pictures (B, C, H, W) to scores (B,), high for real ones, and logits of an auxiliary classifier (B, K)."""


def one_hot(label: torch.Tensor, classes: int) -> torch.Tensor:
    """Classes (B,) as (B, K), float32."""
    return F.one_hot(label, classes).float()


def check_labels(label: torch.Tensor, classes: int) -> torch.Tensor:
    """Classes (B,) of int64; raises OptionError for one that the model has not."""
    if not classes:
        raise OptionError("option 'label': this model knows no classes")
    if int(label.min()) < 0 or int(label.max()) >= classes:
        wrong = label[(label < 0) | (label >= classes)][0]
        raise OptionError(f"option 'label' takes an integer from 0 to {classes - 1}, not {int(wrong)}")
    return label
