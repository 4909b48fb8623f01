"""A stranger's package, installed with pip beside pixelzoo, is a plugin like ours in every verb, with no change here.

In a fresh virtual environment that holds wheels of this checkout and of all packages in `examples/`, and one that
`zoo new` made in it. Their dependencies are borrowed from the running interpreter by a `.pth` file, so nothing is
downloaded. Every command runs in a folder that has nothing to do with the checkout.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sysconfig
import venv
from pathlib import Path
from typing import Any

import pytest
from conftest import write_pictures

from zoo_tools import scaffold

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ("zoo-plugin-template", "zoo-event-log", "zoo-sampling-wrapper")
SOURCES = (
    ".gitignore",
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "hubconf.py",
    "zoo",
    "plugins",
    "examples",
    "model_cards",
)

pytestmark = pytest.mark.slow


class Environment:
    """A virtual environment, and an unrelated folder to run commands in."""

    def __init__(self, folder: Path) -> None:
        self.cwd = folder / "elsewhere"
        self.cwd.mkdir()
        self.clone = folder / "clone"
        venv.create(folder / "env", with_pip=False, symlinks=os.name != "nt")
        scripts = folder / "env" / ("Scripts" if os.name == "nt" else "bin")
        self.python = scripts / Path("python.exe" if os.name == "nt" else "python")
        self.zoo = scripts / ("zoo.exe" if os.name == "nt" else "zoo")
        self.variables = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "ZOO_", "PIP_"))}
        self.variables |= {"HF_HOME": str(folder / "hf"), "HF_HUB_OFFLINE": "1", "TORCH_HOME": str(folder / "torch")}
        self.variables["PIP_CONFIG_FILE"] = os.devnull
        self.site = Path(self.run("-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])").strip())
        paths = dict.fromkeys(sysconfig.get_paths()[kind] for kind in ("purelib", "platlib"))
        (self.site / "borrowed.pth").write_text("\n".join(paths), encoding="utf-8")

    def run(self, *arguments: str | Path) -> str:
        """What Python prints with these arguments; its stderr is the message of a failure."""
        return self._run(self.python, *arguments)

    def verb(self, *arguments: str | Path) -> Any:
        """The JSON that `zoo` prints with these arguments."""
        return json.loads(self._run(self.zoo, *arguments, "--json"))

    def _run(self, *command: str | Path) -> str:
        done = subprocess.run(
            [str(part) for part in command],
            cwd=self.cwd,
            env=self.variables,
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
        )
        assert done.returncode == 0, f"{command} gave {done.returncode}:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def install(self, *sources: Path) -> None:
        """Build wheels of the sources and install them, with nothing from the network.

        pip and hatchling are borrowed too. What is borrowed must stay as it is, hence --ignore-installed.
        """
        flags = ("--no-deps", "--no-build-isolation", "--no-index", "--ignore-installed", "--disable-pip-version-check")
        self.run("-m", "pip", "install", "--quiet", *flags, *sources)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    for package in ("pip", "hatchling"):
        if importlib.util.find_spec(package) is None:
            pytest.fail(f"this test needs {package}: python -m pip install -e '.[test]' brings it", pytrace=False)
    folder = tmp_path_factory.mktemp("third_party")
    made = Environment(folder)
    made.clone.mkdir()
    for name in SOURCES:
        copy(ROOT / name, made.clone / name)
    for name in EXAMPLES:
        copy(ROOT / "examples" / name, folder / name)
    made.install(made.clone, *(folder / name for name in EXAMPLES))
    made.run("-m", "zoo", "new", "my-model")
    made.install(made.cwd / "my-model")
    return made


def copy(source: Path, target: Path) -> None:
    """A build leaves nothing in the source tree, because it never sees it."""
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", "build", "dist"))
    elif source.is_file():
        shutil.copy(source, target)


def test_both_come_from_the_new_environment(environment: Environment) -> None:
    """Else the tests below would prove nothing: not from the checkout, nor from where the tests run."""
    code = (
        "import zoo, zoo_nade.plugin, zoo_pixelcnn.plugin as ours;"
        "print(zoo.__file__, zoo_nade.plugin.__file__, ours.__file__, sep='\\n')"
    )
    for path in environment.run("-c", code).splitlines():
        assert Path(path).resolve().is_relative_to(environment.site.resolve())


def test_weights_come_with_the_wheel(environment: Environment) -> None:
    code = "import zoo; print(zoo.load('pixelcnn', weights='mnist', device='cpu').sample(1).shape)"
    assert "[1, 1, 28, 28]" in environment.run("-c", code)


def test_a_new_package_is_the_same_from_a_wheel(environment: Environment, tmp_path: Path) -> None:
    scaffold.create("my-model", tmp_path / "ours")
    for path in (path for path in (tmp_path / "ours").rglob("*") if path.is_file()):
        theirs = environment.cwd / "my-model" / path.relative_to(tmp_path / "ours")
        assert theirs.read_bytes() == path.read_bytes()


def test_it_is_listed_beside_ours(environment: Environment) -> None:
    names = [model["name"] for model in environment.verb("list")]
    assert {"nade", "my_model", "pixelcnn"} <= set(names)
    states = {plugin["name"]: (plugin["distribution"], plugin["state"]) for plugin in environment.verb("plugins")}
    assert states["nade"] == ("zoo-nade", "ok")
    assert states["my_model"] == ("zoo-my-model", "ok")
    assert states["event_log"] == ("zoo-event-log", "ok")
    assert states["sampling_wrapper"] == ("zoo-sampling-wrapper", "ok")
    assert states["pixelcnn"] == ("pixelzoo", "ok")
    assert len([plugin for plugin in environment.verb("plugins") if plugin["name"] == "pixelcnn"]) == 1


def test_the_types_of_the_zoo_are_for_others_too(environment: Environment) -> None:
    assert (environment.site / "zoo" / "py.typed").is_file()


def test_it_has_its_own_info(environment: Environment) -> None:
    text = environment.run("-m", "zoo", "info", "nade")
    for part in ("Larochelle", "binarized_mnist", "temperature", "zoo-nade"):
        assert part in text
    assert environment.verb("info", "nade")["name"] == "nade"


def test_it_passes_the_conformance_kit(environment: Environment) -> None:
    results = environment.verb("check", "nade")
    assert not [result for result in results if result["status"] == "fail"]
    passed = {result["name"] for result in results if result["status"] == "pass"}
    names = "normalised causal cached gradients resume save_and_load publish_and_load docs"
    assert set(names.split()) <= passed


def test_all_pass_their_own_tests(environment: Environment) -> None:
    """Those that only this package has; the kit has run above."""
    folders = [*(environment.clone.parent / name for name in EXAMPLES), environment.cwd / "my-model"]
    tests = [folder / "tests" for folder in folders]
    environment.run("-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "not conformance", *tests)


def test_it_builds_samples_and_has_a_likelihood(environment: Environment) -> None:
    code = (
        "import zoo; m = zoo.build('nade', 'tiny'); x = m.sample(2);"
        "print(tuple(x.shape), tuple(m.log_prob(x).shape), zoo.build('pixelcnn', 'tiny').sample(1).shape[0])"
    )
    assert environment.run("-c", code).strip() == "(2, 1, 6, 6) (2,) 1"


def test_torch_hub_has_an_entry_for_it(environment: Environment) -> None:
    """From a clone that torch.hub has fetched before: listed, described, and built."""
    cached = Path(environment.variables["TORCH_HOME"]) / "hub" / "owner_pixelzoo_main"
    copy(environment.clone, cached)
    code = (
        "import sys, torch; github = 'owner/pixelzoo:main'\n"
        "assert {'nade', 'pixelcnn'} <= set(torch.hub.list(github, trust_repo=True))\n"
        "assert 'Larochelle' in torch.hub.help(github, 'nade', trust_repo=True)\n"
        "for repo, source in ((github, 'github'), (sys.argv[1], 'local')):\n"
        "    model = torch.hub.load(repo, 'nade', source=source, trust_repo=True, verbose=False, preset='tiny')\n"
        "    assert type(model).__module__ == 'zoo_nade.model'\n"
        "    assert tuple(model.sample(2).shape) == (2, 1, 6, 6)\n"
    )
    environment.run("-c", code, environment.clone)


def test_a_new_package_trains_and_what_it_trained_draws(environment: Environment, tmp_path: Path) -> None:
    """On a folder of pictures; the run folder then serves as weights, and the run is in the event log."""
    pictures = write_pictures(tmp_path / "pictures", 40, size=(6, 6))
    run, drawn = tmp_path / "run", tmp_path / "drawn.png"
    flags = "--preset tiny --set width=8 --examples 64 --batch-size 16 --learning-rate 0.05 --device cpu --workers 1"
    flags += " --log-every 16 --eval-every 64 --sample-every 0"
    summary = environment.verb("train", "my-model", "--data", pictures, "--out", run, *flags.split())
    assert summary["reason"] == "finished"
    assert summary["seen"] == 64
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    losses = [line["train/nats"] for line in lines if "train/nats" in line]
    assert len(losses) == 4
    assert losses[-1] < losses[0]
    events = [json.loads(line)["event"] for line in (run / "events.jsonl").read_text(encoding="utf-8").splitlines()]
    assert (events[0], events[-1]) == ("started", "finished")
    environment.run("-m", "zoo", "sample", "my-model", "--weights", run, "-n", "4", "-o", drawn)
    assert drawn.read_bytes().startswith(b"\x89PNG")


def test_it_vanishes_when_it_is_disabled(environment: Environment) -> None:
    environment.variables["ZOO_DISABLE"] = "nade"
    try:
        assert "nade" not in [model["name"] for model in environment.verb("list")]
    finally:
        del environment.variables["ZOO_DISABLE"]
