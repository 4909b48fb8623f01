"""Distances between two sets of pictures by their features, and the length of paths between samples.

Shapes: N pictures of one set, M of the other, F features. All arithmetic is in float64.
"""

from __future__ import annotations

import importlib.util
import math
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from zoo.errors import OptionError
from zoo.seeds import derive_seed

SUBSETS, SUBSET_SIZE = 100, 1000  # of the kernel distance
NEIGHBOURS = 3
EPSILON = 1e-4  # a step on a path, in parts of its length
ROWS = 4096  # of features at once
CHUNK_BYTES = 2**28  # of one block of a table of distances
NEAR = 1e-6  # squared distances below that share of |a|^2 + |b|^2 are computed from differences


class _Given(nn.Module):
    """Stands for the feature network of torchmetrics where the features are there already."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features


def check_installed(metric: str) -> None:
    """Whether there is torchmetrics, found out before the work starts; raises OptionError."""
    if importlib.util.find_spec("torchmetrics") is None:
        raise OptionError(f'{metric} needs torchmetrics: pip install "pixelzoo[metrics]"')


def _chunks(features: torch.Tensor, size: int) -> Iterator[torch.Tensor]:
    return (features[first : first + size].double() for first in range(0, len(features), size))


def frechet(real: torch.Tensor, fake: torch.Tensor) -> float:
    """Fréchet distance of the Gaussians with the means and covariances of two sets, (N, F) and (M, F).

    |m_1 - m_2|^2 + tr(C_1 + C_2 - 2 (C_1 C_2)^(1/2)): Heusel et al., GANs Trained by a Two Time-Scale Update Rule,
    NeurIPS 2017, equation 6; C with N - 1. With C_i = R_i^T R_i, the trace of the root is the sum of the singular
    values of R_1 R_2^T. They are exact to rounding for singular covariances too; eigenvalues of C_1 C_2 are not.
    """
    (mean, root), (other_mean, other_root) = (_gaussian(features) for features in (real, fake))
    traces = root.square().sum() + other_root.square().sum()
    distance = (mean - other_mean).square().sum() + traces - 2 * torch.linalg.svdvals(root @ other_root.T).sum()
    return max(0.0, float(distance))


def _gaussian(features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean (F,) and R (min(N, F), F), whose R^T R is the covariance, of features (N, F)."""
    mean = features.mean(0, dtype=torch.float64)
    root = mean.new_empty(0, len(mean))
    for chunk in _chunks(features, ROWS):
        root = torch.linalg.qr(torch.cat([root, chunk - mean]), mode="r").R
    return mean, root / math.sqrt(len(features) - 1)


def kernel(
    real: torch.Tensor, fake: torch.Tensor, *, seed: int = 0, subsets: int = SUBSETS, size: int = SUBSET_SIZE
) -> tuple[float, float]:
    """Unbiased squared maximum mean discrepancy of two sets, (N, F) and (M, F), with the kernel (x y / F + 1)^3.

    Returns:
        Mean and standard deviation over random subsets of `size` of each: Binkowski et al., Demystifying MMD GANs,
        ICLR 2018, section 4. By torchmetrics; the subsets follow from the seed.
    """
    from torchmetrics.image.kid import KernelInceptionDistance

    with torch.device("cpu"), torch.random.fork_rng(devices=[]):  # where its subsets and results are made
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that it keeps all features
            arguments: dict[str, Any] = {"subsets": subsets, "subset_size": size, "sync_on_compute": False}
            metric = KernelInceptionDistance(feature=_Given(real.shape[1]), **arguments)
        for features, is_real in ((real, True), (fake, False)):
            for chunk in _chunks(features, ROWS):
                metric.update(chunk, real=is_real)
        torch.manual_seed(derive_seed(seed, "subsets"))
        mean, deviation = metric.compute()
    return float(mean), float(deviation)


def coverage(points: torch.Tensor, support: torch.Tensor, k: int = NEIGHBOURS) -> float:
    """The share of the points (M, F) that lie on the manifold of a support (N, F).

    The manifold is the union of the balls around each feature of the support that reach to its k-th nearest other one.
    Of samples on the manifold of real pictures this is the precision, of real pictures on that of samples the recall:
    Kynkäänniemi et al., Improved Precision and Recall Metric for Assessing Generative Models, NeurIPS 2019, equations
    1 and 2.

    Raises:
        OptionError: a support of k pictures or fewer.
    """
    if len(support) <= k:
        raise OptionError(f"a manifold by {k} neighbours needs more than {k} pictures, not {len(support)}")
    support, rows = support.double(), max(1, CHUNK_BYTES // (8 * len(support)))
    centre = support.mean(0)
    support, points = support - centre, points.double() - centre
    nearest = [_distances(chunk, support).topk(k + 1, largest=False).values[:, k] for chunk in _chunks(support, rows)]
    radii = torch.cat(nearest)  # N; the nearest of all is the feature itself
    inside = [(_distances(chunk, support) <= radii).any(1) for chunk in _chunks(points, rows)]
    return float(torch.cat(inside).double().mean())


def _distances(points: torch.Tensor, support: torch.Tensor) -> torch.Tensor:
    """(M, N). Those of near pairs are of their difference, so equal pictures are exactly 0 apart; the faster product
    of matrices rounds to parts of |a|^2 + |b|^2."""
    found = torch.cdist(points, support, compute_mode="use_mm_for_euclid_dist")
    sizes = points.square().sum(1)[:, None] + support.square().sum(1)
    near = (found.square() <= NEAR * sizes).nonzero()
    for pairs in torch.split(near, max(1, CHUNK_BYTES // (8 * support.shape[1]))):
        i, j = pairs.unbind(1)
        found[i, j] = (points[i] - support[j]).square().sum(1).sqrt()
    return found


def step_lengths(first: torch.Tensor, second: torch.Tensor, epsilon: float = EPSILON) -> torch.Tensor:
    """Squared distances (N,) of features (N, F) of neighbours on N paths, a step of epsilon apart, over epsilon^2."""
    return (second - first).square().sum(1).double() / epsilon**2


def path_length(lengths: torch.Tensor) -> float:
    """Mean of the lengths (N,) of steps between their 1st and 99th percentile, as StyleGAN's authors take it.

    Karras et al., A Style-Based Generator Architecture for Generative Adversarial Networks, CVPR 2019, section 4.1.
    """
    last = len(lengths) - 1
    return float(lengths.sort().values[math.floor(0.01 * last) : math.ceil(0.99 * last) + 1].mean())
