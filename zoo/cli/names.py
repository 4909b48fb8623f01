"""Which model and which weights: `MODEL`, `MODEL:TAG`, `--weights` and `--locked`, the same in every verb."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from zoo import registry
from zoo.cli import console
from zoo.errors import OptionError, unknown
from zoo.spec import REPO_AT, ModelSpec

if TYPE_CHECKING:
    from zoo.model import Model


def find(model: str, weights: str | None) -> tuple[ModelSpec, str | None]:
    """The model of `MODEL` or `MODEL:TAG`, and the weights that this or `--weights` asks for.

    Raises:
        UnknownNameError: no such model.
        OptionError: weights in place of a model, or two answers as to which weights.
    """
    name, colon, tag = model.partition(":")
    if name not in registry.plugins().owners and (Path(model).is_dir() or REPO_AT.fullmatch(model)):
        context = click.get_current_context(silent=True)
        verb = context.command_path if context else "zoo sample"
        raise OptionError(
            f"'{model}' is no model but weights; say whose: {verb} {_trained(Path(model)) or 'MODEL'} --weights {model}"
        )
    spec = registry.model_spec(name)
    if colon and weights not in (None, tag):
        raise OptionError(f"'{model}' and --weights {weights} are two answers; give one")
    return spec, tag if colon else weights


def _trained(folder: Path) -> str | None:
    """The model that a weights folder or a run is of, if it says so."""
    for name, keys in (("config.json", ("model",)), ("run.json", ("settings", "model"))):
        try:
            value = json.loads((folder / name).read_text(encoding="utf-8"))
            for key in keys:
                value = value[key]
            return str(value)
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return None


def choose_weights(spec: ModelSpec, weights: str | None) -> str:
    """The weights to load: those asked for, or the only ones there are.

    Raises:
        OptionError: none given, and the model has none or several.
        UnknownNameError: neither a tag of the model, nor a folder, nor owner/repo[@revision].
    """
    if weights is None:
        if len(spec.weights) == 1:
            return next(iter(spec.weights))
        if not spec.weights:
            raise OptionError(
                f"{spec.name} has no pretrained weights; give your own with --weights FOLDER or owner/repo@revision"
            )
        raise OptionError(f"{spec.name} has several weights; choose with --weights {', '.join(sorted(spec.weights))}")
    if weights in spec.weights or "/" in weights or os.sep in weights or (weights and Path(weights).exists()):
        return weights
    raise unknown(f"weights of {spec.name}", weights, spec.weights, "(or give a folder, or owner/repo@revision)")


def locked_weights(spec: ModelSpec, weights: str | None, path: str) -> str:
    """The folder of this model's weights as a lock file has them, fetched if need be.

    Args:
        weights: a tag or owner/repo[@revision]; None for the only ones of the model in the file.

    Raises:
        OptionError: the file has none or several of them.
        WeightsError, HubError: they differ, or are not to be had.
    """
    from zoo.hub import lock as locks

    items = locks.read(path)
    tags = [weights] if weights else list(spec.weights)
    names = [tag if "/" in tag else f"{spec.name}:{tag}" for tag in tags]
    found = [item for name in names for item in locks.matching(items, name)]
    if len(found) != 1:
        wanted = names[0] if weights else spec.name
        there = ", ".join(item.name for item in found or items) or "nothing"
        raise OptionError(f"'{path}' has {'several' if found else 'no'} weights for {wanted}; --weights takes: {there}")
    return str(locks.download(found[0]))


def is_folder(spec: ModelSpec, weights: str | None) -> bool:
    """Whether weights are a folder; what is named like a tag is the tag."""
    return weights is not None and weights not in spec.weights and Path(weights).is_dir()


def check_finished(spec: ModelSpec, weights: str) -> None:
    """Raise OptionError for the folder of a run that has checkpoints alone."""
    if is_folder(spec, weights) and _is_unfinished(weights):
        raise OptionError(
            f"the run in '{weights}' has no weights yet; they come when it ends or is stopped with Ctrl-C. If it was "
            f"killed: zoo train --resume --out {weights} --max-minutes 1"
        )


def _is_unfinished(weights: str) -> bool:
    return (Path(weights) / "run.json").is_file() and not (Path(weights) / "config.json").exists()


def load(spec: ModelSpec, weights: str | None, locked: str | None, device: str) -> Model:
    """The model with the weights of `--weights`, or of these what `--locked` says; of a run that has no weights yet,
    those of its newest checkpoint. Errors as of `zoo.load`."""
    from zoo import hub

    if locked is not None:
        return hub.load(spec.name, weights=locked_weights(spec, weights, locked), device=device)
    chosen = choose_weights(spec, weights)
    if chosen in spec.weights or not _is_unfinished(chosen):
        return hub.load(spec.name, weights=chosen, device=device)
    from zoo.train.live import load_newest

    model, seen = load_newest(Path(chosen), spec.name, device)
    console.note(f"'{chosen}' has no weights yet; this is its newest checkpoint, after {seen} examples")
    return model
