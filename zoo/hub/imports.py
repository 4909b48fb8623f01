"""Weights of other programs, made into a weights folder by the plugin that owns the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from zoo import building, hub, registry
from zoo.errors import OptionError, PluginError, WeightsError, ZooError, one_line
from zoo.files import digest
from zoo.hub.config import WeightsConfig
from zoo.hub.read import compare, usual_defaults
from zoo.model import Model
from zoo.spec import ModelSpec

HOOK = "zoo_import_weights"
LICENCE = "that of the imported file"


def import_weights(name: str, source: str | Path, out: str | Path) -> Path:
    """Write a foreign checkpoint as a weights folder; whole or not at all.

    Args:
        name: a registered model, whose plugin has a `zoo_import_weights`.
        source: the file.
        out: the folder; must be empty if it exists.

    Returns:
        The folder; its config names the file and its sha256, and says that the file's licence holds.

    Raises:
        OptionError: a model that imports nothing, or a folder that is in use.
        WeightsError: a file that is missing, damaged or hostile, or not for this model.
    """
    spec = registry.model_spec(name)
    source, out = Path(source).expanduser(), Path(out).expanduser()
    owner = registry.owner(spec)
    if HOOK not in owner.hooks:
        raise OptionError(f"{spec.name} can't import weights of other programs: {owner.origin} has no {HOOK}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OptionError(f"'{out}' exists and is not empty; choose another folder")
    try:
        sha256 = digest(source)
    except OSError as error:
        raise WeightsError(f"can't read '{source}': {error.strerror or error}") from None
    model = _model(spec, source)
    terms = f"The licence of the imported file, '{one_line(source.name)}', holds for these weights too."
    return hub.save(
        model,
        out,
        licence=LICENCE,
        training={"imported_from": one_line(source.name), "imported_sha256": sha256},
        limitations=terms,
    )


def _model(spec: ModelSpec, source: Path) -> Model:
    try:
        answer = registry.call(spec, HOOK, source=source)
    except ZooError:
        raise
    except Exception as error:  # a hook may fail in any way on a file it was not written for
        text = f"'{source}' is nothing that {spec.name} can import: {type(error).__name__}: {error}"
        raise WeightsError(one_line(text)) from error
    config, state = _checked(answer)
    header: Any = {key: (tuple(tensor.shape), tensor.dtype) for key, tensor in state.items()}
    compare(source, spec, _described(spec, config), header)
    try:
        with usual_defaults("cpu"):
            model = building.build_from_config(spec, config)
        model.load_state_dict(state, strict=True)
    except (RuntimeError, MemoryError) as error:
        raise WeightsError(f"can't import '{source}': {one_line(error)}") from error
    return model.eval()


def _checked(answer: Any) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    if isinstance(answer, tuple) and len(answer) == 2 and all(isinstance(part, dict) for part in answer):
        config, state = answer
        are_named = all(isinstance(key, str) for key in (*config, *state))
        if are_named and all(isinstance(value, torch.Tensor) for value in state.values()):
            return config, state
    raise PluginError(f"{HOOK} must return constructor arguments and a state dict, not {type(answer).__name__}")


def _described(spec: ModelSpec, config: dict[str, Any]) -> WeightsConfig:
    """What `compare` looks at: the constructor's arguments, and in which type floating tensors are."""
    unknown: dict[str, Any] = {"distribution": "", "version": "", "sha256": "", "size": 0, "golden": None, "raw": {}}
    return WeightsConfig(model=spec.name, config=config, dtype="float32", **unknown)


def read_state_dict(source: str | Path) -> dict[str, torch.Tensor]:
    """The tensors by name in a file of `torch.save`, of which nothing is run.

    Raises:
        WeightsError: a file that is damaged or hostile, or holds something else.
    """
    try:
        content = torch.load(source, map_location="cpu", weights_only=True)
    except Exception as error:  # of many types, all of them about the file
        raise WeightsError(f"'{source}' is no file of weights alone: {one_line(error, 200)}") from None
    if not isinstance(content, dict) or not all(isinstance(v, torch.Tensor) for v in content.values()):
        raise WeightsError(f"'{source}' holds no state dict")
    return {str(name): value for name, value in content.items()}
