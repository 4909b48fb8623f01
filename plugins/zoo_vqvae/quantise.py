"""Vector quantisation with a codebook of moving averages: van den Oord, Vinyals, Kavukcuoglu, Neural Discrete
Representation Learning, NIPS 2017, arXiv 1711.00937, section 3 and appendix A.1; used by Razavi, van den Oord, Vinyals,
VQ-VAE-2, NeurIPS 2019, arXiv 1906.00446, section 2.1.

Shapes: B batch, D size of a code vector, K codes, h, w height and width of a map of codes, M vectors.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F

from zoo.precision import float32

EPSILON = 1e-5  # of Laplace smoothing
SEEDS = 2**14  # vectors out of which the first codebook is chosen
DEAD = 0.01  # a code with less than this share of the average use counts as dead


def _alone(tensor: torch.Tensor) -> torch.Tensor:
    return tensor


class Quantiser(nn.Module):
    """Each vector becomes the nearest of K. The codebook is no parameter: it follows the vectors by moving averages.

    Args:
        codes: K, at least 2.
        size: D.
    """

    codebook: torch.Tensor
    counts: torch.Tensor
    sums: torch.Tensor
    updates: torch.Tensor

    def __init__(self, codes: int, size: int) -> None:
        super().__init__()
        if codes < 2:
            raise ValueError(f"a codebook needs at least 2 codes, not {codes}")
        self.register_buffer("codebook", torch.randn(codes, size))
        self.register_buffer("counts", torch.ones(codes))  # N of the paper
        self.register_buffer("sums", self.codebook.clone())  # m
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))

    def forward(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The nearest code vectors, (B, D, h, w), through which the gradient passes straight to z, and codes (B, h, w).

        Distances are in float32 whatever the precision.
        """
        with torch.no_grad(), float32(z.device):
            flat, codebook = self._flat(z), self.codebook.float()
            # ||z||^2 is the same for all codes.
            distance = codebook.square().sum(1) - 2 * flat @ codebook.T  # M K
            codes = distance.argmin(1).view(len(z), *z.shape[2:])
            quantised = self.lookup(codes).to(z.dtype)
        return z + (quantised - z).detach(), codes

    def lookup(self, codes: torch.Tensor) -> torch.Tensor:
        """The vectors of codes, (B, h, w) -> (B, D, h, w)."""
        return F.embedding(codes, self.codebook).permute(0, 3, 1, 2)

    def mean(self) -> torch.Tensor:
        """The mean of all that was quantised in the window of the moving average, (D,)."""
        return self.sums.sum(0) / self.counts.sum()

    @torch.no_grad()
    def update(
        self,
        z: torch.Tensor,
        codes: torch.Tensor,
        *,
        decay: float = 0.99,
        restart_below: float = 0.0,
        total: Callable[[torch.Tensor], torch.Tensor] = _alone,
        is_main: bool = True,
    ) -> torch.Tensor:
        """Move the codebook towards the vectors that took each code (appendix A.1, eq. 6 to 8); how many codes began
        anew, a scalar.

        Args:
            z: (B, D, h, w), what was quantised.
            codes: (B, h, w), the result.
            decay: gamma; 0 is one step of k-means for the codes in use. One that is in no use moves to 0.
            restart_below: codes with less than this share of the average use begin anew at vectors of z that are far
                from their codes, and all do so with the first update, far from each other; 0 for never. The papers do
                not.
            total: the sum of a tensor over all processes.
            is_main: whether this process chooses these vectors.
        """
        flat, k = self._flat(z), len(self.codebook)
        before = self.codebook.clone()
        counts = torch.bincount(codes.flatten(), minlength=k).float()
        sums = torch.zeros_like(self.sums).index_add_(0, codes.flatten(), flat)
        self.counts.lerp_(total(counts), 1 - decay)
        self.sums.lerp_(total(sums), 1 - decay)
        n = self.counts.sum()
        smoothed = (self.counts + EPSILON) / (n + k * EPSILON) * n
        self.codebook.copy_(self.sums / smoothed[:, None])
        self.updates.add_(1)
        if not restart_below:
            return torch.zeros((), device=flat.device)
        fresh = spread(flat, k) if int(self.updates) == 1 else far(flat, before[codes.flatten()], k)
        fresh = total(fresh if is_main else torch.zeros_like(fresh))
        dead = (self.counts < restart_below * n / k) | (self.updates == 1)  # in the beginning, all
        weight = 2 * restart_below * n / k  # a small one, so that a code of no use is tried elsewhere soon
        self.counts.copy_(torch.where(dead, weight, self.counts))
        self.codebook.copy_(torch.where(dead[:, None], fresh, self.codebook))
        self.sums.copy_(torch.where(dead[:, None], fresh * weight, self.sums))
        return dead.sum().float()

    def dead(self) -> torch.Tensor:
        """How many codes are hardly used in the window of the moving average, a scalar."""
        return (self.counts < DEAD * self.counts.mean()).sum().float()

    def perplexity(self) -> torch.Tensor:
        """How many codes are in use, as `perplexity` counts them, in the window of the moving average: with a decay of
        0.99 about the last 100 batches. A scalar."""
        return torch.special.entr(self.counts / self.counts.sum()).sum().exp()

    @staticmethod
    def _flat(z: torch.Tensor) -> torch.Tensor:
        return z.detach().permute(0, 2, 3, 1).reshape(-1, z.shape[1]).float()


def far(vectors: torch.Tensor, nearest: torch.Tensor, k: int) -> torch.Tensor:
    """k vectors out of (M, D), (k, D): each is drawn in proportion to its squared distance from what is nearest to it,
    (M, D), so that what is frequent and well met already is not met twice."""
    distance = (vectors - nearest).square().sum(1)
    return vectors[torch.multinomial(distance + EPSILON * distance.mean() + 1e-12, k, replacement=True)]


def spread(vectors: torch.Tensor, k: int) -> torch.Tensor:
    """k vectors out of (M, D), (k, D), far from each other: one after the other in proportion to its squared distance
    from the nearest before it (k-means++, Arthur and Vassilvitskii, SODA 2007). Of more than SEEDS a random choice."""
    vectors = vectors[torch.randperm(len(vectors), device=vectors.device)[:SEEDS]]
    found = [vectors[0]]
    distance = (vectors - found[0]).square().sum(1)
    for _ in range(1, k):
        found.append(vectors[torch.multinomial(distance + 1e-12, 1)[0]])
        distance = torch.minimum(distance, (vectors - found[-1]).square().sum(1))
    return torch.stack(found)


def perplexity(codes: torch.Tensor, k: int) -> torch.Tensor:
    """e to the entropy of how often each of K codes occurs in maps (B, h, w): how many are used, a scalar."""
    share = torch.bincount(codes.flatten(), minlength=k).float() / codes.numel()
    return torch.special.entr(share).sum().exp()
