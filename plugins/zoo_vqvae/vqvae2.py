"""VQ-VAE-2: Razavi, van den Oord, Vinyals, Generating Diverse High-Fidelity Images with VQ-VAE-2, NeurIPS 2019, arXiv
1906.00446.

Against a PixelCNN of pixels: the prior models a few thousand codes in place of 196,608 sub-pixels, and the codes of an
autoencoder leave out what is hardly seen. Against VQ-VAE: levels of codes (`vqvae.py`), and a prior with attention for
the top one, which sees the whole picture at once (`prior.py`).

Samples can be rejected by a classifier's score (`rejection.py`). Beyond the paper, pictures are completed through their
codes.

Shapes: N pictures, C colour channels, H, W height and width, K codes, h, w height and width of a map of codes. Levels
are in order from the top down, in every list and tuple.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from zoo.errors import OptionError
from zoo.model import Model
from zoo.nn.adversarial import from_pixels, to_pixels
from zoo.nn.draw import draw
from zoo.precision import precision as computing
from zoo.request import SampleRequest
from zoo.sampling import evaluating
from zoo_vqvae import rejection
from zoo_vqvae.prior import Prior
from zoo_vqvae.vqvae import NAMES, Autoencoder

STAGES = 100  # of a drawing, about


class VQVAE2(Model):
    """An autoencoder with one to three levels of codes, and an autoregressive prior for each level.

    With one level it is VQ-VAE. The arguments that start with `prior` have one number a level, from the top down.

    Args:
        image_shape: (C, H, W); H and W multiples of stride times 2 to the number of levels above the bottom.
        n_levels: 1 to 3.
        stride: pixels along one side of a code of the bottom level: 2, 4 or 8.
        width: features of the autoencoder's hidden layers, even; 128 in the paper.
        residual_width: features within its residual blocks; 64 in the paper.
        n_residual: residual blocks of each encoder and decoder; 2 in the paper.
        codes: K, of every level; 512 in the paper.
        code_size: of a code vector; 64 in the paper.
        classes: how many the priors are conditioned on; 0 for none.
        prior_width: features of the priors; 512 in the paper.
        prior_hidden: features within gated layers and residual blocks.
        prior_layers: gated layers.
        prior_attention: how many of them are followed by attention.
        prior_heads: heads of attention, one number for all.
        prior_kernel: side of the gated convolutions, odd, one number for all.
        prior_output: layers of the output stack.
        prior_condition: residual blocks over the maps above; the top has none above.
        dropout: share of the priors' features that training sets to zero.
    """

    sample_batch_size = 32

    def __init__(
        self,
        *,
        image_shape: tuple[int, int, int] = (3, 256, 256),
        n_levels: int = 2,
        stride: int = 4,
        width: int = 128,
        residual_width: int = 64,
        n_residual: int = 2,
        codes: int = 512,
        code_size: int = 64,
        classes: int = 0,
        prior_width: tuple[int, ...] = (512, 512),
        prior_hidden: tuple[int, ...] = (2048, 1024),
        prior_layers: tuple[int, ...] = (20, 20),
        prior_attention: tuple[int, ...] = (4, 0),
        prior_heads: int = 8,
        prior_kernel: int = 5,
        prior_output: tuple[int, ...] = (20, 0),
        prior_condition: tuple[int, ...] = (0, 20),
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.autoencoder = Autoencoder(
            image_shape=image_shape,
            n_levels=n_levels,
            stride=stride,
            width=width,
            residual_width=residual_width,
            n_residual=n_residual,
            codes=codes,
            code_size=code_size,
        )
        self.image_shape, self.codes, self.classes = image_shape, codes, classes
        self.label_classes = classes or None
        self.level_names = NAMES[n_levels]
        self.code_shapes = self.autoencoder.code_shapes
        self.condition_names = ("label",) if classes else ()
        per_level = {
            "prior_width": prior_width,
            "prior_hidden": prior_hidden,
            "prior_layers": prior_layers,
            "prior_attention": prior_attention,
            "prior_output": prior_output,
            "prior_condition": prior_condition,
        }
        for name, value in per_level.items():
            if len(value) != n_levels:
                raise ValueError(f"{name} must have {n_levels} numbers, one a level, not {value}")
        self.priors = nn.ModuleList(
            Prior(
                image_shape=(1, *self.code_shapes[i]),
                levels=codes,
                upper=tuple(self.code_shapes[:i]),
                classes=classes,
                width=prior_width[i],
                hidden=prior_hidden[i],
                n_layers=prior_layers[i],
                n_attention=prior_attention[i],
                heads=prior_heads,
                kernel_size=prior_kernel,
                n_output=prior_output[i],
                n_condition=prior_condition[i],
                dropout=dropout,
            )
            for i in range(n_levels)
        )

    @torch.no_grad()
    def encode(self, images: torch.Tensor, *, batch_size: int = 64) -> list[torch.Tensor]:
        """Pictures (N, C, H, W), uint8, as maps of codes, (N, h, w) int64 each, from the top down; in fp32."""
        self._check_images(images)
        with evaluating(self), computing("fp32", self.device):
            parts = [self.autoencoder.encode(self._floats(part))[1] for part in images.split(batch_size)]
        return [torch.cat(level) for level in zip(*parts, strict=True)]

    @torch.no_grad()
    def decode(self, codes: list[torch.Tensor]) -> torch.Tensor:
        """Maps of codes, as `encode` gives them, as pictures (N, C, H, W), uint8; in fp32."""
        self._check_codes(codes)
        with evaluating(self), computing("fp32", self.device):
            return to_pixels(self.autoencoder.decode([level.to(self.device).long() for level in codes]))

    def reconstruct(self, images: torch.Tensor, *, batch_size: int = 64) -> torch.Tensor:
        """What the codes of pictures (N, C, H, W), uint8, keep of them, in the same shape."""
        self._check_images(images)
        parts = [self.decode(self.encode(part)) for part in images.split(batch_size)]
        return torch.cat(parts)

    def code_log_prob(self, codes: list[torch.Tensor], label: Any = None, *, batch_size: int = 64) -> torch.Tensor:
        """Exact log-probability of maps of codes, in nats, (N, levels); their sum is that of all codes of a picture.

        It is no likelihood of pixels, and can't be compared with one, nor between autoencoders.
        """
        self._check_codes(codes)
        if label is not None and not self.classes:
            raise OptionError("this model has no classes; leave out the label")
        source = {"label": label, **{f"upper_{i}": level for i, level in enumerate(codes)}}
        columns = []
        for i, prior in enumerate(self.priors):
            names = ((*self.condition_names,), *((f"upper_{j}",) for j in range(i)))
            given = {name: source[name] for group in names for name in group}
            columns.append(prior.log_prob(codes[i][:, None], batch_size=batch_size, **given))
        return torch.stack(columns, 1)

    def draw(self, request: SampleRequest) -> torch.Tensor:
        """The pictures of a request, (n, C, H, W), uint8: codes from the top down, then the decoder."""
        return self._shown(self.draw_codes(request), request)

    def draw_stages(self, request: SampleRequest) -> torch.Tensor:
        """The pictures of a request while they are drawn, (n, T, C, H, W), uint8: the whole top level first, then the
        details of the levels below it. What is not drawn yet is the mean of its level."""
        codes = self.draw_codes(request)
        stages, first = [], 0
        for height, width in self.code_shapes:
            step = math.ceil(height * width * len(codes) / STAGES)
            stages += range(first, first + height * width, step)
            first += height * width
        return torch.stack([self._shown(codes, request, known) for known in (*stages, None)], 1)

    def _shown(self, codes: list[torch.Tensor], request: SampleRequest, known: int | None = None) -> torch.Tensor:
        """The pictures of codes, (n, C, H, W), uint8, with the rows that a request gives; `known` as of `decode`."""
        images = to_pixels(self.autoencoder.decode(codes, known))
        rows = request.options["given_rows"]
        if rows:
            images[:, :, :rows] = request.options["given"][:, :, :rows].to(images.device)
        return images

    def draw_codes(self, request: SampleRequest) -> list[torch.Tensor]:
        """The maps of codes of a request, (n, h, w) each, from the top down; every level has noise of its own."""
        options = request.options
        if int(self.autoencoder.quantisers[0].updates) and not all(int(prior.updates) for prior in self.priors):
            raise OptionError(
                "these weights hold a trained autoencoder, but priors that are not trained yet: "
                "zoo train vqvae2 --from WEIGHTS --set stage=priors"
            )
        rejection.check(options, self.classes)
        label = self._label(request)
        if label is None or options["candidates"] == 1:
            return self._draw_codes(request, label)
        return rejection.best(
            request,
            label,
            self.classes,
            lambda candidate: self._draw_codes(candidate, label),
            lambda codes: self._shown(codes, request),
        )

    def _draw_codes(self, request: SampleRequest, label: torch.Tensor | None) -> list[torch.Tensor]:
        """The maps of codes of one candidate for each sample."""
        options, given = request.options, self._given(request)
        sizes = [math.prod(shape) for shape in self.code_shapes]
        codes: list[torch.Tensor] = []
        for i, (prior, name) in enumerate(zip(self.priors, self.level_names, strict=True)):
            detail = options["detail_temperature"]
            rows = options["given_rows"] * self.code_shapes[i][0] // self.image_shape[1]  # those that are given whole
            wanted = {
                "temperature": options["temperature"] if i == 0 or detail is None else detail,
                "method": options["method"],
                "given": given[i][:, None] if given and rows else None,
                "given_rows": rows,
                "label": label,
                **{f"upper_{j}": level for j, level in enumerate(codes)},
            }
            progress = _part(request.progress, sum(sizes[:i]) / sum(sizes), sizes[i] / sum(sizes))
            level = replace(request.child(name), options=wanted, progress=progress)
            codes.append(draw(prior, level)[:, 0].to(self.device).long())
        return codes

    def _given(self, request: SampleRequest) -> list[torch.Tensor] | None:
        """Codes (n, h, w) of pictures to complete, if there are any. They are encoded with the last given row in place
        of all below it, so that no code knows what is to be drawn."""
        given, rows = request.options["given"], request.options["given_rows"]
        if rows > self.image_shape[1]:
            raise OptionError(f"option 'given_rows' is {rows}, but the pictures have {self.image_shape[1]} rows")
        if (given is None) != (not rows):
            raise OptionError("to complete pictures, give both options: given=PICTURES and given_rows=N")
        if given is None:
            return None
        self._check_images(given, "option 'given'")
        known = given.to(self.device, copy=True)
        known[:, :, rows:] = known[:, :, rows - 1 : rows]
        return self.autoencoder.encode(self._floats(known))[1]

    def _label(self, request: SampleRequest) -> torch.Tensor | None:
        """(n,): the classes of a request, drawn from its own noise where it has none."""
        given = request.options["label"]
        if not self.classes:
            if given is not None:
                raise OptionError("this model has no classes; leave out option 'label'")
            return None
        drawn = (request.uniform() * self.classes).long().clamp_(max=self.classes - 1).cpu()
        return drawn if given is None else torch.as_tensor(given, device="cpu")

    def _check_images(self, images: torch.Tensor, what: str = "images") -> None:
        if not isinstance(images, torch.Tensor) or images.dtype != torch.uint8 or images.shape[1:] != self.image_shape:
            found = (
                f"{images.dtype} {tuple(images.shape)}" if isinstance(images, torch.Tensor) else type(images).__name__
            )
            raise OptionError(f"{what} must be uint8 (N, {', '.join(map(str, self.image_shape))}), not {found}")

    def _check_codes(self, codes: list[torch.Tensor]) -> None:
        wanted = ", ".join(f"(N, {h}, {w})" for h, w in self.code_shapes)
        if [tuple(level.shape[1:]) for level in codes] != list(self.code_shapes):
            raise OptionError(f"codes must be {wanted}, not {', '.join(str(tuple(level.shape)) for level in codes)}")
        if len(counts := {len(level) for level in codes}) > 1:
            raise OptionError(
                f"codes must be of the same N on all levels, not of {' and '.join(map(str, sorted(counts)))}"
            )
        for level in codes:
            if level.numel() and not 0 <= int(level.min()) <= int(level.max()) < self.codes:
                raise OptionError(
                    f"codes must be from 0 to {self.codes - 1}, not {int(level.min())} to {int(level.max())}"
                )

    def _floats(self, images: torch.Tensor) -> torch.Tensor:
        """Bytes as -1 to 1, on the model's device and of its type."""
        return from_pixels(images.to(self.device)).to(self.autoencoder.to_codes[0].weight.dtype)


def _part(progress: Callable[[float], None], first: float, share: float) -> Callable[[float], None]:
    """The progress of a part that is `share` of the whole and begins at `first`."""
    return lambda done: progress(first + share * done)
