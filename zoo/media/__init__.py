"""How pictures and clips come in and go out: files, grids, notebooks, and the record of where samples come from.

What is most used of `zoo.media.images` has its name here too, imported on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo.media.images import (
        as_map,
        beside_conditions,
        beside_given,
        drawing,
        from_pil,
        grid,
        picture_files,
        quantise,
        read_images,
        to_array,
        to_bytes,
        to_pil,
        write_image,
    )

__all__ = [
    "as_map",
    "beside_conditions",
    "beside_given",
    "drawing",
    "from_pil",
    "grid",
    "picture_files",
    "quantise",
    "read_images",
    "to_array",
    "to_bytes",
    "to_pil",
    "write_image",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'zoo.media' has no attribute '{name}'")
    return getattr(importlib.import_module("zoo.media.images"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
