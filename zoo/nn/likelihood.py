"""The objective of autoregressive models: maximum likelihood (van den Oord et al., arXiv 1601.06759, section 5)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn

from zoo.media.images import quantise
from zoo.nn.autoregressive import AutoregressiveModel
from zoo.nn.soap import SOAP
from zoo.settings import Settings
from zoo.trainer import warm_cosine

if TYPE_CHECKING:
    from accelerate import Accelerator


class LikelihoodTrainer:
    """Minimises the negative log-likelihood of the training pictures.

    The paper uses RMSProp and picks its learning rate by hand; here Adam or SOAP with a warm-up and a cosine decay.

    Args:
        learning_rate: the peak of the schedule.
        optimizer: "adam", or "soap", which learns as much from less than half the pictures (docs/training.md).
        betas: of either.
        weight_decay: share of the learning rate by which weights shrink at a step (AdamW's), against overfitting.
        warm_up: share of the run in which the learning rate rises.
        last_rate: share of the peak at which the learning rate ends.
        clip_norm: gradients are clipped to this norm.
        corruption: largest share of a picture that its network is shown from another picture instead, against samples
            that follow their own mistakes rather than their condition (docs/training.md); less and less over the run.
    """

    def __init__(
        self,
        model: AutoregressiveModel,
        settings: Settings,
        accelerator: Accelerator,
        *,
        learning_rate: float = 1e-3,
        optimizer: Literal["adam", "soap"] = "adam",
        betas: tuple[float, float] = (0.9, 0.95),
        weight_decay: float = 0.0,
        warm_up: float = 0.01,
        last_rate: float = 0.02,
        clip_norm: float = 1.0,
        corruption: float = 0.0,
    ) -> None:
        if not 0 < learning_rate < math.inf:
            raise ValueError(f"learning_rate must be positive, not {learning_rate}")
        if not clip_norm > 0:
            raise ValueError(f"clip_norm must be positive, not {clip_norm}")
        if not 0 <= warm_up < 1:
            raise ValueError(f"warm_up must be at least 0 and less than 1, not {warm_up}")
        if not 0 <= last_rate <= 1:
            raise ValueError(f"last_rate must be from 0 to 1, not {last_rate}")
        if not 0 <= corruption <= 1:
            raise ValueError(f"corruption must be from 0 to 1, not {corruption}")
        self.accelerator, self.settings, self.corruption = accelerator, settings, corruption
        self.base_rate, self.warm_up, self.last_rate, self.clip_norm = learning_rate, warm_up, last_rate, clip_norm
        make = SOAP if optimizer == "soap" else torch.optim.AdamW
        made = make(model.parameters(), lr=learning_rate, betas=betas, weight_decay=weight_decay)
        self.levels, self.nats, self.conditions = model.levels, model.nats, model.conditions
        self.dims = math.prod(model.image_shape)
        self.model, self.optimizer = accelerator.prepare(model, made)

    def modules(self) -> dict[str, nn.Module]:
        return {"model": self.model}

    def optimizers(self) -> dict[str, Any]:
        return {"model": self.optimizer}

    def step(self, batch: dict[str, Any], seen: int) -> dict[str, torch.Tensor]:
        for group in self.optimizer.param_groups:
            group["lr"] = self.base_rate * warm_cosine(seen, self.settings.schedule, self.warm_up, self.last_rate)
        images = quantise(batch["image"], self.levels)
        share = self.corruption * max(0.0, 1 - seen / self.settings.schedule)
        shown = corrupted(images, share) if share else images
        logits = self.model(shown, **self.conditions(batch, len(images)))
        loss = self.nats(images, logits).mean() / (self.dims * math.log(2))  # bits per dimension
        self.accelerator.backward(loss)
        if self.accelerator.sync_gradients:
            self.accelerator.clip_grad_norm_(self.model.parameters(), self.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return {"bits_per_dim": loss.detach()}


def corrupted(images: torch.Tensor, share: float) -> torch.Tensor:
    """Images (B, C, H, W), each with blocks of the one before it in the batch; a single one stays.

    Args:
        images: of any type.
        share: from 0 to 1; of a picture, a number from 0 to this, drawn for each, is how much of it is replaced.
    """
    n, (height, width), device = len(images), images.shape[2:], images.device
    side = 2 ** int(torch.randint(4, (), device="cpu"))  # of a block, in pixels
    most = share * torch.rand(n, 1, 1, 1, device=device)
    chosen = torch.rand(n, 1, -(-height // side) + 1, -(-width // side) + 1, device=device) < most
    top, left = (int(torch.randint(side, (), device="cpu")) for _ in range(2))
    mask = chosen.repeat_interleave(side, 2).repeat_interleave(side, 3)
    return torch.where(mask[:, :, top : top + height, left : left + width], images.roll(1, 0), images)
