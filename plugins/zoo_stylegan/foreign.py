"""Checkpoints of other programs, read without running anything of what is in them.

A pickle is a program for a small machine: it names functions by module and name, and calls them. The machine that reads
it here, `zoo.unpickling`, knows a fixed table of names and makes nothing but data; anything else that a file asks for
is an error which names it. It reads what `torch.save` wrote, in both its formats, and plain pickles with tensors or
persistent objects in them, as StyleGAN2-ADA publishes them. No file gets it to use much more memory than the file has
bytes.
"""

from __future__ import annotations

import io
import sys
import zipfile
from pathlib import Path
from typing import Any

import torch

from zoo.errors import WeightsError, one_line
from zoo_stylegan.unpickling import MAGIC, TABLE, Budget, Foreign, Machine, RefusedError, copy, read_legacy

__all__ = ["Foreign", "flatten", "init_arguments", "read_checkpoint"]

LIMIT = 100_000  # modules and tensors of one record
DEPTH = 100  # of modules in modules


def read_checkpoint(path: str | Path) -> Any:
    """What a file of `torch.save`, or a plain pickle, holds, with all tensors on the CPU.

    Dictionaries of any kind become `dict`, parameters become tensors, `argparse.Namespace` and persistent objects
    become `Foreign`.

    Raises:
        WeightsError: no such file, damaged, or one that asks for anything besides data.
    """
    path = Path(path).expanduser()
    try:
        content = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"can't read '{path}': {error.strerror or error}") from None
    try:
        budget = Budget(len(content))
        return _read_zip(content, budget) if content.startswith(b"PK") else _read_stream(content, budget)
    except RefusedError as error:
        raise WeightsError(one_line(f"'{path}' {error}")) from None
    except Exception as error:  # a damaged pickle may fail in any way
        reason = one_line(f"{type(error).__name__}: {error}", 200)
        raise WeightsError(one_line(f"'{path}' is no checkpoint, or a damaged one: {reason}")) from None


def flatten(record: Foreign) -> dict[str, torch.Tensor]:
    """The parameters and buffers of a module and of the modules in it, named and ordered as by its `state_dict`.

    Raises:
        WeightsError: the record is no module.
    """
    found: dict[str, torch.Tensor] = {}
    waiting: list[tuple[str, Any]] = [("", record)]
    steps = 0
    while waiting:
        prefix, module = waiting.pop()
        transient = _attribute(module, "_non_persistent_buffers_set", set, prefix)
        tensors = _attribute(module, "_parameters", dict, prefix)
        buffers = _attribute(module, "_buffers", dict, prefix)
        tensors = tensors | {name: value for name, value in buffers.items() if name not in transient}
        children = _attribute(module, "_modules", dict, prefix)
        steps += 1 + len(tensors) + len(children)
        if steps > LIMIT or prefix.count(".") > DEPTH:
            raise WeightsError(f"the record has over {LIMIT} parts, or parts nested over {DEPTH} deep")
        for name, value in tensors.items():
            if isinstance(value, torch.Tensor):
                found[f"{prefix}{name}"] = value
            elif value is not None:
                raise WeightsError(one_line(f"'{prefix}{name}' of the record is no tensor"))
        waiting += [(f"{prefix}{name}.", child) for name, child in reversed(children.items()) if child is not None]
    return found


def init_arguments(record: Foreign) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The positional and keyword arguments that a persistent object was made with."""
    return _attribute(record, "_init_args", tuple, ""), _attribute(record, "_init_kwargs", dict, "")


def _attribute(module: Any, name: str, kind: type[dict[Any, Any] | set[Any] | tuple[Any, ...]], prefix: str) -> Any:
    """An attribute of a record, or an empty one; a text as each of its keys."""
    value = module.state.get(name, kind()) if isinstance(module, Foreign) else None
    if not isinstance(value, kind) or not all(isinstance(key, str) for key in value if kind is not tuple):
        raise WeightsError(one_line(f"'{prefix.rstrip('.') or 'the record'}' is no module whose '{name}' can be read"))
    return value


def _read_zip(content: bytes, budget: Budget) -> Any:
    """The newer format of `torch.save`: an archive of a pickle and of one file for each storage."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = {name.partition("/")[2]: name for name in archive.namelist()}
        if "data.pkl" not in names:
            raise RefusedError("is a zip file, but not one of torch.save")
        if sum(entry.file_size for entry in archive.infolist()) > len(content):
            raise RefusedError("is compressed, which torch.save never does; that is refused")

        def read(name: str) -> bytes:
            return archive.read(names[name])

        if "byteorder" in names and read("byteorder") != sys.byteorder.encode():
            raise RefusedError("was written on a machine with another byte order")

        def fill(storage: torch.Tensor, key: str) -> None:
            raw = read(f"data/{key}")
            if len(raw) != storage.nbytes:
                raise RefusedError(f"says that storage {key} has {storage.nbytes} bytes, but it has {len(raw)}")
            copy(storage, raw)

        return Machine(io.BytesIO(read("data.pkl")), TABLE, budget, fill).load()


def _read_stream(content: bytes, budget: Budget) -> Any:
    """A plain pickle, or the older format of `torch.save`."""
    stream = io.BytesIO(content)
    first = Machine(stream, TABLE, budget).load()
    return read_legacy(stream, TABLE, budget) if first == MAGIC else first
