"""Conditional PixelCNN: van den Oord, Kalchbrenner, Vinyals, Espeholt, Graves, Kavukcuoglu, Conditional Image
Generation with PixelCNN Decoders, NeurIPS 2016, arXiv 1606.05328, section 2.3.

Against Gated PixelCNN: a vector h enters every gate of both stacks, y = tanh(W x + V^T h) * sigmoid(W x + V^T h) (eq. 3
and 4), V without bias. With V = 0 it is Gated PixelCNN. h is a class in one-hot form, a vector that is given, or a map
with one vector a pixel, on which V is a 1x1 convolution (eq. 5, with s given); or a network makes a map s = m(h) of it,
so that h may say something else at every pixel (`location.py`). Beyond the paper, h may be a caption, read by an
encoder of ours that is trained jointly (`text_encoder.py`).

Shapes: B batch, N pictures, C colour channels, H, W height and width, L levels, K classes, F features of h, S maps of
s, T characters.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch.nn import functional as F

from zoo.errors import OptionError, told
from zoo.request import SampleRequest
from zoo.seeds import derive_seed
from zoo_pixelcnn.cached import CachedGatedPixelCNN
from zoo_pixelcnn.gated_pixelcnn import GatedPixelCNN
from zoo_pixelcnn.location import LocationNetwork
from zoo_pixelcnn.text_encoder import TextEncoder, check_text, encode

CONDITIONS = ("label", "vector", "map", "text")


class ConditionalPixelCNN(GatedPixelCNN):
    """Gated PixelCNN conditioned on a class, a vector, a map or a text.

    Without a label, a model of classes is the mixture of all of them in equal parts: `sample` draws a class for each
    picture, and `log_prob` sums over them. A model of texts is trained and measured on the captions of the data.

    Args:
        condition: "label", "vector", "map" or "text".
        condition_size: K for "label", else F.
        location_maps: S of s = m(h), which the gates read in place of h; 0 for h itself, the same at all pixels.
        caption_words: for "text", rows of a table of word vectors beside the encoder of characters; 0 for none.
        sample_texts: for "text", the captions whose pictures `sample` draws in turn if it is given none.
        image_shape: (C, H, W).
        levels: L, values of a sub-pixel.
        n_layers: gated layers, the first included.
        width: p, features of each stack, a multiple of C.
        kernel_size: of all layers but the first, odd.
        head_width: features of the head.
        skip_connections: as of Gated PixelCNN.
    """

    def __init__(
        self,
        *,
        condition: Literal["label", "vector", "map", "text"] = "label",
        condition_size: int = 10,
        location_maps: int = 0,
        caption_words: int = 0,
        sample_texts: tuple[str, ...] = (),
        image_shape: tuple[int, int, int] = (3, 32, 32),
        levels: int = 256,
        n_layers: int = 15,
        width: int = 126,
        kernel_size: int = 3,
        head_width: int = 512,
        skip_connections: bool = False,
    ) -> None:
        if condition_size < 1:
            raise ValueError(f"condition_size must be at least 1, not {condition_size}")
        if (sample_texts or caption_words) and condition != "text":
            raise ValueError(f"sample_texts and caption_words are for a model of texts, not of a {condition}")
        if caption_words < 0:
            raise ValueError(f"caption_words must be at least 0, not {caption_words}")
        if location_maps < 0 or (location_maps and condition == "map"):
            raise ValueError(f"location_maps must be at least 0, and 0 with a condition of maps, not {location_maps}")
        encode(sample_texts)  # raises OptionError
        self.condition_size, self.condition_features = condition_size, location_maps or condition_size
        super().__init__(
            image_shape=image_shape,
            levels=levels,
            n_layers=n_layers,
            width=width,
            kernel_size=kernel_size,
            head_width=head_width,
            skip_connections=skip_connections,
        )
        self.condition, self.sample_texts = condition, sample_texts
        self.condition_names = ("caption",) if condition == "text" else (condition,)
        self.label_classes = condition_size if condition == "label" else None
        if condition == "text":
            self.encoder = TextEncoder(condition_size, caption_words)
        self.locate = LocationNetwork(condition_size, location_maps, image_shape[1:]) if location_maps else None

    @property
    def batch_shapes(self) -> dict[str, tuple[int, ...]]:
        place = {"vector": (), "map": self.image_shape[1:]}
        own = {self.condition: (self.condition_size, *place[self.condition])} if self.condition in place else {}
        return {**super().batch_shapes, **own}

    def examples(self, n: int, seed: int = 0) -> dict[str, Any]:
        """Normal vectors or maps, for a model that draws nothing without."""
        shape = self.batch_shapes[self.condition_names[0]]
        if not shape:
            return {}
        draws = [torch.Generator().manual_seed(derive_seed(seed, "example", i)) for i in range(n)]
        drawn = [torch.randn(shape, generator=draw) for draw in draws]
        return {self.condition: torch.stack(drawn) if n else torch.zeros(0, *shape)}

    def check_captions(self, captions: Sequence[str | None]) -> None:
        if self.condition == "text":
            for caption in captions:
                check_text("" if caption is None else caption)

    def check_options(self, options: Mapping[str, Any]) -> None:
        super().check_options(options)
        self.check_names(name for name in CONDITIONS if options[name] is not None)
        text = options["text"]
        self.check_captions([text] if isinstance(text, str) else text or ())

    def conditions(self, source: Mapping[str, Any], n: int) -> dict[str, torch.Tensor]:
        """What n pictures are conditioned on, as `forward` takes it: h, or the codes of texts.

        Args:
            source: holds "label", "vector", "map", or as "text" or "caption" one text or n.
            n: how many pictures.
        """
        given = source.get(self.condition)
        if given is None and self.condition == "text":
            given = source.get("caption")
        if given is None:
            data = ", or data with captions" if self.condition == "text" else ""
            raise OptionError(f"this model is conditioned on a {self.condition}; give {self.condition}=...{data}")
        read = {"label": self._one_hot, "text": self._codes}.get(self.condition, self._features)
        return {"condition": read(given, n)}

    def check_names(self, given: Iterable[str]) -> None:
        """Raise OptionError for a condition of another model."""
        for name in given:
            if name not in (self.condition, *self.condition_names):
                raise OptionError(f"this model is conditioned on a {self.condition}, not on a {name}")

    def forward(self, images: torch.Tensor, condition: torch.Tensor | None = None) -> torch.Tensor:
        """Logits (B, L, C, H, W) of images (B, C, H, W), 0 to L - 1; the condition as `conditions` gives it."""
        return super().forward(images, self._h(condition))

    def cached(self, batch: int, condition: torch.Tensor | None = None) -> CachedGatedPixelCNN:
        """This network evaluated sub-pixel by sub-pixel, for `batch` pictures."""
        return CachedConditionalPixelCNN(self, batch, condition)

    def _h(self, condition: torch.Tensor | None) -> torch.Tensor | None:
        """What the gates read of what `conditions` gives: h (B, F, 1, 1) or (B, F, H, W), or s (B, S, H, W)."""
        if condition is not None and self.condition == "text":
            condition = self.encoder(condition)[:, :, None, None]  # B F 1 1
        return condition if condition is None or self.locate is None else self.locate(condition)

    def _one_hot(self, given: Any, n: int) -> torch.Tensor:
        labels = _numbers("label", given)
        labels = labels.expand(n) if labels.ndim == 0 or len(labels) == 1 else labels
        last = self.condition_size - 1
        if labels.shape != (n,) or labels.is_floating_point() or labels.dtype == torch.bool:
            found = f"{tuple(labels.shape)} of {labels.dtype}"
            raise OptionError(f"label must be one class, or one for each of the {n} pictures, not {found}")
        if labels.is_cpu:  # those of a training batch are on the device already: to read them would be to wait for it
            outside = labels[(labels < 0) | (labels > last)]
            if len(outside):
                raise OptionError(f"label must be from 0 to {last}, not {int(outside[0])}")
        one_hot = F.one_hot(labels.long(), last + 1)
        return one_hot.to(self.device, self.dtype)[:, :, None, None]  # B K 1 1

    def _codes(self, given: Any, n: int) -> torch.Tensor:
        texts = [given] if isinstance(given, str) else given
        wanted = f"text must be one caption, or one for each of the {n} pictures"
        if not isinstance(texts, list | tuple) or not all(isinstance(text, str) for text in texts):
            raise OptionError(f"{wanted}, not {given!r:.80}")
        if len(texts) not in (1, n):
            raise OptionError(f"{wanted}, not {len(texts)}")
        return encode(texts).expand(n, -1)  # B T, on the CPU, where the encoder needs the lengths

    def _features(self, given: Any, n: int) -> torch.Tensor:
        place = self.image_shape[1:] if self.condition == "map" else ()
        wanted = (n, self.condition_size, *place)
        h = _numbers(self.condition, given).to(self.device, self.dtype)
        if tuple(h.shape) != wanted:
            raise OptionError(f"{self.condition} must be {wanted}, not {tuple(h.shape)}")
        return h if self.condition == "map" else h[:, :, None, None]

    def log_prob(self, images: torch.Tensor, *, batch_size: int = 128, **conditions: Any) -> torch.Tensor:
        """Exact log-likelihood given the condition; without a label, of the mixture of all classes.

        Args:
            images: (N, C, H, W), integers from 0 to L - 1.
            batch_size: pictures per pass.
            conditions: label=3 or (N,); vector=(N, F); map=(N, F, H, W); text="a cat" or N texts.

        Returns:
            (N,) nats.
        """
        self.check_names(name for name, value in conditions.items() if value is not None)
        if self.condition == "label" and conditions.get("label") is None:
            joint = self.class_log_probs(images, batch_size=batch_size)  # N K
            return joint.logsumexp(1) - math.log(self.condition_size)
        return super().log_prob(images, batch_size=batch_size, **conditions)

    def class_log_probs(self, images: torch.Tensor, *, batch_size: int = 128) -> torch.Tensor:
        """log p(x | class) of every class, (N, K) nats; its softmax is the class posterior by Bayes' rule."""
        classes = range(self.condition_size)
        columns = [super(ConditionalPixelCNN, self).log_prob(images, batch_size=batch_size, label=k) for k in classes]
        return torch.stack(columns, 1)


def _numbers(name: str, given: Any) -> torch.Tensor:
    """A tensor as it is, or numbers of Python or NumPy as one; raises OptionError for what is none of these."""
    try:
        return given if isinstance(given, torch.Tensor) else torch.as_tensor(given, device="cpu")
    except (TypeError, ValueError, RuntimeError):
        raise OptionError(f"{name} must be numbers, not {told(given)}") from None


class CachedConditionalPixelCNN(CachedGatedPixelCNN):
    """The stepwise form of a `ConditionalPixelCNN`, whose h or s is made once for all sub-pixels."""

    def __init__(self, model: ConditionalPixelCNN, batch: int, condition: torch.Tensor | None) -> None:
        self.read = model._h
        super().__init__(model, batch, condition)

    def _condition_rows(self, condition: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
        return super()._condition_rows(self.read(condition))


def complete(model: ConditionalPixelCNN, request: SampleRequest) -> None:
    """Without a label, draw a class for each sample, from its own noise: the picture is that of the label given.
    Without a text, take the model's own in turn."""
    options = request.options
    if model.condition == "text" and options["text"] is None and model.sample_texts:
        options["text"] = [model.sample_texts[i % len(model.sample_texts)] for i in request.indices]
    if model.condition != "label":
        return
    drawn = (request.uniform() * model.condition_size).long().clamp_(max=model.condition_size - 1)
    if options["label"] is None:
        options["label"] = drawn.tolist()
