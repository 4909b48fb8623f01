"""Figures with receipts: likelihoods, and samples beside real pictures."""

from __future__ import annotations

from zoo.metrics.evaluate import METRICS, evaluate, parse
from zoo.metrics.likelihoods import LIKELIHOODS, in_unit, likelihood, receipt

__all__ = ["LIKELIHOODS", "METRICS", "evaluate", "in_unit", "likelihood", "parse", "receipt"]
