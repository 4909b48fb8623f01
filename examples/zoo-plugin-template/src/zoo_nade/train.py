"""The objective of NADE: maximum likelihood, by gradient descent (section 3 of the paper).

The paper uses plain stochastic gradients with a decaying rate; Adam with the zoo's warm-up and cosine decay needs no
tuning. The zoo owns everything else: data, device, precision, processes, the moving average, checkpoints.
"""

from __future__ import annotations

import math

import torch
from zoo.media import quantise
from zoo.trainer import warm_cosine


class LikelihoodTrainer:
    """Minimises the negative log-likelihood of the training pictures.

    Args:
        learning_rate: the peak of the schedule.
    """

    def __init__(self, model, settings, accelerator, *, learning_rate: float = 1e-3):
        self.accelerator, self.settings = accelerator, settings
        self.base_rate = learning_rate
        self.levels, self.nats = model.levels, model.nats
        self.dims = math.prod(model.image_shape)
        optimizer = torch.optim.Adam(model.parameters(), lr=self.base_rate)
        self.model, self.optimizer = accelerator.prepare(model, optimizer)

    def modules(self):
        """What a checkpoint must hold, beside the optimizers."""
        return {"model": self.model}

    def optimizers(self):
        return {"model": self.optimizer}

    def step(self, batch, seen):
        """One update; `batch["image"]` holds bytes, `seen` is the number of examples before it."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.base_rate * warm_cosine(seen, self.settings.schedule)
        images = quantise(batch["image"], self.levels)
        nats = self.nats(images, self.model(images)).mean()
        self.accelerator.backward(nats)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return {"nats": nats.detach(), "bits_per_dim": nats.detach() / (self.dims * math.log(2))}
