"""Building models. Configuration is the constructor's keyword-only arguments; their annotations are the schema."""

from __future__ import annotations

import ast
import functools
import inspect
import types
import typing
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from zoo import registry
from zoo.errors import OptionError, PluginError, is_shortage, unknown
from zoo.plugins import PluginSet
from zoo.spec import ModelSpec

if TYPE_CHECKING:
    from zoo.model import Model
    from zoo.request import SampleRequest


def build(name: str, preset: str | None = None, **overrides: Any) -> Model:
    """A fresh model with random weights, in training mode.

    Args:
        name: a registered model, as `zoo.models()` lists them.
        preset: name of a preset of the model; None takes the constructor's own defaults.
        overrides: keyword arguments of the constructor, on top of the preset.

    Raises:
        UnknownNameError: unknown model, preset or constructor argument.
        OptionError: an argument of the wrong type or value.
    """
    spec = registry.model_spec(name)
    config = spec.preset(preset) if preset is not None else {}
    return build_from_config(spec, {**config, **overrides})


def build_from_config(spec: ModelSpec, config: Mapping[str, Any]) -> Model:
    """A fresh model from constructor arguments, which are checked by name and type first."""
    from zoo.model import Model

    checked = check(spec, config)
    try:
        model = registry.call(spec, "zoo_build", config=dict(checked))
    except ValueError as error:
        raise OptionError(f"{spec.name}: {error}") from error
    except (RuntimeError, MemoryError) as error:
        if is_shortage(error):
            raise OptionError(f"{spec.name} of these settings does not fit into the memory; make it smaller") from error
        raise
    if not isinstance(model, Model):
        raise PluginError(f"zoo_build of '{spec.name}' must return a zoo.Model, not {type(model).__name__}")
    model.attach(spec, checked, _draw)
    return model


def _draw(model: Model, request: SampleRequest) -> Any:
    return registry.call(model.spec, "zoo_sample", model=model, request=request)


def _constructor(name: str) -> tuple[dict[str, inspect.Parameter], dict[str, Any]]:
    """Parameters and resolved annotations of a model's constructor."""
    return _read_constructor(registry.model_spec(name).name, registry.plugins())


@functools.lru_cache(maxsize=256)
def _read_constructor(name: str, found: PluginSet) -> tuple[dict[str, inspect.Parameter], dict[str, Any]]:
    """They are read off the tiny preset on the meta device, once for every search for plugins."""
    import torch

    spec = registry.model_spec(name)
    with torch.device("meta"):
        constructor = type(registry.call(spec, "zoo_build", config=spec.preset("tiny"))).__init__
    parameters = dict(inspect.signature(constructor).parameters)
    del parameters["self"]
    return parameters, typing.get_type_hints(constructor)


def defaults(spec: ModelSpec) -> dict[str, Any]:
    """The constructor's arguments that have defaults."""
    parameters, _ = _constructor(spec.name)
    return {name: p.default for name, p in parameters.items() if p.default is not p.empty and p.kind is p.KEYWORD_ONLY}


def check(spec: ModelSpec, config: Mapping[str, Any]) -> dict[str, Any]:
    """`config` completed with defaults, JSON lists made tuples where the constructor says so.

    Raises:
        UnknownNameError: an argument that the constructor does not have.
        OptionError: one of the wrong type, or a missing one.
    """
    parameters, hints = _constructor(spec.name)
    for name in config:
        if name not in parameters:
            raise unknown(f"setting of {spec.name}", name, parameters)
    checked = defaults(spec)
    for name, value in config.items():
        checked[name] = _convert(f"setting '{name}' of {spec.name}", value, hints.get(name, Any))
    missing = [name for name, p in parameters.items() if p.kind is p.KEYWORD_ONLY and name not in checked]
    if missing:
        raise OptionError(f"{spec.name} needs a value for {', '.join(missing)}")
    return checked


def parse(spec: ModelSpec, assignments: list[str]) -> dict[str, Any]:
    """`name=value` texts of the command line as constructor arguments, checked like `check`."""
    parsed = {}
    for text in assignments:
        name, equals, value = text.partition("=")
        if not equals:
            raise OptionError(f"--set takes name=value, not '{text}'")
        parsed[name] = literal(value)
    parameters, hints = _constructor(spec.name)
    for name, value in parsed.items():
        if name not in parameters:
            raise unknown(f"setting of {spec.name}", name, parameters)
        parsed[name] = _convert(f"setting '{name}' of {spec.name}", value, hints.get(name, Any))
    return parsed


def literal(text: str) -> Any:
    """A Python literal if `text` is one (`3`, `(1, 28, 28)`, `true`), else the text itself."""
    if text.lower() in ("true", "false", "none", "null"):
        return {"true": True, "false": False}.get(text.lower())
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


def describe(hint: Any) -> str:
    """An annotation in words for an error message."""
    if typing.get_origin(hint) is typing.Literal:
        return "one of " + ", ".join(repr(value) for value in typing.get_args(hint))
    return hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint)


def _convert(what: str, value: Any, hint: Any) -> Any:
    """`value` as the annotation wants it; only lossless conversions (list to tuple, int to float)."""
    converted = _fit(value, hint)
    if converted is _MISFIT:
        raise OptionError(f"{what} must be {describe(hint)}, not {value!r:.80}")
    return converted


_MISFIT = object()


def _fit(value: Any, hint: Any) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        fits = (_fit(value, argument) for argument in arguments)
        return next((fit for fit in fits if fit is not _MISFIT), _MISFIT)
    if origin is typing.Literal:
        return value if any(value == a and type(value) is type(a) for a in arguments) else _MISFIT
    if origin is tuple:
        if not isinstance(value, list | tuple):
            return _MISFIT
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            arguments = (arguments[0],) * len(value)
        fitted = [_fit(item, argument) for item, argument in zip(value, arguments, strict=False)]
        return _MISFIT if len(value) != len(arguments) or any(item is _MISFIT for item in fitted) else tuple(fitted)
    if hint is None or hint is type(None):
        return None if value is None else _MISFIT
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is int and isinstance(value, bool):
        return _MISFIT
    return value if isinstance(value, origin or hint) else _MISFIT
