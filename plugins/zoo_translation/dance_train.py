"""The objective of Everybody Dance Now (arXiv 1808.07371, sections 4.2 to 4.4).

    min_G ( max_D L_smooth(G, D) + lambda_FM L_FM(G, D) + lambda_VGG L_VGG )                   (eq. 6)
    min_Gf ( max_Df L_face(Gf, Df) + lambda_VGG L_VGG )                                        (eq. 7)

The second of two frames is drawn from the first one drawn, and its gradient flows through that. The GAN is the least
squares one, as in pix2pixHD; discriminators learn from the same pass as the generators, their loss is halved.

What differs: the perceptual loss of VGG19 is left out, whose weights are not part of the zoo. Where a little of it is
missed, `l1_weight` compares pixels instead; the detail network matches features of its discriminator. Windows may be
longer than two frames; each two in succession are judged.

Shapes: B batch, T frames, C channels of a frame, K channels of a condition as the networks see it, H, W height and
width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional as F

from zoo.errors import OptionError
from zoo.nn.adversarial import Player, discriminator_loss, from_pixels, generator_loss
from zoo.settings import Settings
from zoo_translation.everybody_dance_now import EverybodyDanceNow
from zoo_translation.training import BETAS, RATE, adam, check_share, falling

if TYPE_CHECKING:
    from accelerate import Accelerator

Features = list[list[torch.Tensor]]  # scale by scale, layer by layer, the scores last


class DanceTrainer:
    """Least squares on pairs of frames, feature matching, and the same for the crops of the detail network.

    Args:
        feature_weight: lambda_FM, of feature matching.
        l1_weight: of L1 between pixels; 0 in the paper.
        learning_rate: of Adam.
        betas: of Adam.
        constant: share of the run after which the learning rate falls linearly to 0; half in the paper.
        mirror: show half of the clips flipped.
    """

    def __init__(
        self,
        model: EverybodyDanceNow,
        settings: Settings,
        accelerator: Accelerator,
        *,
        feature_weight: float = 10.0,
        l1_weight: float = 0.0,
        learning_rate: float = RATE,
        betas: tuple[float, float] = BETAS,
        constant: float = 0.5,
        mirror: bool = False,
    ) -> None:
        check_share("constant", constant)
        if model.discriminator is None:
            raise OptionError(f"this {model.spec.name} was built without a discriminator; set discriminator=true")
        self.model, self.settings, self.accelerator = model.to(accelerator.device), settings, accelerator
        self.feature_weight, self.l1_weight, self.mirror = feature_weight, l1_weight, mirror
        self.rate, self.constant = learning_rate, constant
        networks = ("generator", "discriminator", "detail", "detail_discriminator")
        parts = {name: getattr(model, name) for name in networks}
        self.players = {
            name: Player(adam(part.parameters(), learning_rate, betas), accelerator)
            for name, part in parts.items()
            if part is not None
        }

    def modules(self) -> dict[str, nn.Module]:
        return {"model": self.model}

    def optimizers(self) -> dict[str, Any]:
        return {name: player.optimizer for name, player in self.players.items()}

    def step(self, batch: dict[str, Any], seen: int) -> dict[str, torch.Tensor]:
        for player in self.players.values():
            player.rate(self.rate * falling(seen, self.settings.schedule, self.constant))
        condition, real, joints = self._clips(batch)
        with self.accelerator.autocast():
            drawn, refined, corners = self._draw(condition, joints, real.shape[2], batch.get("label"))
            l1 = (drawn.float() - real).abs().mean()
            loss, metrics = self._adversarial(pairs(condition, real), pairs(condition, drawn), "discriminator")
            self.players["generator"].update_alone(loss + self.l1_weight * l1)
            self.players["discriminator"].update_alone(metrics["discriminator"])
            if self.model.detail is not None:
                metrics |= self._detail_step(condition, real, refined, corners)
        return {"l1": l1.detach(), **{name: value.detach() for name, value in metrics.items()}}

    def _clips(self, batch: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """Conditions (B, T, K, H, W), frames (B, T, C, H, W), -1 to 1, and joints (B, T, J, 2)."""
        model, real, condition = self.model, from_pixels(batch["video"]), batch["condition"]
        joints = batch["joints"].float() if model.joints else None
        if self.mirror:
            flip = (torch.rand(len(real)) < 0.5).to(real.device).view(-1, 1, 1, 1, 1)
            real, condition = (torch.where(flip, x.flip(4), x) for x in (real, condition))
            if joints is not None:
                x, y = joints.unbind(3)
                joints = torch.stack([torch.where(flip[..., 0, 0], real.shape[4] - x, x), y], 3)
        reference = real[:, 0] if model.reference else None
        first = 1 if model.reference else 0
        encoded = model.encode(condition[:, first:], batch.get("label"), reference)
        return encoded, real[:, first:], joints[:, first:] if joints is not None else None

    def _draw(
        self, condition: torch.Tensor, joints: torch.Tensor | None, channels: int, label: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor, list[list[tuple[int, int]]]]:
        """Clips (B, T, C, H, W) without and with detail, and where its crops are, frame by frame."""
        batch, frames, _, height, width = condition.shape
        previous = condition.new_zeros(batch, channels, height, width)
        drawn, refined, corners = [], [], []
        for t in range(frames):
            corners.append(self.model.corners(None if joints is None else joints[:, t], batch))
            frame = self.model.draw(condition[:, t], previous, label)
            better = self.model.refine(condition[:, t], frame.detach(), corners[-1], label)
            previous = frame + (better - frame).detach()  # what is drawn next sees the detail; its gradient does not
            drawn.append(frame)
            refined.append(better)
        return torch.stack(drawn, 1), torch.stack(refined, 1), corners

    def _detail_step(
        self,
        condition: torch.Tensor,
        real: torch.Tensor,
        refined: torch.Tensor,
        corners: list[list[tuple[int, int]]],
    ) -> dict[str, torch.Tensor]:
        """The residual of the crops, judged frame by frame."""
        places = [corner for frame in zip(*corners, strict=True) for corner in frame]  # in the order of B T
        true, made = (self.model.crops(torch.cat([condition, x], 2).flatten(0, 1), places) for x in (real, refined))
        loss, metrics = self._adversarial(true, made, "detail_discriminator")
        l1 = (true - made)[:, condition.shape[2] :].abs().mean()
        self.players["detail"].update_alone(loss + self.l1_weight * l1)
        self.players["detail_discriminator"].update_alone(metrics["discriminator"])
        return {f"detail_{name}": value for name, value in metrics.items()}

    def _adversarial(
        self, real: torch.Tensor, made: torch.Tensor, name: str
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """What a generator minimises, and the losses by name; of them "discriminator" is what that one minimises."""
        network = getattr(self.model, name)
        true, false = (_by_scale(network.features(x)) for x in (real, made))
        gan = sum_of(generator_loss("least-squares", b[-1].float()) for b in false)
        judged = sum_of(
            discriminator_loss("least-squares", a[-1].float(), b[-1].float()) for a, b in zip(true, false, strict=True)
        )
        features = feature_loss(true, false)
        metrics = {"generator": gan, "features": features, "discriminator": judged / 2}
        return gan + self.feature_weight * features, metrics

    @torch.no_grad()
    def evaluate(self, batch: dict[str, Any]) -> dict[str, torch.Tensor]:
        """L1 of held-out windows, on the scale of -1 to 1."""
        mirror, self.mirror = self.mirror, False
        condition, real, joints = self._clips(batch)
        self.mirror = mirror
        refined = self._draw(condition, joints, real.shape[2], batch.get("label"))[1]
        return {"l1": (refined.float() - real).abs().mean()}


def pairs(condition: torch.Tensor, video: torch.Tensor) -> torch.Tensor:
    """Each two frames in succession with conditions: (B, T, K, H, W), (B, T, C, H, W) -> (B (T-1), 2K+2C, H, W)."""
    both = torch.cat([condition, video], 2)
    return torch.cat([both[:, :-1], both[:, 1:]], 2).flatten(0, 1)


def feature_loss(real: Features, made: Features) -> torch.Tensor:
    """L1 between what the layers of a discriminator make of true and of generated pictures, the mean over scales.

    Weighted 4 / (layers + 1), as in pix2pixHD's code, which is 1 for a patch of 70 pixels.
    """
    scales = []
    for a, b in zip(real, made, strict=True):
        layers = [F.l1_loss(y.float(), x.detach().float()) for x, y in zip(a[:-1], b[:-1], strict=True)]
        scales.append(4 / len(layers) * sum_of(layers))
    return sum_of(scales) / len(scales)


def sum_of(values: Any) -> torch.Tensor:
    """The sum of scalars, at least one."""
    return torch.stack(list(values)).sum()


def _by_scale(found: Any) -> Features:
    """What a discriminator of one scale gives, as one of several does."""
    return found if isinstance(found[0], list) else [found]
