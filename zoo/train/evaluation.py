"""Held-out examples of a run, and what is measured on them."""

from __future__ import annotations

from typing import Any

import torch

from zoo import metrics
from zoo.data.examples import Examples
from zoo.media.images import beside_conditions
from zoo.metrics.choice import choose
from zoo.model import Model
from zoo.sampling import evaluating
from zoo.settings import Settings
from zoo.train.state import averaged
from zoo.trainer import Trainer

SHOWN = 32  # pictures on a sheet of reconstructions


class HeldOut:
    """The held-out examples of a run.

    Attributes:
        seen: examples that were trained on at the last measurement; None before the first.
    """

    def __init__(self, examples: Examples, settings: Settings, model: Model, device: torch.device) -> None:
        self.examples, self.settings, self.model, self.device = examples, settings, model, device
        self.seen: int | None = None
        self._likelihood: tuple[float, int] | None = None  # nats, pictures

    def measure(self, average: Model, trainer: Trainer, seen: int) -> dict[str, Any]:
        """Of the average: the likelihood if it has one, and what its trainer measures, after `seen` examples."""
        values: dict[str, Any] = {}
        if average.has_likelihood:
            nats, count = metrics.likelihood(average, self.examples, limit=self.settings.eval_count)
            bits = metrics.in_unit(nats, "bits_per_dim", average.image_shape)
            values = {"validation/bits_per_dim": round(bits, 6), "validation/nats": round(nats, 4)}
            self._likelihood = (nats, count)
        if hasattr(trainer, "evaluate"):
            with averaged(self.model, average):
                values |= self._by_trainer(trainer)
        self.seen = seen
        return values

    @torch.no_grad()
    def _by_trainer(self, trainer: Any) -> dict[str, Any]:
        """The mean of what the trainer finds in batches of held-out examples."""
        sums: dict[str, float] = {}
        size = self.settings.batch_size
        chosen = choose(len(self.examples), self.settings.eval_count, seed=0)
        with evaluating(self.model):
            for first in range(0, len(chosen), size):
                rows = chosen[first : first + size]
                for name, value in trainer.evaluate(to_device(self.examples.batch(rows), self.device)).items():
                    sums[name] = sums.get(name, 0.0) + float(value) * len(rows)
        return {f"validation/{name}": round(total / len(chosen), 6) for name, total in sums.items()}

    def reconstructions(self, average: Model) -> torch.Tensor:
        """A few pictures (N, C, H, W), uint8, each followed by what the model's encoder keeps of it."""
        pictures = self.examples.batch(range(min(SHOWN, len(self.examples))))["image"]
        return beside_conditions(average.reconstruct(pictures.to(average.device)).cpu(), pictures, 1)

    def receipts(self, average: Model) -> list[dict[str, Any]]:
        """Of the last measured likelihood, for the config and the card; none for a model that has no likelihood."""
        if self._likelihood is None:
            return []
        nats, count = self._likelihood
        reading = {"columns": self.settings.columns, "pairs": self.settings.pairs}
        return [
            metrics.receipt(name, nats, average, self.examples, count, reading=reading) for name in metrics.LIKELIHOODS
        ]


def to_device(batch: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """A batch with its tensors on a device; texts stay lists."""
    return {
        name: values if isinstance(values, list) else values.to(device, non_blocking=True)
        for name, values in batch.items()
    }
