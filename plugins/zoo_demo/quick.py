"""Gradio, without the stub files that it writes for editors each time it is imported.

For these it parses the source of each of its components, which takes half of its import.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import os
import sys
from collections.abc import Sequence
from types import ModuleType

MODULE, STUBS = "gradio.component_meta", "create_or_modify_pyi"


class _NoStubs(importlib.abc.MetaPathFinder):
    """Finds the module that writes stubs as usual, and puts nothing in the place of the function that does it."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != MODULE:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_without(module: ModuleType) -> None:
                execute(module)
                if hasattr(module, STUBS):
                    setattr(module, STUBS, lambda *_: None)

            spec.loader.exec_module = execute_without  # type: ignore[method-assign]
        return spec


def import_gradio() -> ModuleType:
    """Import Gradio, which is then told to ask nothing of any host."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    finder = _NoStubs()
    sys.meta_path.insert(0, finder)
    try:
        return importlib.import_module("gradio")
    finally:
        sys.meta_path.remove(finder)


gr = import_gradio()
