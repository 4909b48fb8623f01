"""What the zoo sees of its own tools. Free of torch."""

from __future__ import annotations

from zoo import hookimpl


@hookimpl
def zoo_models():
    return []
