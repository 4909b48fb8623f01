"""What networks that are trained against each other share: bytes and floats, losses, turns, and what is released.

Sources: the original and the non-saturating loss (Goodfellow et al., arXiv 1406.2661), least squares (Mao et al., arXiv
1611.04076), hinge (Lim and Ye, arXiv 1705.02894), Wasserstein (Arjovsky et al., arXiv 1701.07875), R1 (Mescheder et
al., arXiv 1801.04406).

Shapes: B batch, any further axes of pictures or clips.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import torch
from torch import nn
from torch.nn import functional as F

from zoo.model import Model

if TYPE_CHECKING:
    from accelerate import Accelerator

Loss = Literal["logistic", "least-squares", "hinge", "wasserstein"]


def to_pixels(images: torch.Tensor) -> torch.Tensor:
    """-1 to 1 as bytes, uint8, in the same shape."""
    return (images.float() * 127.5 + 127.5).round().clamp(0, 255).to(torch.uint8)


def from_pixels(pixels: torch.Tensor) -> torch.Tensor:
    """Bytes as -1 to 1, float32, in the same shape; undone by `to_pixels`."""
    return pixels.float() / 127.5 - 1


def noise_like(x: torch.Tensor) -> torch.Tensor:
    """Standard normal noise of the shape and type of x, and in its layout.

    `torch.randn_like` draws channels-last noise on a CPU number by number, in eight times the time.
    """
    noise = torch.empty_like(x)  # dense, so that all its numbers are one row in memory
    noise.as_strided((noise.numel(),), (1,)).normal_()
    return noise


def discriminator_loss(kind: Loss, real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    """What a discriminator minimises: its scores of real examples are to be high, of generated ones low; a scalar.

    "logistic" is the cross-entropy of the original GAN, summed over real and generated; "least-squares" has the targets
    1 and 0; "hinge" the margins 1 and -1.
    """
    if kind == "logistic":
        return F.softplus(-real).mean() + F.softplus(fake).mean()
    if kind == "least-squares":
        return (real - 1).square().mean() + fake.square().mean()
    if kind == "hinge":
        return F.relu(1 - real).mean() + F.relu(1 + fake).mean()
    return fake.mean() - real.mean()


def generator_loss(kind: Loss, fake: torch.Tensor) -> torch.Tensor:
    """What a generator minimises: the scores of what it made are to be high; a scalar."""
    if kind == "logistic":
        return F.softplus(-fake).mean()
    if kind == "least-squares":
        return (fake - 1).square().mean()
    return -fake.mean()


def r1_penalty(real: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
    """`E |grad_x D(x)|^2` over real examples (B, ...), from their scores, which must depend on `real`; a scalar."""
    (slope,) = torch.autograd.grad(scores.sum(), real, create_graph=True)
    return slope.square().flatten(1).sum(1).mean()


@contextmanager
def frozen(*modules: nn.Module) -> Iterator[None]:
    """No gradients for the parameters of these networks while the block runs; they still pass through them."""
    parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)


@contextmanager
def measuring(network: nn.Module) -> Iterator[None]:
    """Batch normalisation measures its running statistics anew: they are the mean over the passes of the block.

    What it has kept of the passes of training belongs to weights that have moved on since, or to none if these are an
    average.
    """
    norms: list[Any] = [module for module in network.modules() if hasattr(module, "reset_running_stats")]
    before = [(norm.momentum, norm.training) for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all passes
        norm.training = True  # its own layers are not
    try:
        with torch.no_grad():
            yield
    finally:
        for norm, (momentum, training) in zip(norms, before, strict=True):
            norm.momentum, norm.training = momentum, training


class Player:
    """One of the networks that take turns: its optimizer, and its step.

    Losses of an accumulated batch are added up as elsewhere: the step is taken with its last part.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, accelerator: Accelerator) -> None:
        self.accelerator = accelerator
        self.optimizer: Any = accelerator.prepare(optimizer)

    def update(self, loss: torch.Tensor, **how: Any) -> None:
        """One step down the loss, with the mean of the gradients of all processes; `how` goes to `backward`."""
        self.accelerator.backward(loss, **how)
        if self.accelerator.sync_gradients and self.accelerator.num_processes > 1:
            share(gradients(self.optimizer), self.accelerator)
        self.optimizer.step()
        self.optimizer.zero_grad()
        torch.clear_autocast_cache()  # a block of autocast keeps casts of the weights as they were before this step

    def update_alone(self, loss: torch.Tensor) -> None:
        """As `update`, with gradients for its own weights alone; the graph stays for the other players."""
        own = [p for group in self.optimizer.param_groups for p in group["params"]]
        self.update(loss, inputs=own, retain_graph=True)

    def rate(self, value: float) -> None:
        """Set the learning rate."""
        for group in self.optimizer.param_groups:
            group["lr"] = value


def share(tensors: Iterable[torch.Tensor], accelerator: Accelerator) -> None:
    """Set tensors to their mean over all processes: gradients of networks that the accelerator does not wrap."""
    tensors = list(tensors)
    flat = accelerator.reduce(torch.cat([tensor.flatten().float() for tensor in tensors]), "mean")
    for tensor, part in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(part.view_as(tensor))


def gradients(optimizer: Any) -> list[torch.Tensor]:
    """Of all parameters of an optimizer that have one."""
    return [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]


class AdversarialModel(Model):
    """A generator with one discriminator or several, which released weights come without.

    The constructor takes `discriminator: bool = True`; without it the discriminators are None.

    Attributes:
        training_only: names of the attributes that only training needs.
    """

    training_only: ClassVar[tuple[str, ...]] = ("discriminator",)

    def released(self) -> Self:
        """A copy without what only training needs."""
        kept = {name: getattr(self, name) for name in self.training_only}
        try:
            for name in kept:
                setattr(self, name, None)
            model = copy.deepcopy(self)
        finally:
            for name, module in kept.items():
                setattr(self, name, module)
        if hasattr(self, "config"):
            model.config = {**self.config, "discriminator": False}
        return model
