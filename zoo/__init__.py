"""pixelzoo: a plugin-based zoo of generative image and video models with a hub interface. For example::

    import zoo
    model = zoo.load("pixelcnn", weights="mnist")
    images = model.sample(16, seed=0)               # uint8, (N, C, H, W)

Names are imported on first use, so that `import zoo` and everything `zoo list` touches stays free of torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from zoo.errors import ZooError
from zoo.hookspecs import hookimpl
from zoo.registry import datasets, models
from zoo.spec import Column, DataSpec, ModelSpec, Option, Preset, Weights
from zoo.version import __version__ as __version__

if TYPE_CHECKING:
    from zoo.building import build
    from zoo.hub import load, push, save
    from zoo.media.display import save_images, show
    from zoo.model import Model

__all__ = [
    "Column",
    "DataSpec",
    "Model",
    "ModelSpec",
    "Option",
    "Preset",
    "Weights",
    "ZooError",
    "build",
    "datasets",
    "hookimpl",
    "load",
    "models",
    "push",
    "save",
    "save_images",
    "show",
]

_LAZY = {
    "Model": "zoo.model",
    "build": "zoo.building",
    "load": "zoo.hub",
    "push": "zoo.hub",
    "save": "zoo.hub",
    "save_images": "zoo.media.display",
    "show": "zoo.media.display",
}


def __getattr__(name: str) -> Any:
    if name == "metrics":  # a package, for `zoo.metrics.evaluate`
        return importlib.import_module("zoo.metrics")
    if name not in _LAZY:
        raise AttributeError(f"module 'zoo' has no attribute '{name}'")
    return getattr(importlib.import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
