"""SOAP: Vyas, Morwani, Zhao, Kwun, Shapira, Brandfonbrener, Janson, Kakade, SOAP: Improving and Stabilizing Shampoo
using Adam, ICLR 2025, arXiv 2409.11321, algorithm 3.

Adam scales every entry of a weight by itself. Gradients of a layer are correlated, though, so that its entries are no
good axes. SOAP keeps the covariances of the gradient's rows and columns, and runs Adam along their eigenvectors. These
turn slowly: they are brought up to date every few steps only, by one power iteration.

Shapes: N weights of the same shape, which take their steps together; R rows, C columns: a weight of a convolution
(O, I, h, w) is a matrix of O rows and I h w columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch

SIDES = ("rows", "columns")


class SOAP(torch.optim.Optimizer):
    """Adam in the eigenbasis of Shampoo's preconditioner.

    Weights of one dimension, and sides of length 1 or longer than `largest`, keep their axes: a bias is trained by Adam
    as it is. The first step of a matrix only measures its gradient, as in the paper. Weights of equal shapes take their
    steps as one stack; in `state_dict` the first of them holds the state of all.

    Args:
        params: weights, or groups of them; without a gradient they count as having one of zeros.
        lr: learning rate, about Adam's.
        betas: of Adam's moments; the covariances decay as the second.
        eps: of Adam.
        weight_decay: share of the learning rate by which weights shrink at a step, as AdamW's.
        every: steps between two updates of the eigenvectors.
        largest: longest side whose covariance is kept.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 3e-3,
        betas: tuple[float, float] = (0.9, 0.95),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        every: int = 10,
        largest: int = 1024,
    ) -> None:
        if not 0 <= min(betas) <= max(betas) < 1:
            raise ValueError(f"betas must be at least 0 and less than 1, not {betas}")
        if every < 1:
            raise ValueError(f"every must be at least 1, not {every}")
        if weight_decay < 0:
            raise ValueError(f"weight_decay must be at least 0, not {weight_decay}")
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, {**defaults, "every": every, "largest": largest})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step of every weight; `closure`, if given, computes the loss anew and returns it."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            stacks: dict[Any, list[torch.Tensor]] = {}
            for weight in group["params"]:
                stacks.setdefault((weight.shape, weight.dtype, weight.device), []).append(weight)
            for weights in stacks.values():
                self._step(weights, group)
        return loss

    def _step(self, weights: list[torch.Tensor], group: dict[str, Any]) -> None:
        """One step of weights of the same shape."""
        mean_decay, square_decay = group["betas"]
        rows = weights[0].shape[0] if weights[0].ndim > 1 else 1
        shape = (rows, weights[0].numel() // rows)
        gradients = [torch.zeros_like(weight) if weight.grad is None else weight.grad for weight in weights]
        gradient = torch.stack([each.reshape(shape) for each in gradients])  # N R C
        state = self.state[weights[0]]
        if not state:
            state.update(step=0, mean=torch.zeros_like(gradient), square=torch.zeros_like(gradient))
            for side, size in zip(SIDES, shape, strict=True):
                if weights[0].ndim > 1 and 1 < size <= group["largest"]:
                    state[f"{side}_covariance"] = _covariance(gradient, side).mul_(1 - square_decay)
                    state[f"{side}_basis"] = _eigenvectors(state[f"{side}_covariance"])
            if len(state) > 3:  # of a matrix the first gradient chooses the axes, and no more
                return
        state["step"] += 1
        state["mean"].lerp_(gradient, 1 - mean_decay)
        turned = _turn(gradient, state)
        state["square"].lerp_(turned.square_(), 1 - square_decay)
        deviation = (state["square"] / (1 - square_decay ** state["step"])).sqrt_().add_(group["eps"])
        change = _turn(_turn(state["mean"], state).div_(deviation), state, back=True)
        rate = group["lr"] / (1 - mean_decay ** state["step"])
        for weight, each in zip(weights, change, strict=True):
            weight.mul_(1 - group["lr"] * group["weight_decay"]).add_(each.view_as(weight), alpha=-rate)
        for side in SIDES:
            if f"{side}_covariance" in state:
                state[f"{side}_covariance"].lerp_(_covariance(gradient, side), 1 - square_decay)
        if state["step"] % group["every"] == 0:
            _update_bases(state)


def _covariance(gradient: torch.Tensor, side: str) -> torch.Tensor:
    """N R R, or N C C."""
    return gradient @ gradient.mT if side == "rows" else gradient.mT @ gradient


def _eigenvectors(covariance: torch.Tensor) -> torch.Tensor:
    """N k k, those of the largest eigenvalues first; of what is not finite, any: the weights will tell."""
    identity = torch.eye(covariance.shape[-1], dtype=covariance.dtype, device=covariance.device)
    finite = covariance.isfinite().all((1, 2), keepdim=True)
    vectors: torch.Tensor = torch.linalg.eigh(torch.where(finite, covariance, identity))[1]
    return vectors.flip(-1)


def _turn(x: torch.Tensor, state: dict[str, Any], *, back: bool = False) -> torch.Tensor:
    """N R C from the axes of the weights to those of the eigenvectors, or back."""
    rows, columns = (state.get(f"{side}_basis") for side in SIDES)
    if rows is not None:
        x = (rows if back else rows.mT) @ x
    if columns is not None:
        x = x @ (columns.mT if back else columns)
    return x.clone() if rows is None and columns is None else x


def _update_bases(state: dict[str, Any]) -> None:
    """One power iteration of the eigenvectors, the largest first; Adam's second moment follows their order."""
    for side, dimension in zip(SIDES, (1, 2), strict=True):
        if f"{side}_basis" not in state:
            continue
        covariance, basis = state[f"{side}_covariance"], state[f"{side}_basis"]
        sizes = (basis * (covariance @ basis)).sum(1)  # N R or N C
        order = sizes.argsort(dim=-1, descending=True, stable=True)
        basis = basis.gather(2, order[:, None].expand_as(basis))
        along = order.unsqueeze(3 - dimension).expand_as(state["square"])
        state["square"] = state["square"].gather(dimension, along)
        state[f"{side}_basis"] = torch.linalg.qr(covariance @ basis)[0]
