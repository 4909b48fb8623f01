"""Pickles as StyleGAN2-ADA writes them: objects by names of modules that are not there when they are read."""

from __future__ import annotations

import pickle
import sys
import types
from typing import Any

import pytest

SENTINEL = "it_ran"


class EasyDict(dict):
    """A dictionary that is pickled by the name of a class that is not there when it is read."""


EasyDict.__module__, EasyDict.__qualname__ = "dnnlib.util", "EasyDict"
SOURCE = f"open({SENTINEL!r}, 'w')\nclass Network: pass\n"


def easy(**values: Any) -> EasyDict:
    return EasyDict(values)


def _reconstruct_persistent_obj(meta: Any) -> Any:
    raise AssertionError("this must never be called")


_reconstruct_persistent_obj.__module__ = "torch_utils.persistence"


def persistent(name: str, state: Any) -> tuple[Any, ...]:
    """What `__reduce__` returns to be pickled as an object of the class `name` with attributes `state`."""
    meta = easy(type="class", version=6, module_src=SOURCE, class_name=name, state=state)
    return _reconstruct_persistent_obj, (meta,), None


def pickled(value: Any, protocol: int = 4) -> bytes:
    """With those modules in place while it is written."""
    names = {"torch_utils.persistence": _reconstruct_persistent_obj, "dnnlib.util": EasyDict}
    modules = {name.partition(".")[0]: types.ModuleType(name.partition(".")[0]) for name in names}
    for name, content in names.items():
        modules[name] = types.ModuleType(name)
        setattr(modules[name], content.__name__, content)
    with pytest.MonkeyPatch.context() as patch:
        for name, module in modules.items():
            patch.setitem(sys.modules, name, module)
        return pickle.dumps(value, protocol)
