"""Building models. Configuration is the constructor's keyword-only arguments; their annotations are the schema."""

from __future__ import annotations

import ast
import functools
import inspect
import re
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zoo import registry
from zoo.errors import OptionError, PluginError, is_shortage, unknown
from zoo.plugins import PluginSet
from zoo.spec import ModelSpec

if TYPE_CHECKING:
    from accelerate import Accelerator

    from zoo.model import Model
    from zoo.request import SampleRequest
    from zoo.settings import Settings
    from zoo.trainer import Trainer


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
    return build_from_config(spec, {**spec.preset(preset).model, **overrides})


def build_from_config(spec: ModelSpec, config: Mapping[str, Any]) -> Model:
    """A fresh model from constructor arguments, which are checked by name and type first."""
    from zoo.model import Model

    checked = schema(spec).check(config)
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


def make_trainer(
    spec: ModelSpec, model: Model, settings: Settings, accelerator: Accelerator, recipe: Mapping[str, Any]
) -> Trainer:
    """The trainer of a model with this recipe, on top of its defaults; errors as of `build_from_config`."""
    checked = schema(spec, "recipe").check(recipe)
    try:
        trainer: Trainer = registry.call(spec, "zoo_train")(model, settings, accelerator, **checked)
    except ValueError as error:
        raise OptionError(f"{spec.name}: {error}") from error
    return trainer


@dataclass(frozen=True)
class Schema:
    """The keyword-only arguments of a model's constructor, or of its trainer: names, defaults and annotations."""

    owner: str
    parameters: Mapping[str, inspect.Parameter]
    hints: Mapping[str, Any]
    doc: str

    def __contains__(self, name: str) -> bool:
        return name in self.parameters

    def defaults(self) -> dict[str, Any]:
        """The arguments that have defaults."""
        return {name: p.default for name, p in self.parameters.items() if p.default is not p.empty}

    def check(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """`config` completed with defaults, JSON lists made tuples where the annotation says so.

        Raises:
            UnknownNameError: an argument that there is none of.
            OptionError: one of the wrong type, or a missing one.
        """
        checked = self.defaults()
        for name, value in config.items():
            if name not in self:
                raise unknown(f"setting of {self.owner}", name, self.parameters)
            checked[name] = _convert(f"setting '{name}' of {self.owner}", value, self.hints.get(name, Any))
        if missing := [name for name in self.parameters if name not in checked]:
            raise OptionError(f"{self.owner} needs a value for {', '.join(missing)}")
        return checked

    def describe(self) -> list[dict[str, str]]:
        """A row for each argument: name, type, default, and what its docstring says."""
        return [
            {
                "name": name,
                "type": describe(self.hints.get(name, Any)),
                "default": "-" if p.default is p.empty else repr(p.default),
                "meaning": _meaning(self.doc, name),
            }
            for name, p in self.parameters.items()
        ]


def schema(spec: ModelSpec, kind: str = "model") -> Schema:
    """What a model's constructor takes, or with `kind` "recipe" its trainer."""
    return _read_schema(registry.model_spec(spec.name).name, kind, registry.plugins())


@functools.lru_cache(maxsize=256)
def _read_schema(name: str, kind: str, found: PluginSet) -> Schema:
    """Read off the tiny preset on the meta device, once for every search for plugins."""
    from zoo.meta import on_meta

    spec = registry.model_spec(name)
    if kind == "recipe":
        maker = registry.call(spec, "zoo_train")
        if not callable(maker):
            raise PluginError(f"zoo_train of '{name}' must return a class or function, not {type(maker).__name__}")
    else:
        with on_meta():
            maker = type(registry.call(spec, "zoo_build", config=dict(spec.preset("tiny").model)))
    function = maker.__init__ if isinstance(maker, type) else maker  # type: ignore[misc]
    parameters = inspect.signature(function).parameters
    own = {key: p for key, p in parameters.items() if p.kind is p.KEYWORD_ONLY}
    annotated = type("annotated", (), {"__annotations__": {key: p.annotation for key, p in own.items()}})
    hints = typing.get_type_hints(annotated, globalns=getattr(function, "__globals__", {}))
    return Schema(name, own, hints, inspect.getdoc(maker) or "")


def _meaning(doc: str, name: str) -> str:
    """What a docstring says about an argument, in its list "Args:", on one line."""
    found = re.search(rf"^ *(?:\w+, )*{name}(?:, \w+)*: (.*(?:\n {{8,}}.*)*)", doc, re.MULTILINE)
    return " ".join(found[1].split()) if found else ""


def split(spec: ModelSpec, given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Settings as constructor arguments and as recipe, checked by name and type.

    Raises:
        UnknownNameError: neither the constructor nor the trainer has it.
        OptionError: a value of the wrong type.
    """
    network, recipe = schema(spec), schema(spec, "recipe")
    parts: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
    for name, value in given.items():
        if name not in network and name not in recipe:
            raise unknown(f"setting of {spec.name}", name, (*network.parameters, *recipe.parameters))
        place = 0 if name in network else 1
        hint = (network, recipe)[place].hints.get(name, Any)
        parts[place][name] = _convert(f"setting '{name}' of {spec.name}", value, hint)
    return parts


def without_recipe(spec: ModelSpec, config: Mapping[str, Any]) -> dict[str, Any]:
    """Constructor arguments of an older version without those that have become part of the recipe."""
    network = schema(spec)
    if all(name in network for name in config):
        return dict(config)
    recipe = schema(spec, "recipe")
    return {name: value for name, value in config.items() if name in network or name not in recipe}


def parse(assignments: Iterable[str]) -> dict[str, Any]:
    """`name=value` texts of the command line as names and literals; raises OptionError."""
    parsed = {}
    for text in assignments:
        name, equals, value = text.partition("=")
        if not equals:
            raise OptionError(f"--set takes name=value, not '{text}'")
        parsed[name] = literal(value)
    return parsed


def literal(text: str) -> Any:
    """A Python literal if `text` is one (`3`, `(1, 28, 28)`, `true`), else the text itself."""
    if text.lower() in ("true", "false", "none", "null"):
        return {"true": True, "false": False}.get(text.lower())
    try:
        return ast.literal_eval(text)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
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
