"""The objective of autoregressive models: maximum likelihood (van den Oord et al., arXiv 1601.06759, section 5)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from zoo.media import quantise
from zoo.nn.autoregressive import AutoregressiveModel
from zoo.settings import Settings
from zoo.trainer import warm_cosine

if TYPE_CHECKING:
    from accelerate import Accelerator


class LikelihoodTrainer:
    """Minimises the negative log-likelihood of the training pictures.

    The paper uses RMSProp and picks its learning rate by hand; here Adam with a warm-up and a cosine decay, and
    gradients clipped to norm 1.
    """

    learning_rate = 1e-3

    def __init__(self, model: AutoregressiveModel, settings: Settings, accelerator: Accelerator) -> None:
        self.accelerator, self.settings = accelerator, settings
        self.base_rate = settings.learning_rate or self.learning_rate
        optimizer = torch.optim.Adam(model.parameters(), lr=self.base_rate, betas=(0.9, 0.95))
        self.levels, self.nats, self.conditions = model.levels, model.nats, model.conditions
        self.dims = math.prod(model.image_shape)
        self.model, self.optimizer = accelerator.prepare(model, optimizer)

    def modules(self) -> dict[str, nn.Module]:
        return {"model": self.model}

    def optimizers(self) -> dict[str, Any]:
        return {"model": self.optimizer}

    def step(self, batch: dict[str, Any], seen: int) -> dict[str, torch.Tensor]:
        for group in self.optimizer.param_groups:
            group["lr"] = self.base_rate * warm_cosine(seen, self.settings.examples)
        images = quantise(batch["image"], self.levels)
        logits = self.model(images, **self.conditions(batch, len(images)))
        loss = self.nats(images, logits).mean() / (self.dims * math.log(2))  # bits per dimension
        self.accelerator.backward(loss)
        if self.accelerator.sync_gradients:
            self.accelerator.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return {"bits_per_dim": loss.detach()}
