"""torch.hub from a bare clone, where nothing is installed but the dependencies."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What torch.hub needs of this checkout, elsewhere."""
    root, clone = Path(__file__).resolve().parent.parent, tmp_path_factory.mktemp("hub") / "pixelzoo"
    for name in ("zoo", "plugins", "model_cards"):
        shutil.copytree(root / name, clone / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("hubconf.py", "pyproject.toml"):
        shutil.copy(root / name, clone)
    return clone


def run(clone: Path, code: str, **environment: str) -> str:
    """The output of code in a process that knows nothing of this checkout."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ZOO_", "HF_", "PYTHON"))}
    done = subprocess.run(
        [sys.executable, "-c", f"import torch; clone = {str(clone)!r}\n{code}"],
        cwd=clone.parent,
        env={**kept, "HF_HOME": str(clone.parent / "home"), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_pretrained_weights_sample_offline(clone: Path) -> None:
    """The clone's own code and weights, no network, the same pictures in a second process."""
    code = (
        "model = torch.hub.load(clone, 'pixelcnn', source='local', weights='mnist', device='cpu')\n"
        "import zoo; assert zoo.__file__.startswith(clone), zoo.__file__\n"
        "images = model.sample(2, seed=3); assert images.shape == (2, 1, 28, 28)\n"
        "print(images.long().sum().item(), images.flatten()[::7].tolist())\n"
    )
    assert run(clone, code, HF_HUB_OFFLINE="1") == run(clone, code, HF_HUB_OFFLINE="1")


def test_list_and_help_tell_what_there_is(clone: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, clone); import hubconf, zoo\n"
        "entries = [n for n, v in vars(hubconf).items() if callable(v) and not n.startswith('_')]\n"
        "assert entries == [spec.name for spec in zoo.models()], entries\n"
        "print(hubconf.pixelcnn.__doc__)\n"
    )
    text = run(clone, code)
    for word in ("1601.06759", "temperature", "given_rows", "cifar10", "mnist (", "'owner/repo[@revision]'"):
        assert word in text


def test_without_weights_the_model_is_fresh(clone: Path) -> None:
    code = (
        "torch.manual_seed(0)\n"
        "a, b = (torch.hub.load(clone, 'pixelcnn', source='local', preset='tiny', width=12) for _ in range(2))\n"
        "assert a.config['width'] == 12 and not torch.equal(a.input.weight, b.input.weight)\n"
    )
    run(clone, code)


def test_another_module_of_the_same_name_is_named(clone: Path, tmp_path: Path) -> None:
    """One that is imported already, and one that comes earlier on the path, as a module and as a package."""
    (tmp_path / "zoo.py").write_text("animals = []")
    (tmp_path / "package" / "zoo").mkdir(parents=True)
    (tmp_path / "package" / "zoo" / "__init__.py").write_text("")
    load = "torch.hub.load(clone, 'pixelcnn', source='local', preset='tiny')"
    for first, then in (
        (f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import zoo", load),
        (f"import sys; sys.path.insert(0, {str(tmp_path / 'package')!r}); import zoo", load),
        (f"import sys; sys.path[:0] = [{str(tmp_path)!r}, clone]", "import hubconf"),
    ):
        code = f"{first}\ntry:\n    {then}\nexcept ImportError as error:\n    print(error)"
        text = run(clone, code)
        assert "another module 'zoo' is in its way, '" in text
        assert str(tmp_path) in text
        assert text.count("\n") == 1
    missing = "import sys; sys.modules['pluggy'] = None; sys.path.insert(0, clone)\ntry:\n    import hubconf\n"
    assert "in its way" not in run(clone, f"{missing}except ImportError as error:\n    print(error)")
    # Where both are only on the path, torch.hub puts the clone first.
    run(clone, f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{load}")


def test_the_device_counts_without_weights_too(clone: Path) -> None:
    code = (
        "import pytest\n"
        "load = lambda **more: torch.hub.load(clone, 'pixelcnn', source='local', preset='tiny', **more)\n"
        "assert load(device='cpu').device.type == 'cpu'\n"
        "auto = 'cuda' if torch.cuda.is_available() else 'cpu'\n"
        "assert load().device.type == auto\n"
        "import zoo\n"
        "with pytest.raises(zoo.ZooError, match='auto, cpu, cuda'):\n"
        "    load(device='tpu')\n"
    )
    run(clone, code)


def test_pretrained_is_answered_by_a_hint(clone: Path) -> None:
    code = (
        "for pretrained in (True, False):\n"
        "    try:\n"
        "        torch.hub.load(clone, 'pixelcnn', source='local', pretrained=pretrained)\n"
        "    except Exception as error:\n"
        "        print(error)\n"
    )
    lines = run(clone, code).splitlines()
    assert len(lines) == 2
    assert all("weights= in place of pretrained=; of pixelcnn there are: 'mnist'" in line for line in lines)
