"""What tests of the objectives of translation models, which write them out a second time, have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch


def step_gradients(
    trainer: Any, batch: dict[str, torch.Tensor], networks: Mapping[str, torch.nn.Module]
) -> dict[str, list[torch.Tensor]]:
    """The gradients with which each player of a trainer takes its first step, of its network's parameters."""
    found = {}
    for name, player in trainer.players.items():

        def keep(name: str = name, honest: Any = player.optimizer.step) -> None:
            found[name] = [
                torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in networks[name].parameters()
            ]
            honest()

        player.optimizer.step = keep
    trainer.step(batch, 0)
    return found


def assert_gradients(
    found: dict[str, list[torch.Tensor]], losses: dict[str, torch.Tensor], networks: Mapping[str, torch.nn.Module]
) -> None:
    """What each player found are the gradients of its loss."""
    assert found.keys() == losses.keys()
    for name, value in losses.items():
        wanted = torch.autograd.grad(value, list(networks[name].parameters()), retain_graph=True)
        largest = max(float(x.abs().max()) for x in wanted)
        assert largest > 0
        for x, y in zip(found[name], wanted, strict=True):
            assert (x - y).abs().max() < 1e-4 * largest, name


def judged(network: Any, true: torch.Tensor, made: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What a generator and a discriminator minimise, by the words of the papers: least squares, features times 10."""
    found = [network.features(x) for x in (true, made)]
    ours, theirs, matched = torch.zeros(()), torch.zeros(()), torch.zeros(())
    scales = list(zip(*(x if isinstance(x[0], list) else [x] for x in found), strict=True))
    for real, fake in scales:
        ours = ours + (fake[-1] - 1).square().mean()
        theirs = theirs + ((real[-1] - 1).square().mean() + fake[-1].square().mean()) / 2
        for a, b in zip(real[:-1], fake[:-1], strict=True):
            matched = matched + 4 / (len(real) - 1) * (a.detach() - b).abs().mean() / len(scales)
    return ours + 10 * matched, theirs
