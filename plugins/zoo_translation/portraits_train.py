"""The objective of Deep Video Portraits (arXiv 1805.11714, section 5.2): a conditional GAN and L1, as pix2pix's.

Shapes: B batch, T frames, K channels of a frame's conditions, C channels of a frame, H, W height and width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from zoo.errors import OptionError
from zoo.nn.adversarial import Player, discriminator_loss, from_pixels, generator_loss
from zoo.settings import Settings
from zoo_translation.deep_video_portraits import DeepVideoPortraits
from zoo_translation.training import BETAS, RATE, adam

if TYPE_CHECKING:
    from accelerate import Accelerator


class PortraitsTrainer:
    """cGAN and L1; both networks learn from one pass.

    Args:
        learning_rate: of Adam.
        betas: of Adam.
        l1_weight: of L1.
    """

    def __init__(
        self,
        model: DeepVideoPortraits,
        settings: Settings,
        accelerator: Accelerator,
        *,
        learning_rate: float = RATE,
        betas: tuple[float, float] = BETAS,
        l1_weight: float = 100.0,
    ) -> None:
        if model.discriminator is None:
            raise OptionError(f"this {model.spec.name} was built without a discriminator; set discriminator=true")
        self.model, self.settings, self.accelerator = model.to(accelerator.device), settings, accelerator
        self.l1_weight = l1_weight
        self.players = {
            name: Player(adam(network.parameters(), learning_rate, betas), accelerator)
            for name, network in (("generator", model.generator), ("discriminator", model.discriminator))
        }

    def modules(self) -> dict[str, nn.Module]:
        return {"model": self.model}

    def optimizers(self) -> dict[str, Any]:
        return {name: player.optimizer for name, player in self.players.items()}

    def step(self, batch: dict[str, Any], seen: int) -> dict[str, torch.Tensor]:
        model = self.model
        assert model.discriminator is not None
        seen_conditions, real = self._last(batch)
        with self.accelerator.autocast():
            fake = model.generator(seen_conditions)
            l1 = (fake.float() - real).abs().mean()
            scores = [model.discriminator(torch.cat([seen_conditions, x], 1)).float() for x in (real, fake)]
            gan, judged = generator_loss("logistic", scores[1]), discriminator_loss("logistic", *scores) / 2
            self.players["generator"].update_alone(self.l1_weight * l1 + gan)
            self.players["discriminator"].update_alone(judged)
        return {"l1": l1.detach(), "generator": gan.detach(), "discriminator": judged.detach()}

    def _last(self, batch: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
        """The conditions of windows (B, T K, H, W) and the frames at their ends (B, C, H, W), -1 to 1."""
        return self.model.encode(batch).flatten(1, 2), from_pixels(batch["video"][:, -1])

    @torch.no_grad()
    def evaluate(self, batch: dict[str, Any]) -> dict[str, torch.Tensor]:
        """L1 of held-out windows, on the scale of -1 to 1."""
        seen_conditions, real = self._last(batch)
        return {"l1": (self.model.generator(seen_conditions).float() - real).abs().mean()}
