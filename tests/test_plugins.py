"""Plugins are found once, broken ones take nothing down, and nobody is called for another's model."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import zoo
from zoo import building, hookimpl, plugins, registry
from zoo.errors import DuplicateModelError, PluginError, UnknownNameError
from zoo.plugins import PluginRecord, PluginSet
from zoo.spec import DataSpec, ModelSpec, Option, Preset, Weights

ROOT = Path(__file__).resolve().parent.parent


def spec(name: str = "fake", **changes: Any) -> ModelSpec:
    given = {
        "name": name,
        "summary": "a fake",
        "paper": "none",
        "kind": "gan",
        "task": "image-generation",
        "data_shape": ("C", "H", "W"),
        "presets": {"tiny": Preset()},
    }
    return ModelSpec(**{**given, **changes})


def models(*specs: ModelSpec) -> Any:
    @hookimpl
    def zoo_models() -> list[ModelSpec]:
        return list(specs)

    return zoo_models


def module(monkeypatch: pytest.MonkeyPatch, name: str, **functions: Any) -> PluginRecord:
    """A plugin module `name` with these hooks, ready to be imported."""
    fake = types.ModuleType(name)
    vars(fake).update(functions)
    monkeypatch.setitem(sys.modules, name, fake)
    return record(name)


def record(name: str, value: str | None = None) -> PluginRecord:
    return PluginRecord(name, value or name, f"dist-{name}", "1.0")


def ours() -> list[PluginRecord]:
    return [found for found in plugins.candidates() if found.distribution == plugins.DISTRIBUTION]


Use = Callable[..., PluginSet]


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Use:
    """`use(record, ...)` puts these plugins behind ours, as the whole zoo of this process."""

    def install(*records: PluginRecord) -> PluginSet:
        found = PluginSet(found=[*ours(), *records])
        monkeypatch.setattr(registry, "_discover", lambda: found)
        return found

    return install


def assert_pixelcnn_works() -> None:
    assert zoo.build("pixelcnn", preset="tiny").sample(2).shape == (2, 1, 8, 8)


# What can be wrong with a plugin: its source, and what its error says.
BROKEN = {
    "import_error": ("import no_such_module_of_anybody", "ModuleNotFoundError: No module named 'no_such_module_of"),
    "missing_name": ("from zoo import no_such_name", "ImportError: cannot import name 'no_such_name'"),
    "syntax_error": ("def zoo_models(:\n", "SyntaxError"),
    "exit": ("import sys\nsys.exit('goodbye')", "SystemExit: goodbye"),
    "exception": ("raise RuntimeError('two\\nlines')", "RuntimeError: two lines"),
    "base_exception": ("class Odd(BaseException): pass\nraise Odd", "Odd"),
    "no_hook": ("", "implements no hook"),
    "misspelt": ("@hookimpl\ndef zoo_modles():\n    return []", "there is no hook 'zoo_modles'"),
    "unmarked": ("def zoo_models():\n    return []", "hook 'zoo_models' lacks @zoo.hookimpl"),
    "renamed_argument": ("@hookimpl\ndef zoo_build(spec, kwargs):\n    pass", "kwargs"),
    "raises": ("@hookimpl\ndef zoo_models():\n    return [1 / 0]", "ZeroDivisionError"),
    "exits": ("@hookimpl\ndef zoo_models():\n    raise SystemExit(3)", "SystemExit: 3"),
    "not_a_list": ("@hookimpl\ndef zoo_models():\n    return 'pixelcnn'", "zoo_models must return a list of ModelSpec"),
    "not_specs": ("@hookimpl\ndef zoo_models():\n    return [{'name': 'x'}]", "zoo_models must return a list of Mod"),
    "not_data_specs": ("@hookimpl\ndef zoo_datasets():\n    return ['mnist']", "zoo_datasets must return a list of Da"),
    "bad_field": ("@hookimpl\ndef zoo_models():\n    return [zoo.ModelSpec(nome='x')]", "TypeError"),
}
HEADER = "import zoo\nfrom zoo import hookimpl\n"


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_plugin_is_recorded_and_nothing_else_happens(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, use: Use
) -> None:
    source, error = BROKEN[fault]
    (tmp_path / f"broken_{fault}.py").write_text(HEADER + source, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    broken = record("bad", f"broken_{fault}")
    found = use(broken)
    assert broken.state == "broken"
    assert error in broken.error
    assert "\n" not in broken.error
    assert broken.exception is not None
    assert (broken.models, broken.datasets) == ([], [])
    assert not found.manager.has_plugin("bad")
    assert [r.state for r in found.records if r is not broken] == ["ok"] * (len(found.records) - 1)
    assert_pixelcnn_works()


BAD_SPECS = {
    "name": {"name": "Bad Name"},
    "empty": {"summary": ""},
    "axes": {"data_shape": ("H", "W")},
    "no_tiny": {"presets": {"big": Preset()}},
    "presets": {"presets": None},
    "option_type": {"sample_options": (Option(name="o", type="complex"),)},
    "option_default": {"sample_options": (Option(name="o", type="int", default=9, maximum=3),)},
    "pin": {"weights": {"a": zoo.Weights(repo="x", revision=None, sha256="0", size=0)}},
    "revision": {"weights": {"a": zoo.Weights(repo="x/y", revision="main", sha256="0" * 64, size=1)}},
}


@pytest.mark.parametrize("fault", BAD_SPECS)
def test_one_bad_spec_breaks_its_plugin_whole(fault: str, monkeypatch: pytest.MonkeyPatch, use: Use) -> None:
    bad = module(monkeypatch, "fake_bad_spec", zoo_models=models(spec("good"), spec(**BAD_SPECS[fault])))
    use(bad)
    assert bad.state == "broken"
    assert bad.error
    with pytest.raises(UnknownNameError, match="plugin 'fake_bad_spec' is broken"):
        zoo.build("good")
    assert_pixelcnn_works()


def test_a_slow_import_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, use: Use) -> None:
    source = "import time\ntime.sleep(0.2)\n@hookimpl\ndef zoo_models():\n    return []"
    (tmp_path / "slow_plugin.py").write_text(HEADER + source, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(plugins, "SLOW_SECONDS", 0.1)
    slow = record("slow", "slow_plugin")
    use(slow)
    assert slow.state == "ok"
    assert slow.trouble == f"slow: importing it takes {slow.seconds:.1f} s"
    assert_pixelcnn_works()


def test_a_missing_file_of_a_plugin(use: Use) -> None:
    gone = record("gone", "zoo_uninstalled_by_hand.plugin")
    use(gone)
    assert gone.state == "broken"
    assert "No module named 'zoo_uninstalled_by_hand'" in gone.error
    assert_pixelcnn_works()


def test_ctrl_c_during_an_import_is_no_broken_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "interrupted_plugin.py").write_text("raise KeyboardInterrupt", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        PluginSet(found=[record("interrupted", "interrupted_plugin")])


# Names


def test_two_plugins_of_one_name(monkeypatch: pytest.MonkeyPatch, use: Use) -> None:
    first = module(monkeypatch, "fake_first", zoo_models=models(spec("first")))
    second = module(monkeypatch, "fake_second", zoo_models=models(spec("second")))
    first.name = second.name = "same"
    use(first, second)
    assert (first.state, second.state) == ("ok", "broken")
    assert "already called 'same'" in second.error
    assert [s.name for s in zoo.models() if s.name in ("first", "second")] == ["first"]


def test_a_second_plugin_can_not_take_the_name_of_ours(monkeypatch: pytest.MonkeyPatch, use: Use) -> None:
    [our] = [r for r in ours() if r.name == "pixelcnn"]
    thief = module(monkeypatch, "fake_thief", zoo_models=models(spec("pixelcnn")), zoo_build=hookimpl(_build_nothing))
    use(thief)
    assert thief.state == "broken"
    assert isinstance(thief.exception, DuplicateModelError)
    assert our.origin in thief.error
    assert thief.origin in thief.error
    assert_pixelcnn_works()


def test_a_name_that_two_third_parties_declare_is_an_error_naming_both(
    monkeypatch: pytest.MonkeyPatch, use: Use
) -> None:
    pair = [module(monkeypatch, f"fake_{name}", zoo_models=models(spec("twin"), spec(f"only_{name}"))) for name in "ab"]
    use(*pair)
    with pytest.raises(DuplicateModelError) as caught:
        zoo.build("twin")
    for party in pair:
        assert party.distribution in str(caught.value)
    assert "ZOO_DISABLE=fake_b" in str(caught.value)
    monkeypatch.setenv("ZOO_DISABLE", "fake_b")
    pair = [record(party.name) for party in pair]
    use(*pair)
    assert registry.owner(registry.model_spec("twin")).name == "fake_a"


def test_one_plugin_that_declares_a_name_twice(monkeypatch: pytest.MonkeyPatch, use: Use) -> None:
    twice = module(monkeypatch, "fake_twice", zoo_models=models(spec("again"), spec("again")))
    use(twice)
    assert "declares model 'again' twice" in twice.error


def test_an_unknown_model_suggests_the_nearest_and_names_broken_plugins(use: Use) -> None:
    use(record("gone", "zoo_uninstalled_by_hand.plugin"))
    with pytest.raises(UnknownNameError) as caught:
        zoo.build("pixlcnn")
    assert "unknown model 'pixlcnn'; did you mean 'pixelcnn'?" in str(caught.value)
    assert "plugin 'gone' is broken: ModuleNotFoundError" in str(caught.value)


# Switches


def test_a_disabled_plugin_is_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, use: Use) -> None:
    (tmp_path / "disabled_plugin.py").write_text("import pathlib\npathlib.Path('imported').touch()", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZOO_DISABLE", " other , off,")
    monkeypatch.setenv("ZOO_STRICT", "1")  # what is not imported is not broken either
    off = record("off", "disabled_plugin")
    use(off)
    assert off.state == "disabled"
    assert not (tmp_path / "imported").exists()
    assert_pixelcnn_works()


def test_strict_makes_a_broken_plugin_fatal(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = record("gone", "zoo_uninstalled_by_hand.plugin")
    monkeypatch.setenv("ZOO_STRICT", "0")
    PluginSet(found=[gone])
    monkeypatch.setenv("ZOO_STRICT", "1")
    with pytest.raises(PluginError, match=r"'gone'.*No module named 'zoo_uninstalled_by_hand'") as caught:
        PluginSet(found=[gone])
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


def test_disabling_ours_in_a_fresh_process() -> None:
    code = (
        "import sys, zoo; print([s.name for s in zoo.models()], [s.name for s in zoo.datasets()]);"
        "assert not any(name.startswith('zoo_pixelcnn') for name in sys.modules)"
    )
    done = run(code, ZOO_DISABLE="pixelcnn")
    assert "pixelcnn" not in done.stdout
    assert "mnist" in done.stdout
    assert run("import zoo; print(zoo.models())", ZOO_STRICT="1").stdout  # ours are all sound


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)


# Dispatch


def _build_nothing(spec: ModelSpec, config: dict[str, Any]) -> None:
    raise AssertionError("called for another's model")


def test_only_the_owner_is_called(monkeypatch: pytest.MonkeyPatch, use: Use) -> None:
    """Every owner-only hook of a stranger stays untouched, whether it comes before or after the owner."""
    called: list[str] = []

    def hijack(name: str, arguments: str) -> Any:
        code = f"def {name}({arguments}): called.append('{name}')"
        scope: dict[str, Any] = {"called": called}
        exec(code, scope)
        return hookimpl(scope[name], tryfirst=True)

    hooks = {
        "zoo_build": hijack("zoo_build", "spec, config"),
        "zoo_train": hijack("zoo_train", "spec"),
        "zoo_sample": hijack("zoo_sample", "spec, model, request"),
        "zoo_import_weights": hijack("zoo_import_weights", "spec, source"),
    }
    stranger = module(monkeypatch, "fake_stranger", zoo_models=models(spec("strange")), **hooks)
    found = use(stranger)
    assert stranger.state == "ok"
    assert_pixelcnn_works()
    pixelcnn = registry.model_spec("pixelcnn")
    assert building.make_trainer(pixelcnn, **trainer_arguments(), recipe={}) is not None
    with pytest.raises(PluginError, match="gives no zoo_import_weights for model 'pixelcnn'"):
        registry.call(pixelcnn, "zoo_import_weights", source=Path("x"))
    assert called == []
    for name in hooks:  # its own model, though, gets its own hooks, which here answer nothing
        with pytest.raises(PluginError, match=f"{name} for model 'strange'"):
            found.owner_call(name, {**_arguments(name), "spec": registry.model_spec("strange")})
    assert called == list(hooks)


def _arguments(hook: str) -> dict[str, None]:
    specified = registry.plugins().manager.hook
    return dict.fromkeys(getattr(specified, hook).spec.argnames)


def trainer_arguments() -> dict[str, Any]:
    from zoo.train import loop
    from zoo.train.accelerator import make_accelerator

    settings = loop.Settings(model="pixelcnn", data="none", out="", device="cpu")
    model = zoo.build("pixelcnn", preset="tiny")
    return {"model": model, "settings": settings, "accelerator": make_accelerator(settings)}


def test_a_wrapper_of_any_plugin_applies(monkeypatch: pytest.MonkeyPatch, use: Use) -> None:
    """Pictures come out inverted, because a stranger's wrapper says so."""
    plain = zoo.build("pixelcnn", preset="tiny")

    @hookimpl(wrapper=True)
    def zoo_sample(spec: ModelSpec, request: Any) -> Any:
        images = yield
        return 3 - images

    straight = plain.sample(3)
    wrapper = module(monkeypatch, "fake_wrapper", zoo_sample=zoo_sample)
    use(wrapper)
    assert wrapper.state == "ok"
    assert torch.equal(plain.sample(3), 3 - straight)


def test_a_plugin_of_events_alone_hears_every_run(monkeypatch: pytest.MonkeyPatch, use: Use) -> None:
    heard: list[str] = []

    @hookimpl
    def zoo_run_finished(summary: dict[str, Any]) -> None:
        heard.append(summary["reason"])

    listener = module(monkeypatch, "fake_listener", zoo_run_finished=zoo_run_finished)
    use(listener)
    assert listener.hooks == ["zoo_run_finished"]
    registry.notify("zoo_run_finished", run=None, summary={"reason": "finished"})
    assert heard == ["finished"]


def test_a_model_that_is_no_zoo_model(monkeypatch: pytest.MonkeyPatch, use: Use) -> None:
    @hookimpl
    def zoo_build(spec: ModelSpec, config: dict[str, Any]) -> torch.nn.Module:
        return torch.nn.Linear(2, 2)

    use(module(monkeypatch, "fake_linear", zoo_models=models(spec("linear")), zoo_build=zoo_build))
    with pytest.raises(PluginError, match=r"zoo_build of 'linear' must return a zoo.Model, not Linear"):
        zoo.build("linear")


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (lambda n: torch.zeros(n, 1, 8, 8), "torch.float32"),
        (lambda n: torch.zeros(n, 8, 8, dtype=torch.uint8), r"\(2, 8, 8\)"),
        (lambda n: torch.zeros(n + 1, 1, 8, 8, dtype=torch.uint8), r"\(3, 1, 8, 8\)"),
        (lambda n: [1] * n, "list"),
    ],
)
def test_samples_that_are_no_pictures(
    answer: Callable[[int], Any], found: str, monkeypatch: pytest.MonkeyPatch, use: Use
) -> None:
    @hookimpl(wrapper=True)
    def zoo_sample(request: Any) -> Any:
        yield
        return answer(request.n)

    model = zoo.build("pixelcnn", preset="tiny")
    use(module(monkeypatch, "fake_answer", zoo_sample=zoo_sample))
    with pytest.raises(PluginError, match=f"zoo_sample of 'pixelcnn' must return .*{found}"):
        model.sample(2)


def test_data_sets_of_a_plugin_are_listed(monkeypatch: pytest.MonkeyPatch, use: Use) -> None:
    @hookimpl
    def zoo_datasets() -> list[DataSpec]:
        return [DataSpec(name="faces", summary="faces", repo=None, licence="none")]

    use(module(monkeypatch, "fake_faces", zoo_datasets=zoo_datasets))
    assert "faces" in [data.name for data in zoo.datasets()]
    assert registry.data_spec("faces") is not None


# Discovery


class Site:
    """A folder of installed distributions, the only one that is searched."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        found = plugins.metadata.distributions
        monkeypatch.setattr(plugins.metadata, "distributions", lambda: found(path=[str(self.folder)]))

    def install(
        self, name: str, entry_points: str | bytes, metadata: str | bytes | None = "", version: str = "9"
    ) -> Path:
        info = self.folder / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        if metadata is not None:
            text = metadata or f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
            (info / "METADATA").write_bytes(text if isinstance(text, bytes) else text.encode())
        text = entry_points
        (info / "entry_points.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
        return info

    def plugin(self, name: str, value: str, distribution: str, version: str = "9") -> Path:
        return self.install(distribution, f"[zoo]\n{name} = {value}\n", version=version)

    @property
    def found(self) -> list[tuple[str, str, str]]:
        return [(found.name, found.value, found.distribution) for found in plugins.candidates()]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    return Site(tmp_path / "site", monkeypatch)


OURS = ("pixelcnn", "zoo_pixelcnn.plugin", "pixelzoo")


@pytest.mark.parametrize("spelling", ["pixelzoo", "PixelZoo"])
def test_a_checkout_that_is_installed_too_registers_once(site: Site, spelling: str) -> None:
    """An editable install, or an older wheel beside the clone: the clone's own table counts."""
    site.install(spelling, "[zoo]\npixelcnn = zoo_pixelcnn.plugin\nremoved_long_ago = zoo_removed.plugin\n")
    found = site.found
    assert found.count(OURS) == 1
    assert len(found) == len({name for name, _, _ in found})
    assert "removed_long_ago" not in [name for name, _, _ in found]


def test_an_installed_copy_reads_its_entry_points(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "checkout", lambda: None)
    site.plugin("aaa", "aaa.plugin", "zoo-aaa")
    site.plugin("pixelcnn", "zoo_pixelcnn.plugin", "pixelzoo")
    assert site.found == [OURS, ("aaa", "aaa.plugin", "zoo-aaa")]


def test_one_entry_point_seen_twice_registers_once(site: Site) -> None:
    """A folder that is on the path twice, or the metadata of an old version left behind."""
    for version in ("1", "2"):
        site.plugin("nade", "zoo_nade.plugin", "zoo-nade", version)
    site.plugin("nade", "zoo_nade.plugin", "zoo-nade-fork")
    assert len([found for found in site.found if found[:2] == ("nade", "zoo_nade.plugin")]) == 1


def test_third_parties_come_after_ours_in_order_of_their_names(site: Site) -> None:
    for name in ("zz", "aa"):
        site.plugin(name, f"{name}.plugin", f"zoo-{name}")
    found = site.found
    assert [name for name, _, distribution in found if distribution != "pixelzoo"] == ["aa", "zz"]
    assert found.index(OURS) < found.index(("aa", "aa.plugin", "zoo-aa"))


PLUGIN = "[zoo]\nx = x.plugin\ny = y.plugin\n"
DAMAGED = {
    "no_metadata": (PLUGIN, None),
    "no_name": (PLUGIN, "Metadata-Version: 2.1\nVersion: 1\n"),
    "latin_1_metadata": (PLUGIN, "Name: x\nVersion: 1\nAuthor: Jos\u00e9\n".encode("latin-1")),
    "latin_1": ("[console_scripts]\njos\u00e9 = x:main\n".encode("latin-1"), ""),
    "no_entry_point": ("[console_scripts]\nmain\n", ""),
}


@pytest.mark.parametrize("fault", DAMAGED)
def test_a_damaged_distribution_is_one_broken_record(
    fault: str, site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from zoo.cli import main

    info = site.install("damaged", *DAMAGED[fault])
    site.plugin("nade", "zoo_nade.plugin", "zoo-nade")
    found = PluginSet()
    [broken] = [record for record in found.records if record.name == info.name]
    assert broken.state == "broken"
    assert str(info) in broken.error
    assert "\n" not in broken.error
    assert [record.name for record in found.records if record.distribution == "zoo-nade"] == ["nade"]
    assert {record.name for record in found.records if record.state == "ok"} >= {"pixelcnn", "datasets", "tools"}
    monkeypatch.setattr(registry, "_discover", lambda: found)
    assert main(["plugins"]) == 0
    assert capsys.readouterr().out.count(f"'{info}' is damaged") == 1
    from zoo_tools import doctor

    findings = [*doctor._run(doctor._versions), *doctor._run(doctor._plugins)]
    assert sum(f"'{info}' is damaged" in finding.detail for finding in findings) == 1
    assert not [finding for finding in findings if "can't be checked" in finding.detail]
    monkeypatch.setenv("ZOO_STRICT", "1")
    with pytest.raises(PluginError, match="is damaged"):
        PluginSet()


def test_damage_that_concerns_no_plugin_is_nobodys_business(site: Site) -> None:
    """The folder that an interrupted uninstallation leaves behind."""
    (site.folder / "left_behind-1.dist-info").mkdir(parents=True)
    assert {record.state for record in plugins.candidates()} == {"ok"}


def test_what_is_found_is_remembered_until_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    before = registry.plugins()
    assert registry.plugins() is before
    registry.reload()
    after = registry.plugins()
    assert after is not before
    assert [found.name for found in after.records] == [found.name for found in before.records]


def test_two_plugins_can_not_declare_one_data_set(monkeypatch: pytest.MonkeyPatch, use: Use) -> None:
    @hookimpl
    def zoo_datasets() -> list[DataSpec]:
        return [DataSpec(name="mnist", summary="not it", repo="me/mnist", licence="mit")]

    thief = module(monkeypatch, "fake_thief", zoo_datasets=zoo_datasets)
    use(thief)
    assert "data set 'mnist' is declared by pixelzoo" in thief.error
    assert [spec.repo for spec in zoo.datasets() if spec.name == "mnist"] == ["ylecun/mnist"]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"data_shape": "CHW"}, "data_shape 'CHW' is none of"),
        ({"presets": ["tiny"]}, "presets must map"),
        ({"presets": {"tiny": None}}, "presets must map"),
        ({"kind": "Black magic"}, "kind 'Black magic' is no word in lower case"),
        ({"task": ""}, "task '' is no word"),
        ({"sample_options": (Option(name="seed", type="int"),)}, "'seed' is a keyword of model.sample"),
        ({"sample_options": (Option(name="a", type="int"), Option(name="a", type="int"))}, "'a' is there twice"),
        ({"weights": {"x": Weights(repo="me/", revision=None, sha256="0" * 64, size=1)}}, "weights 'x' need"),
    ],
)
def test_a_spec_says_what_is_wrong_with_it(changes: dict[str, Any], problem: str) -> None:
    spec = dataclasses.replace(registry.model_spec("pixelcnn"), **changes)
    assert [text for text in spec.problems() if problem in text]


def test_a_listener_that_fails_is_named_once_and_silenced(monkeypatch: pytest.MonkeyPatch, use: Use) -> None:
    calls: list[str] = []

    @hookimpl
    def zoo_run_started(run: Any) -> None:
        calls.append("bad")
        raise RuntimeError("no disk")

    @hookimpl
    def listen(run: Any) -> None:
        calls.append("good")

    monkeypatch.setattr(registry, "_silenced", set())
    use(
        module(monkeypatch, "fake_bad", zoo_run_started=zoo_run_started),
        module(monkeypatch, "fake_good", zoo_run_started=listen),
    )
    with pytest.warns(UserWarning, match="plugin 'fake_bad' failed in zoo_run_started .*no disk"):
        registry.notify("zoo_run_started", run=None)
    registry.notify("zoo_run_started", run=None)
    assert calls == ["bad", "good", "good"]
    monkeypatch.setattr(registry, "_silenced", set())
    monkeypatch.setenv("ZOO_STRICT", "1")
    with pytest.raises(RuntimeError, match="no disk"):
        registry.notify("zoo_run_started", run=None)


def test_a_plugin_brings_verbs_but_takes_none_away(
    monkeypatch: pytest.MonkeyPatch, use: Use, capsys: pytest.CaptureFixture[str]
) -> None:
    from zoo.cli import main

    def greet() -> None:
        """Say hello."""
        print("hello")

    @hookimpl(specname="zoo_commands")
    def brings(app: Any) -> None:
        app.command("greet")(greet)
        app.command("list")(greet)

    @hookimpl(specname="zoo_commands")
    def fails(app: Any) -> None:
        raise KeyError("no")

    use(module(monkeypatch, "verbs", zoo_commands=brings), module(monkeypatch, "bad", zoo_commands=fails))
    monkeypatch.setattr(registry, "_silenced", set())
    with pytest.warns(UserWarning, match="verb|plugin") as said:
        assert main(["greet"]) == 0
    assert capsys.readouterr().out == "hello\n"
    texts = [str(warning.message) for warning in said]
    assert any("verb 'list' of" in text and "pixelzoo has it" in text for text in texts)
    assert any("plugin 'bad' failed in zoo_commands" in text for text in texts)
    with pytest.warns(UserWarning, match="verb 'list'"):
        assert main(["list"]) == 0
    assert "pixelcnn" in capsys.readouterr().out
