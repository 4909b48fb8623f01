"""The objective of pix2pix (arXiv 1611.07004, section 3): a conditional GAN and L1.

    G* = arg min_G max_D L_cGAN(G, D) + lambda L_L1(G)                                        (eq. 4)

The losses can be had one by one, as in the paper's ablation (table 1): "l1", "gan", "cgan", "l1+gan", "l1+cgan". GAN
and cGAN differ in what the discriminator sees, which is the model's `conditional`.

As in the authors' code both networks learn from one pass: the discriminator scores an output once, and the generator's
gradient is that of the same scores. The generator minimises -log D, the discriminator's loss is halved (section 3.3).

Shapes: B batch, C channels of the picture, K channels of the condition as the networks see it, H, W height and width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn

from zoo.errors import OptionError
from zoo.nn.adversarial import Loss, Player, discriminator_loss, from_pixels, generator_loss
from zoo.settings import Settings
from zoo_translation.pix2pix import Pix2Pix
from zoo_translation.training import BETAS, RATE, adam, check_share, falling, jitter

if TYPE_CHECKING:
    from accelerate import Accelerator

Losses = Literal["l1", "gan", "cgan", "l1+gan", "l1+cgan"]


class Pix2PixTrainer:
    """cGAN and 100 L1, or either, or with a GAN that does not see the condition.

    Args:
        losses: "l1", "gan", "cgan", "l1+gan" or "l1+cgan".
        l1_weight: lambda, of L1.
        gan_loss: "logistic", the paper's, or "least-squares", "hinge", "wasserstein".
        learning_rate: of Adam.
        betas: of Adam.
        constant: share of the run after which the learning rate falls linearly to 0; 1 leaves it as it is.
        jitter: pixels by which a pair is enlarged before it is cropped at random; 30 at 256 pixels in the paper.
        mirror: show half of the pairs flipped.
    """

    def __init__(
        self,
        model: Pix2Pix,
        settings: Settings,
        accelerator: Accelerator,
        *,
        losses: Losses = "l1+cgan",
        l1_weight: float = 100.0,
        gan_loss: Loss = "logistic",
        learning_rate: float = RATE,
        betas: tuple[float, float] = BETAS,
        constant: float = 1.0,
        jitter: int = 0,
        mirror: bool = False,
    ) -> None:
        check_share("constant", constant)
        if jitter < 0:
            raise ValueError(f"jitter must not be negative, but is {jitter}")
        self.adversarial, self.l1_weight = losses != "l1", l1_weight if "l1" in losses else 0.0
        _check_losses(model, losses)
        self.model, self.settings, self.accelerator = model.to(accelerator.device), settings, accelerator
        self.gan_loss, self.jitter, self.mirror = gan_loss, jitter, mirror
        self.rate, self.constant = learning_rate, constant
        self.players = {"generator": Player(adam(model.generator.parameters(), learning_rate, betas), accelerator)}
        if self.adversarial:
            assert model.discriminator is not None
            parameters = model.discriminator.parameters()
            self.players["discriminator"] = Player(adam(parameters, learning_rate, betas), accelerator)

    def modules(self) -> dict[str, nn.Module]:
        return {"model": self.model}

    def optimizers(self) -> dict[str, Any]:
        return {name: player.optimizer for name, player in self.players.items()}

    def step(self, batch: dict[str, Any], seen: int) -> dict[str, torch.Tensor]:
        for player in self.players.values():
            player.rate(self.rate * falling(seen, self.settings.schedule, self.constant))
        condition, image = self._pairs(batch)
        with self.accelerator.autocast():
            fake = self.model(condition)
            l1 = (fake.float() - image).abs().mean()
            if not self.adversarial:
                self.players["generator"].update(self.l1_weight * l1)
                return {"l1": l1.detach()}
            real_scores, fake_scores = self._scores(condition, image, fake)
            gan = generator_loss(self.gan_loss, fake_scores)
            loss = discriminator_loss(self.gan_loss, real_scores, fake_scores)
            self.players["generator"].update_alone(self.l1_weight * l1 + gan)
            self.players["discriminator"].update_alone(loss / 2)
        scores = {"generator": gan, "discriminator": loss / 2, "real_score": real_scores.mean()}
        return {"l1": l1.detach(), **{name: value.detach() for name, value in scores.items()}}

    def _pairs(self, batch: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
        """Conditions (B, K, H, W) and pictures (B, C, H, W), -1 to 1, jittered alike."""
        pair = [batch["condition"], batch["image"]]
        is_map = bool(self.model.classes)
        condition, image = jitter(pair, self.jitter, mirror=self.mirror, nearest=[is_map, False])
        return self.model.encode(condition), from_pixels(image)

    def _scores(
        self, condition: torch.Tensor, image: torch.Tensor, fake: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Of true pictures and of generated ones, (B, 1, H', W') each."""
        assert self.model.discriminator is not None
        real, made = (self.model.discriminator(self.model.seen(condition, x)) for x in (image, fake))
        return real.float(), made.float()

    @torch.no_grad()
    def evaluate(self, batch: dict[str, Any]) -> dict[str, torch.Tensor]:
        """L1 of held-out pairs, on the scale of -1 to 1 as in training."""
        fake = self.model(self.model.encode(batch["condition"]))
        return {"l1": (fake.float() - from_pixels(batch["image"])).abs().mean()}


def _check_losses(model: Pix2Pix, losses: str) -> None:
    """Raise OptionError unless the model has the discriminator that the losses need."""
    if losses == "l1":
        return
    if model.discriminator is None:
        raise OptionError(f"losses={losses} needs a discriminator; set discriminator=true, or losses=l1")
    if model.conditional != losses.endswith("cgan"):
        wanted = str(losses.endswith("cgan")).lower()
        raise OptionError(f"losses={losses} needs a discriminator built for it: set conditional={wanted}")
