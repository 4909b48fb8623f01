"""What all autoregressive image models have in common: the interface and the likelihood. `draw` draws from them.

Shapes: B batch, C colour channels, H, W height and width, L levels of a sub-pixel.

A picture is a sequence of sub-pixels x_1, x_2, ... in raster order, R before G before B, and
p(x) = prod_i p(x_i | x_1 ... x_{i-1}) (van den Oord et al., arXiv 1601.06759, eq. 1).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch.nn import functional as F

from zoo.errors import OptionError
from zoo.model import Model
from zoo.precision import precision as computing
from zoo.sampling import check_integer, evaluating


class CachedNetwork(Protocol):
    """A network that is evaluated one sub-pixel at a time and remembers what later ones need.

    `draw` fills one row after the other; the network holds the state of the row being drawn and of those above that it
    still needs. All buffers are allocated once, and no call depends on the number of the row, so that on CUDA one
    captured graph draws every row.
    """

    def reset(self, **conditions: torch.Tensor) -> None:
        """Back to the state before the first row, of pictures with these conditions if there are any, else the same."""

    def start_row(self) -> None:
        """The row in progress is complete and becomes the one above; compute what it adds to the next."""

    def logits(self, column: int, channel: int) -> torch.Tensor:
        """(B, L) for one sub-pixel of the row in progress; all sub-pixels before it have been put."""

    def put(self, column: int, channel: int, levels: torch.Tensor) -> None:
        """The sub-pixel's value, (B,) of 0 to L - 1."""


class AutoregressiveModel(Model):
    """An image model with exact likelihood.

    Args:
        image_shape: (C, H, W).
        levels: L, the number of values of a sub-pixel: 2 for binary pictures, 256 for bytes, more for codes.
    """

    def __init__(self, *, image_shape: tuple[int, int, int], levels: int) -> None:
        super().__init__()
        if len(image_shape) != 3 or min(image_shape) < 1:
            raise ValueError(f"image_shape must be (channels, height, width), all at least 1, not {image_shape}")
        if levels < 2:
            raise ValueError(f"levels must be at least 2, not {levels}")
        self.image_shape = image_shape
        self.levels = levels

    @abstractmethod
    def forward(self, images: torch.Tensor, **conditions: torch.Tensor) -> torch.Tensor:
        """Logits (B, L, C, H, W) of images (B, C, H, W) in 0 to L - 1; `conditions` as `conditions` gives them."""

    @abstractmethod
    def cached(self, batch: int, **conditions: torch.Tensor) -> CachedNetwork:
        """A stepwise evaluator of this network for `batch` pictures, on the model's device."""

    def conditions(self, source: Mapping[str, Any], n: int) -> dict[str, torch.Tensor]:
        """What n pictures are conditioned on, checked, on the model's device, n first; `forward` takes it as keywords.

        Args:
            source: a batch of training data, or sampling options; what belongs to no condition is ignored.
            n: how many pictures.

        Raises:
            OptionError: a condition that is missing, or of a wrong type, shape or range.
        """
        return {}

    def check_options(self, options: Mapping[str, Any]) -> None:
        given, rows, height = options.get("given"), options.get("given_rows", 0), self.image_shape[1]
        if rows > height:
            raise OptionError(f"option 'given_rows' is {rows}, but the pictures have {height} rows")
        if rows and given is None:
            raise OptionError("option 'given_rows' needs pictures in option 'given'")
        if given is not None and not rows:
            raise OptionError("option 'given' needs given_rows=N, how many of its rows to keep")
        if given is not None:
            self.check_images(given, "option 'given'")

    def scale(self, images: torch.Tensor) -> torch.Tensor:
        """Levels 0 to L - 1 as floats from -1 to 1."""
        exact = torch.promote_types(self.dtype, torch.float32)  # in half precision levels would collide
        return (images.to(exact) * (2 / (self.levels - 1)) - 1).to(self.dtype)

    @property
    def dtype(self) -> torch.dtype:
        """The type of the parameters."""
        return next(self.parameters()).dtype

    @property
    def _ddp_params_and_buffers_to_ignore(self) -> set[str]:
        """DistributedDataParallel sends all other buffers around before every forward pass."""
        return self.constant_buffers

    def check_images(self, images: torch.Tensor, what: str = "images") -> torch.Tensor:
        """The images on the model's device; raises OptionError unless they are (B, C, H, W) integers below L."""
        wanted = f"{what} must be (N, {', '.join(map(str, self.image_shape))}) integers from 0 to {self.levels - 1}"
        if not isinstance(images, torch.Tensor):
            raise OptionError(f"{wanted}, not {type(images).__name__}")
        if images.is_floating_point() or images.is_complex() or images.dtype == torch.bool:
            raise OptionError(f"{wanted}, not {images.dtype}")
        if images.ndim != 4 or tuple(images.shape[1:]) != self.image_shape:
            raise OptionError(f"{wanted}, not {tuple(images.shape)}")
        if images.dtype in (torch.uint16, torch.uint32, torch.uint64):  # which torch finds no largest number of
            images = images.long()
        if images.numel() and (int(images.max()) >= self.levels or int(images.min()) < 0):
            raise OptionError(f"{wanted}, but values go from {int(images.min())} to {int(images.max())}")
        return images.to(self.device)

    def nats(self, images: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        """Negative log-likelihood of each picture, (B,), from its logits."""
        # Level last: softmax over a strided axis is several times slower, and models give logits in this layout.
        rows = logits.permute(0, 3, 4, 2, 1).flatten(0, 3).float()  # B*H*W*C L
        targets = images.permute(0, 2, 3, 1).flatten().long()
        return F.cross_entropy(rows, targets, reduction="none").view(len(images), -1).sum(1)

    @torch.no_grad()
    def log_prob(self, images: torch.Tensor, *, batch_size: int = 128, **conditions: Any) -> torch.Tensor:
        """Exact log-likelihood in fp32, without TF32 and without a gradient; `nats` of the logits has one.

        Args:
            images: (N, C, H, W), integers from 0 to L - 1, as `sample` returns them.
            batch_size: pictures per pass; a matter of memory alone.
            conditions: what the model is conditioned on, if anything, by `condition_names`.

        Returns:
            (N,) nats; divide by -C H W ln 2 for bits per dimension.

        Raises:
            OptionError: images of the wrong shape, type or range, a batch_size below 1, another model's condition.
        """
        named = [name for name, value in conditions.items() if value is not None]
        if named and type(self).conditions is AutoregressiveModel.conditions:
            raise OptionError(f"this model is conditioned on nothing; leave out {', '.join(named)}")
        images, batch_size = self.check_images(images), check_integer("batch_size", batch_size, 1)
        conditions = {name: v.cpu() if isinstance(v, torch.Tensor) else v for name, v in conditions.items()}
        given = self.conditions(conditions, len(images))
        batches = []
        with evaluating(self), computing("fp32", self.device):
            for first in range(0, len(images), batch_size):
                rows = slice(first, first + batch_size)
                logits = self(images[rows], **{name: value[rows] for name, value in given.items()})
                batches.append(-self.nats(images[rows], logits))
        return torch.cat(batches) if batches else torch.zeros(0, dtype=torch.float32, device=self.device)
