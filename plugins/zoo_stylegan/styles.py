"""What StyleGAN and StyleGAN2 have in common: w, style slots, noise, and what one does with them.

Shapes: B batch, C colour channels, H, W height and width, Z latent size, D size of w, S style slots.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn

from zoo_stylegan.gan import GAN
from zoo_stylegan.layers import doubled
from zoo_stylegan.mapping import Mapping

Noise = Callable[[int, int], torch.Tensor]  # layer and size -> (B or 1, 1, size, size)


class Generator(nn.Module):
    """Mapping and synthesis."""

    def __init__(self, mapping: Mapping, synthesis: nn.Module) -> None:
        super().__init__()
        self.mapping, self.synthesis = mapping, synthesis


class StyleBased(GAN):
    """A GAN whose generator maps z to w, and w, once for each style slot, to pictures."""

    generator: Generator
    style_mixing_prob: float = 0.0

    @property
    def slots(self) -> int:
        """S, styles of a picture."""
        return self.generator.synthesis.slots

    @property
    def latent_shapes(self) -> dict[str, list[tuple[int | None, ...]]]:
        w_size = len(self.generator.mapping.mean_w)
        return {**super().latent_shapes, "w": [(w_size,), (self.slots, w_size)]}

    def styles(self, z: torch.Tensor, label: torch.Tensor | None = None) -> torch.Tensor:
        """Latents (B, Z) and classes (B,) to (B, S, D)."""
        return self.generator.mapping(z, label).unsqueeze(1).expand(-1, self.slots, -1)

    def mixed_styles(self, z: torch.Tensor, label: torch.Tensor | None, probability: float, lod: float) -> torch.Tensor:
        """As `styles`; with some probability the slots from a random one on take a second latent (section 3.1).

        The mean of w follows in passing, as it does in training.
        """
        w = self.generator.mapping(z, label)
        self.generator.mapping.track(w)
        slots = w.unsqueeze(1).expand(-1, self.slots, -1)
        active = self.slots - 2 * int(lod)
        chance, where = torch.rand(2).tolist()
        if probability <= chance or active < 2:
            return slots
        cut = 1 + int(where * (active - 1))
        other = self.generator.mapping(torch.randn_like(z), label).unsqueeze(1)
        return torch.cat([slots[:, :cut], other.expand(-1, self.slots - cut, -1)], 1)

    def fresh_noise(self, batch: int) -> Noise:
        """New noise for each picture and layer."""
        return lambda layer, size: torch.randn(batch, 1, size, size, device=self.device)

    def draw(self, z: torch.Tensor, label: torch.Tensor | None = None, lod: float = 0.0) -> torch.Tensor:
        return self.generator.synthesis(self.styles(z, label), self.fresh_noise(len(z)), lod)

    @property
    def noise_sizes(self) -> list[int]:
        """Height and width of each layer's noise; empty where there is none."""
        buffers = self.generator.synthesis.named_buffers(recurse=False)
        return [buffer.shape[-1] for name, buffer in buffers if name.startswith("noise_")]

    def pictures(self, w: torch.Tensor, noise: Sequence[torch.Tensor] | None = None) -> torch.Tensor:
        """w (B, D), or one for each style slot (B, S, D), to pictures (B, C, H, W), about -1 to 1; differentiable.

        Args:
            w: as `generator.mapping` gives it.
            noise: of each layer, (B or 1, 1, H, W); the stored noise if None.
        """
        slots = w.unsqueeze(1).expand(-1, self.slots, -1) if w.ndim == 2 else w
        chosen = self.generator.synthesis.constant_noise if noise is None else lambda layer, _: noise[layer]
        lod = float(self.lod)
        return doubled(self.generator.synthesis(slots, chosen, lod), int(lod))

    def path_images(self, n: int, seed: int, epsilon: float = 1e-4) -> tuple[torch.Tensor, torch.Tensor]:
        """Pictures at random places of lines between two random w, and a step further, both (n, C, H, W).

        For the perceptual path length (StyleGAN, section 4.1). The two of a pair have the same noise.

        Args:
            n: paths.
            seed: of latents, places, classes and noise.
            epsilon: the step, in parts of the line.
        """
        draw = torch.Generator().manual_seed(seed)
        z = torch.randn(2 * n, self.latent_size, generator=draw)
        place = torch.rand(n, 1, generator=draw)
        label = torch.randint(self.classes, (n,), generator=draw).repeat(2).to(self.device) if self.classes else None
        noise = [torch.randn(n, 1, size, size, generator=draw).to(self.device) for size in self.noise_sizes]
        first, second = self.generator.mapping(z.to(self.device), label).chunk(2)
        place = place.to(self.device)
        return (
            self.pictures(torch.lerp(first, second, place), noise),
            self.pictures(torch.lerp(first, second, place + epsilon), noise),
        )
