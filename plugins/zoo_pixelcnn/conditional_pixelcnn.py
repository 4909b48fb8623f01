"""Conditional PixelCNN: van den Oord, Kalchbrenner, Vinyals, Espeholt, Graves, Kavukcuoglu, Conditional Image
Generation with PixelCNN Decoders, NeurIPS 2016, arXiv 1606.05328, section 2.3.

Against Gated PixelCNN: a vector h enters every gate of both stacks, y = tanh(W x + V^T h) * sigmoid(W x + V^T h) (eq. 3
and 4), V without bias. With V = 0 it is Gated PixelCNN. h is a class in one-hot form, a vector that is given, or a map
with one vector a pixel, on which V is a 1x1 convolution (eq. 5, with s given). Left out: captions, and the
deconvolutional network that makes s.

Shapes: B batch, N pictures, C colour channels, H, W height and width, L levels, K classes, F features of h.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch.nn import functional as F

from zoo.errors import OptionError
from zoo.sampling import SampleRequest
from zoo_pixelcnn.gated_pixelcnn import GatedPixelCNN


class ConditionalPixelCNN(GatedPixelCNN):
    """Gated PixelCNN conditioned on a class, a vector or a map.

    Without a label, a model of classes is the mixture of all of them in equal parts: `sample` draws a class for each
    picture, and `log_prob` sums over them.

    Args:
        condition: "label", "vector" or "map".
        condition_size: K for "label", else F.
        image_shape: (C, H, W).
        levels: L, values of a sub-pixel.
        n_layers: gated layers, the first included.
        width: p, features of each stack, a multiple of C.
        kernel_size: of all layers but the first, odd.
        head_width: features of the head.
    """

    def __init__(
        self,
        *,
        condition: Literal["label", "vector", "map"] = "label",
        condition_size: int = 10,
        image_shape: tuple[int, int, int] = (3, 32, 32),
        levels: int = 256,
        n_layers: int = 15,
        width: int = 126,
        kernel_size: int = 3,
        head_width: int = 512,
    ) -> None:
        if condition_size < 1:
            raise ValueError(f"condition_size must be at least 1, not {condition_size}")
        self.condition_features = condition_size
        super().__init__(
            image_shape=image_shape,
            levels=levels,
            n_layers=n_layers,
            width=width,
            kernel_size=kernel_size,
            head_width=head_width,
        )
        self.condition = condition
        self.condition_names = (condition,)

    def conditions(self, source: Mapping[str, Any], n: int) -> dict[str, torch.Tensor]:
        """h of n pictures, as `forward` takes it; `source` holds "label", "vector" or "map"."""
        given = source.get(self.condition)
        if given is None:
            raise OptionError(f"this model is conditioned on a {self.condition}; give {self.condition}=...")
        return {"condition": self._one_hot(given, n) if self.condition == "label" else self._features(given, n)}

    def _one_hot(self, given: Any, n: int) -> torch.Tensor:
        labels = torch.as_tensor(given, device=self.device)
        labels = labels.expand(n) if labels.ndim == 0 or len(labels) == 1 else labels
        last = self.condition_features - 1
        if labels.shape != (n,) or labels.is_floating_point():
            found = f"{tuple(labels.shape)} of {labels.dtype}"
            raise OptionError(f"label must be one class, or one for each of the {n} pictures, not {found}")
        if n and not (int(labels.min()) >= 0 and int(labels.max()) <= last):
            raise OptionError(f"label must be from 0 to {last}, not {int(labels.min())} to {int(labels.max())}")
        return F.one_hot(labels.long(), last + 1).to(self.dtype)[:, :, None, None]  # B K 1 1

    def _features(self, given: Any, n: int) -> torch.Tensor:
        place = self.image_shape[1:] if self.condition == "map" else ()
        wanted = (n, self.condition_features, *place)
        h = torch.as_tensor(given, dtype=self.dtype, device=self.device)
        if tuple(h.shape) != wanted:
            raise OptionError(f"{self.condition} must be {wanted}, not {tuple(h.shape)}")
        return h if self.condition == "map" else h[:, :, None, None]

    def log_prob(self, images: torch.Tensor, *, batch_size: int = 128, **conditions: Any) -> torch.Tensor:
        """Exact log-likelihood given a label, a vector or a map; without a label, of the mixture of all classes.

        Args:
            images: (N, C, H, W), integers from 0 to L - 1.
            batch_size: pictures per pass.
            conditions: label=3 or (N,); vector=(N, F); map=(N, F, H, W).

        Returns:
            (N,) nats.
        """
        if self.condition == "label" and conditions.get("label") is None:
            joint = self.class_log_probs(images, batch_size=batch_size)  # N K
            return joint.logsumexp(1) - math.log(self.condition_features)
        return super().log_prob(images, batch_size=batch_size, **conditions)

    def class_log_probs(self, images: torch.Tensor, *, batch_size: int = 128) -> torch.Tensor:
        """log p(x | class) of every class, (N, K) nats; its softmax is the class posterior by Bayes' rule."""
        classes = range(self.condition_features)
        columns = [super(ConditionalPixelCNN, self).log_prob(images, batch_size=batch_size, label=k) for k in classes]
        return torch.stack(columns, 1)


def draw_labels(model: ConditionalPixelCNN, request: SampleRequest) -> None:
    """Without a label, draw a class for each sample, from its own noise: the picture is that of the label given."""
    if model.condition != "label":
        return
    drawn = (request.uniform() * model.condition_features).long().clamp_(max=model.condition_features - 1)
    if request.options["label"] is None:
        request.options["label"] = drawn.tolist()
