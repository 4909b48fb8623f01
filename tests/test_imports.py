"""Imports point one way, and what `zoo list` touches stays free of torch."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from zoo.plugins import HOOK_NAMES

ROOT = Path(__file__).resolve().parent.parent
CORE = sorted((ROOT / "zoo").rglob("*.py"))
PLUGINS = sorted((ROOT / "plugins").rglob("*.py"))
PACKAGES = sorted(path.name for path in (ROOT / "plugins").iterdir() if path.is_dir() and any(path.glob("*.py")))
TORCH_FREE = [*sorted((ROOT / "plugins").glob("*/plugin.py")), ROOT / "zoo" / "nn" / "options.py"]
TORCH_FREE += [
    ROOT / "zoo" / f"{name}.py" for name in ("__init__", "errors", "spec", "hookspecs", "plugins", "registry")
]
HEAVY = {"torch", "accelerate", "datasets", "numpy", "PIL", "safetensors", "huggingface_hub"}

# Who may import what, at any depth of the file.
ONLY = {"accelerate": "zoo/train/accelerator.py", "datasets": "zoo/data/tables.py"}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def nodes(tree: ast.AST, *, lazy: bool) -> Iterator[ast.AST]:
    """All nodes that run: without TYPE_CHECKING blocks, and without the bodies of functions unless `lazy`."""
    for node in ast.iter_child_nodes(tree):
        if is_type_checking(node) or (not lazy and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)):
            continue
        yield node
        yield from nodes(node, lazy=lazy)


def imports(path: Path, *, lazy: bool = True) -> set[str]:
    """The modules that a file imports, in full: "zoo.spec", "torch.nn"."""
    found = set()
    for node in nodes(ast.parse(path.read_text(encoding="utf-8")), lazy=lazy):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)} has a relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            found |= {str(a.value) for a in node.args if isinstance(a, ast.Constant)}
    return found


def packages(modules: set[str]) -> set[str]:
    return {module.partition(".")[0] for module in modules}


def test_the_parser_sees_what_it_should(tmp_path: Path) -> None:
    """A rule that could not fail would be no rule."""
    source = tmp_path / "example.py"
    source.write_text(
        "import a.b\nfrom c import d\nif TYPE_CHECKING:\n    import e\nelse:\n    pass\n"
        "class K:\n    import f\ndef g():\n    import h\n    importlib.import_module('i')\n"
        "try:\n    import j\nfinally: pass\n",
        encoding="utf-8",
    )
    assert imports(source, lazy=False) == {"a.b", "c.d", "f", "j"}
    assert imports(source) == {"a.b", "c.d", "f", "h", "i", "j"}
    assert len(CORE) > 10
    assert "zoo_pixelcnn" in PACKAGES


@pytest.mark.parametrize("path", TORCH_FREE, ids=name_of)
def test_what_zoo_list_touches_imports_nothing_heavy(path: Path) -> None:
    assert not packages(imports(path, lazy=False)) & HEAVY


@pytest.mark.parametrize("path", CORE, ids=name_of)
def test_the_core_names_no_plugin(path: Path) -> None:
    assert not [package for package in packages(imports(path)) if package.startswith("zoo_")]
    words = {node.value for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Constant)}
    assert not words & (set(PACKAGES) - HOOK_NAMES)  # zoo_datasets is a hook and a plugin


@pytest.mark.parametrize("path", PLUGINS, ids=name_of)
def test_plugins_never_import_each_other(path: Path) -> None:
    own = path.relative_to(ROOT / "plugins").parts[0]
    others = {package for package in packages(imports(path)) if package.startswith("zoo_")}
    assert others <= {own}


@pytest.mark.parametrize("path", PLUGINS, ids=name_of)
def test_plugins_take_from_the_command_line_what_verbs_share(path: Path) -> None:
    """The console; the demo page also what plans, draws and composes the samples of `zoo sample`, to give the same."""
    modules = [module for module in imports(path) if module.startswith("zoo.cli")]
    shared = ["zoo.cli.console."]
    if path.parent.name == "zoo_demo":
        shared += ["zoo.cli.options.", "zoo.cli.plan.", "zoo.cli.sample."]
    assert all(module.startswith(tuple(shared)) for module in modules)


@pytest.mark.parametrize("package", ONLY)
def test_one_file_alone_imports_it(package: str) -> None:
    users = [name_of(path) for path in [*CORE, *PLUGINS, ROOT / "hubconf.py"] if package in packages(imports(path))]
    assert {file for file in users if file.startswith("zoo/")} == {ONLY[package]}
    assert not [file for file in users if not file.startswith("zoo/")]


LAYERS = ("spec", "hookspecs", "plugins", "registry")


@pytest.mark.parametrize("layer", LAYERS)
def test_the_lower_layers_import_no_higher_one(layer: str) -> None:
    """spec <- hookspecs <- plugins <- registry <- everything else."""
    modules = {module for module in imports(ROOT / "zoo" / f"{layer}.py") if packages({module}) == {"zoo"}}
    below = LAYERS[: LAYERS.index(layer)]
    allowed = {"zoo.errors", *(f"zoo.{name}" for name in below)}
    assert not [m for m in modules if not any(m == name or m.startswith(f"{name}.") for name in allowed)]


@pytest.mark.parametrize("path", [path for path in CORE if "cli" not in path.parts], ids=name_of)
def test_nothing_below_imports_the_command_line(path: Path) -> None:
    users = [module for module in imports(path) if module.startswith("zoo.cli")]
    assert not users or path.name == "__main__.py"


def test_plugins_and_tests_are_no_packages() -> None:
    """A bare package of either name would collide with others' under torch.hub."""
    assert not (ROOT / "plugins" / "__init__.py").exists()
    assert not (ROOT / "tests" / "__init__.py").exists()


def test_every_folder_of_a_plugin_is_on_the_list() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    listed = {value.partition(".")[0] for value in project["entry-points"]["zoo"].values()}
    assert listed == set(PACKAGES)


def run(code: str) -> str:
    """The output of a fresh interpreter that sees the checkout."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_listing_models_and_data_imports_nothing_heavy() -> None:
    code = "import sys, zoo; assert zoo.models() and zoo.datasets(); print(*sys.modules)"
    loaded = {module.partition(".")[0] for module in run(code).split()}
    assert not loaded & HEAVY


def test_every_public_name_resolves() -> None:
    code = (
        "import zoo\n"
        "assert zoo.__all__ == sorted(zoo.__all__) and len(set(zoo.__all__)) == len(zoo.__all__)\n"
        "assert dir(zoo) == zoo.__all__\n"
        "assert all(getattr(zoo, name) is not None for name in zoo.__all__)\n"
        "scope = {}\nexec('from zoo import *', scope)\nassert set(zoo.__all__) <= set(scope)\n"
        "try:\n    zoo.no_such_name\nexcept AttributeError as error:\n    print(error)\n"
    )
    assert run(code) == "module 'zoo' has no attribute 'no_such_name'\n"


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def all_imports(path: Path, modules: set[str]) -> set[str]:
    """The modules of `zoo` that a file imports when it is imported, or for a type checker."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in modules else node.module for name in names}
    return (found & modules) - {module_of(path)}


def circle(graph: dict[str, set[str]]) -> list[str]:
    """A circle of imports, or nothing."""
    done: set[str] = set()

    def visit(module: str, way: list[str]) -> list[str]:
        if module in way:
            return [*way[way.index(module) :], module]
        if module not in done:
            for other in sorted(graph[module]):
                if found := visit(other, [*way, module]):
                    return found
            done.add(module)
        return []

    return next((found for module in sorted(graph) if (found := visit(module, []))), [])


def test_a_circle_is_found() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_there_is_no_circle_of_imports() -> None:
    """Nor one for type checkers. The front of the package, which imports its names on first use, is no part of it."""
    files = {module_of(path): path for path in CORE if path.name != "__init__.py"}
    graph = {module: all_imports(path, set(files)) for module, path in files.items()}
    assert " <- ".join(circle(graph)) == ""
