"""The models and data sets of all plugins, by name, and the dispatch of a hook to the plugin that owns the model."""

from __future__ import annotations

import functools
import os
import threading
import warnings
from typing import Any

from zoo.errors import unknown
from zoo.plugins import DISTRIBUTION, PluginRecord, PluginSet
from zoo.spec import DataSpec, ModelSpec

_lock = threading.Lock()
_silenced: set[str] = set()  # plugins that failed in an event of a training run


@functools.cache
def _discover() -> PluginSet:
    return PluginSet()


def plugins() -> PluginSet:
    """All plugins, found once per process."""
    with _lock:
        return _discover()


def reload() -> None:
    """Forget what was found; the next call looks again (after installing a plugin, or in tests)."""
    _discover.cache_clear()
    _silenced.clear()


def models() -> list[ModelSpec]:
    """The specs of all registered models, sorted by name."""
    return sorted((spec for record in plugins().records for spec in record.models), key=lambda spec: spec.name)


def datasets() -> list[DataSpec]:
    """The specs of all named data sets, sorted by name."""
    return sorted((spec for record in plugins().records for spec in record.datasets), key=lambda spec: spec.name)


def model_spec(name: str) -> ModelSpec:
    """The spec of one model.

    Raises:
        UnknownNameError: nobody declares it; the message names broken plugins, which might have.
        DuplicateModelError: two third-party plugins declare it.
    """
    found = plugins()
    record = found.owners.get(name)
    if name in found.conflicts and (record is None or record.distribution != DISTRIBUTION):
        raise found.conflicts[name]
    if record is None:
        broken = [record for record in found.records if record.state == "broken"]
        hint = "".join(f"(plugin '{record.name}' is broken: {record.error})" for record in broken)
        raise unknown("model", name, found.owners, hint)
    return next(spec for spec in record.models if spec.name == name)


def data_spec(name: str) -> DataSpec | None:
    """The spec of one named data set, or None."""
    return next((spec for spec in datasets() if spec.name == name), None)


def owner(spec: ModelSpec) -> PluginRecord:
    """The plugin that declared a model."""
    return plugins().owners[spec.name]


def call(spec: ModelSpec, hook: str, **arguments: Any) -> Any:
    """Call an owner-only hook (`zoo_build`, `zoo_train`, `zoo_sample`, `zoo_import_weights`) of a model."""
    return plugins().owner_call(hook, {"spec": spec, **arguments})


def notify(hook: str, **arguments: Any) -> None:
    """Tell every plugin about an event of a training run (`zoo_run_*`).

    A listener that fails does not end the run: it is named once in a warning and not called again, unless ZOO_STRICT=1.
    """
    for record in plugins().records:
        ask(record, hook, **arguments)


def ask(record: PluginRecord, hook: str, **arguments: Any) -> None:
    """Call a hook of one plugin, if it has it; a failure is a warning, after which the plugin is asked nothing more."""
    if hook not in record.hooks or record.name in _silenced:
        return
    try:
        plugins().call_only(record.name, hook)(**arguments)
    except (Exception, SystemExit) as error:  # a listener may fail in any way
        if os.environ.get("ZOO_STRICT") == "1":
            raise
        _silenced.add(record.name)
        warnings.warn(f"plugin '{record.name}' failed in {hook} and is not called again: {error!r}", stacklevel=3)
