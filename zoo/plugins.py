"""Finding plugins: entry points of installed distributions, or this checkout's own table in `pyproject.toml`.

Nothing a plugin does here is fatal. One that can't be imported, declares a bad spec or misspells a hook is left out and
remembered with its error; `zoo plugins` shows it, and `ZOO_STRICT=1` makes it raise.
"""

from __future__ import annotations

import importlib
import os
import sys
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy

from zoo import hookspecs
from zoo.errors import DuplicateModelError, PluginError, one_line
from zoo.spec import DataSpec, ModelSpec

DISTRIBUTION = "pixelzoo"
GROUP = "zoo"
SLOW_SECONDS = 1.0  # an import that everybody would notice
HOOK_NAMES = frozenset(name for name in vars(hookspecs) if name.startswith("zoo_"))


@dataclass
class PluginRecord:
    """One plugin as `zoo plugins` shows it; `state` is "ok", "broken" or "disabled", `seconds` its import took."""

    name: str
    value: str
    distribution: str
    version: str
    state: str = "ok"
    error: str = ""
    exception: BaseException | None = field(default=None, repr=False)
    models: list[ModelSpec] = field(default_factory=list)
    datasets: list[DataSpec] = field(default_factory=list)
    hooks: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def origin(self) -> str:
        return f"{self.distribution} {self.version} (plugin '{self.name}')"

    @property
    def trouble(self) -> str:
        """What is wrong with it, in a line; empty if nothing is."""
        slow = self.seconds >= SLOW_SECONDS
        return self.error or (f"slow: importing it takes {self.seconds:.1f} s" if slow else "")

    def broke(self, error: BaseException) -> None:
        self.state, self.exception = "broken", error
        text = one_line(error)
        self.error = text if isinstance(error, PluginError) else f"{type(error).__name__}: {text}"
        self.models, self.datasets = [], []


def checkout() -> Path | None:
    """The root of the source tree that `zoo` is imported from, or None if it is an installed copy."""
    root = Path(__file__).resolve().parent.parent
    return root if (root / "plugins").is_dir() and (root / "pyproject.toml").is_file() else None


def candidates() -> Iterator[PluginRecord]:
    """Every plugin there is, first-party ones first, each once however many ways lead to it."""
    root = checkout()
    if root is not None:
        # torch.hub takes the clone off sys.path after loading it, and a stale egg-info may shadow plugins/.
        if str(root / "plugins") not in sys.path:
            sys.path.insert(0, str(root / "plugins"))
        project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        for name, value in project["entry-points"][GROUP].items():
            yield PluginRecord(name, value, DISTRIBUTION, project["version"])
    seen: set[tuple[str, str]] = set()
    installed = []
    for record in _installed():
        first_party = record.distribution.lower().replace("_", "-") == DISTRIBUTION
        if (first_party and root is not None) or (record.name, record.value) in seen:
            continue
        seen.add((record.name, record.value))
        installed.append((not first_party, record.name, record))
    for _, _, record in sorted(installed, key=lambda item: item[:2]):
        yield record


def _installed() -> Iterator[PluginRecord]:
    """The entry points of all distributions on the path; one that can't be read is a broken record, and no more."""
    seen: set[str] = set()
    for distribution in metadata.distributions():
        folder = Path(str(getattr(distribution, "_path", "unknown")))
        project = folder.stem.partition("-")[0].lower().replace("_", "-").replace(".", "-")
        if project in seen:  # the first on the path counts
            continue
        seen.add(project)
        records = []
        try:
            for point in distribution.entry_points.select(group=GROUP):
                records.append(PluginRecord(point.name, point.value, distribution.name, distribution.version))
                if not isinstance(distribution.name, str):
                    raise ValueError("its metadata has no Name")
        except Exception as error:  # text of another encoding, no metadata, lines that are no entry points
            broken = PluginRecord(folder.name, "", folder.name, "?")
            broken.broke(PluginError(f"'{folder}' is damaged: {one_line(error)}; install its package again"))
            records = [broken]
        yield from records


class PluginSet:
    """All plugins of this process: the pluggy manager, a record for each, and who declared which model."""

    def __init__(self, found: list[PluginRecord] | None = None) -> None:
        self.manager = pluggy.PluginManager(GROUP)
        self.manager.add_hookspecs(hookspecs)
        self.records: list[PluginRecord] = []
        self.owners: dict[str, PluginRecord] = {}
        self.conflicts: dict[str, DuplicateModelError] = {}
        self.modules: dict[str, Any] = {}
        disabled = {name.strip() for name in os.environ.get("ZOO_DISABLE", "").split(",") if name.strip()}
        for record in candidates() if found is None else found:
            self.records.append(record)
            if record.name in disabled:
                record.state = "disabled"
            elif record.value:
                self._admit(record)
            elif os.environ.get("ZOO_STRICT") == "1":
                raise PluginError(record.error)

    def _admit(self, record: PluginRecord) -> None:
        begun = time.perf_counter()
        try:
            plugin = importlib.import_module(record.value)
            record.seconds = time.perf_counter() - begun
            self.add(record, plugin)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a plugin may do anything at import, sys.exit() included
            record.broke(error)
            if os.environ.get("ZOO_STRICT") == "1":
                raise PluginError(f"{record.origin} is broken: {record.error}") from error

    def add(self, record: PluginRecord, plugin: Any) -> None:
        """Register one imported plugin whole, or not at all; raises what is wrong with it."""
        if record.name in self.modules:
            raise PluginError(f"another plugin is already called '{record.name}'")
        self._check_hooks(record, plugin)
        try:
            self.manager.register(plugin, name=record.name)
            self.manager.check_pending()
            models = self._declared(record.name, "zoo_models", ModelSpec)
            datasets = self._declared(record.name, "zoo_datasets", DataSpec)
            for spec in models:
                if problems := spec.problems():
                    raise PluginError(f"model {spec.name!r}: {'; '.join(problems)}")
            self._check_names(record, models)
            self._check_data_names(datasets)
        except BaseException:
            if self.manager.has_plugin(record.name):
                self.manager.unregister(name=record.name)
            raise
        record.models, record.datasets = models, datasets
        self.modules[record.name] = plugin
        self.owners.update({spec.name: record for spec in models})

    def _check_hooks(self, record: PluginRecord, plugin: Any) -> None:
        named = [name for name in dir(plugin) if name.startswith("zoo_")]
        values = [(name, getattr(plugin, name)) for name in named]
        hooks = [name for name, value in values if callable(value) and not isinstance(value, ModuleType)]
        for name in hooks:
            if name not in HOOK_NAMES:
                raise PluginError(f"there is no hook '{name}'; the hooks are: {', '.join(sorted(HOOK_NAMES))}")
            if self.manager.parse_hookimpl_opts(plugin, name) is None:
                raise PluginError(f"hook '{name}' lacks @zoo.hookimpl")
        if not hooks:
            raise PluginError("it implements no hook")
        record.hooks = sorted(hooks)

    def _declared(self, name: str, hook: str, kind: type) -> list[Any]:
        """What one plugin answers to `zoo_models` or `zoo_datasets`, checked to be a list of specs."""
        specs: list[Any] = []
        for answer in self.call_only(name, hook)():
            if not isinstance(answer, list | tuple) or not all(isinstance(item, kind) for item in answer):
                raise PluginError(f"{hook} must return a list of {kind.__name__}, not {answer!r:.80}")
            specs.extend(answer)
        return specs

    def _check_names(self, record: PluginRecord, models: list[ModelSpec]) -> None:
        names = [spec.name for spec in models]
        for name in names:
            if names.count(name) > 1:
                raise DuplicateModelError(f"{record.origin} declares model '{name}' twice")
            if name in self.owners:
                error = DuplicateModelError(
                    f"model '{name}' is declared by both {self.owners[name].origin} and {record.origin}; "
                    f"uninstall one, or set ZOO_DISABLE={record.name}"
                )
                self.conflicts[name] = error
                raise error

    def _check_data_names(self, datasets: list[DataSpec]) -> None:
        for other in self.records:
            for spec in other.datasets:
                if spec.name in [mine.name for mine in datasets]:
                    raise PluginError(f"data set '{spec.name}' is declared by {other.origin} already")

    def call_only(self, name: str, hook: str) -> pluggy.HookCaller:
        """The caller of `hook` without every other *implementer*; wrappers of other plugins stay."""
        caller: pluggy.HookCaller = getattr(self.manager.hook, hook)
        others = [
            impl.plugin
            for impl in caller.get_hookimpls()
            if impl.plugin_name != name and not (impl.hookwrapper or impl.wrapper)
        ]
        return self.manager.subset_hook_caller(hook, others)

    def owner_call(self, hook: str, arguments: dict[str, Any]) -> Any:
        """Call a hook on the plugin that declared `arguments["spec"]`, and on no other."""
        name = arguments["spec"].name
        record = self.owners[name]
        answer = self.call_only(record.name, hook)(**arguments)
        if answer is None:
            raise PluginError(f"{record.origin} gives no {hook} for model '{name}'")
        return answer
