"""Weights by name: found, verified, loaded, saved, published. Names are imported on first use."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo.hub.publish import Package, pin_text, prepare, push, record, send
    from zoo.hub.resolve import at_commit, download, load
    from zoo.hub.write import save

__all__ = ["Package", "at_commit", "download", "load", "pin_text", "prepare", "push", "record", "save", "send"]

_HOMES = {
    "zoo.hub.publish": ("Package", "pin_text", "prepare", "push", "record", "send"),
    "zoo.hub.resolve": ("at_commit", "download", "load"),
    "zoo.hub.write": ("save",),
}
_LAZY = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'zoo.hub' has no attribute '{name}'")
    return getattr(importlib.import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
