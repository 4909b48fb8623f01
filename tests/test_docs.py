"""What the documentation says about hooks, fields, commands and code is true."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import re
import subprocess
import sys
import textwrap
import types
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import pytest
import torch

from zoo import hookspecs, plugins, sampling, settings, spec, trainer

ROOT = Path(__file__).resolve().parent.parent
GUIDE = ROOT / "docs" / "writing-a-plugin.md"
EXAMPLES = sorted((ROOT / "examples").glob("*/src/*/plugin.py"))
PAGES = sorted(
    {
        *(ROOT / "README.md", ROOT / "benchmarks" / "features" / "README.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "examples").glob("*/README.md"),
    }
)
SHELLS = ("sh", "bash")
FENCE = re.compile(r"^( *)(```+|~~~+)([^\n]*)\n(.*?)^ *\2 *$", re.MULTILINE | re.DOTALL)


def blocks(page: Path, *languages: str) -> list[str]:
    """The fenced code of one page in one of the languages."""
    found = FENCE.findall(page.read_text(encoding="utf-8"))
    return [textwrap.dedent(code) for _, _, language, code in found if language.strip() in languages]


def functions(source: str) -> list[ast.FunctionDef]:
    """The hooks written at the top of a piece of code."""
    body = ast.parse(source).body
    return [node for node in body if isinstance(node, ast.FunctionDef) and node.name.startswith("zoo_")]


def signature(function: ast.FunctionDef) -> str:
    return f"{function.name}({ast.unparse(function.args)}) -> {ast.unparse(function.returns or ast.Constant(None))}"


def specified() -> dict[str, ast.FunctionDef]:
    return {function.name: function for function in functions(inspect.getsource(hookspecs))}


def documented() -> list[ast.FunctionDef]:
    """The reference of the guide: hooks written with annotations."""
    found = [function for code in blocks(GUIDE, "python") for function in functions(code)]
    return [function for function in found if function.returns is not None]


def ids(page: Path) -> str:
    return str(page.relative_to(ROOT))


def test_there_are_hooks_to_compare() -> None:
    """The tests below would pass on nothing at all if the parsing broke."""
    assert set(specified()) == plugins.HOOK_NAMES
    assert len(specified()) == 11


def test_every_hook_is_documented_once_in_the_order_of_the_code() -> None:
    assert [function.name for function in documented()] == list(specified())


@pytest.mark.parametrize("hook", specified())
def test_signature_and_meaning_in_the_docs_are_those_of_the_code(hook: str) -> None:
    [ours] = [function for function in documented() if function.name == hook]
    assert signature(ours) == signature(specified()[hook])
    assert ast.get_docstring(ours) == ast.get_docstring(specified()[hook])


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_hooks_in_examples_take_the_arguments_of_the_code(page: Path) -> None:
    for code in blocks(page, "python"):
        for function in functions(code):
            assert function.name in specified(), f"{function.name} is no hook"
            known = [argument.arg for argument in specified()[function.name].args.args]
            assert [argument.arg for argument in function.args.args] == known, function.name


@pytest.mark.parametrize("kind", [spec.ModelSpec, spec.Option, spec.Weights, spec.DataSpec])
def test_every_field_is_in_the_table_of_its_class(kind: type) -> None:
    named = table(kind.__name__)
    assert sorted(named) == sorted(field.name for field in dataclasses.fields(kind))


@pytest.mark.parametrize("kind", [sampling.SampleRequest, trainer.Trainer])
def test_every_member_is_in_the_table_of_its_class(kind: type) -> None:
    fields = dataclasses.fields(kind) if dataclasses.is_dataclass(kind) else ()
    members = {name for name in vars(kind) if not name.startswith("_")} | {field.name for field in fields}
    assert set(table(kind.__name__)) == {name for name in members if not name.startswith("_")}


def table(title: str) -> list[str]:
    """The names in the first column of the table under a heading, without their arguments."""
    _, found, rest = GUIDE.read_text(encoding="utf-8").partition(f"\n### {title}\n")
    assert found, f"there is no section '{title}'"
    rows = [line.split("|")[1] for line in rest.partition("\n#")[0].splitlines() if line.startswith("| `")]
    return [name.partition("(")[0] for row in rows for name in re.findall(r"`([^`]+)`", row)]


def test_the_settings_that_the_docs_name_exist() -> None:
    text = GUIDE.read_text(encoding="utf-8")
    fields = {field.name for field in dataclasses.fields(settings.Settings)}
    assert set(re.findall(r"settings\.(\w+)", text)) <= fields


def test_the_guide_shows_the_hooks_of_the_examples() -> None:
    """As they are in their packages, and it shows no other hook."""
    hooks = [function for path in EXAMPLES for function in functions(path.read_text(encoding="utf-8"))]
    shown = [f for code in blocks(GUIDE, "python") for f in functions(code) if f.returns is None]
    assert len(EXAMPLES) == 4
    assert {function.name for function in shown} == {function.name for function in hooks}
    for hook in hooks:
        assert ast.dump(hook) in [ast.dump(function) for function in shown], hook.name


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_python_in_the_docs_compiles(page: Path) -> None:
    assert page.is_file(), f"there is no {page.relative_to(ROOT)}"
    for code in blocks(page, "python", "py"):
        compile(code, str(page), "exec")


def chains(tree: ast.AST) -> Iterator[list[str]]:
    """Every name with its attributes: a.b.c as ["a", "b", "c"]."""
    for node in ast.walk(tree):
        names: list[str] = []
        while isinstance(node, ast.Attribute):
            names, node = [node.attr, *names], node.value
        if isinstance(node, ast.Name) and names:
            yield [node.id, *names]


def missing(code: str) -> list[str]:
    """What a piece of code imports, or takes from an imported module or class, that is not there."""
    tree, known, gone = ast.parse(code), {}, []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                module = importlib.import_module(alias.name)
                top = alias.name.partition(".")[0]
                known[alias.asname or top] = module if alias.asname else importlib.import_module(top)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                scope: dict[str, Any] = {}
                try:
                    exec(f"from {node.module} import {alias.name}", scope)
                    known[alias.asname or alias.name] = scope[alias.name]
                except ImportError:
                    gone.append(f"{node.module}.{alias.name}")
    for first, *names in chains(tree):
        found: Any = known.get(first)
        for i, name in enumerate(names, 1):
            if not isinstance(found, types.ModuleType | type):
                break  # what an instance has, only running the code would tell
            if not hasattr(found, name):
                gone.append(".".join([first, *names[:i]]))
                break
            found = getattr(found, name)
    return list(dict.fromkeys(gone))


def test_what_is_missing_is_found() -> None:
    code = "from zoo import metrics, nothing\nimport zoo\nmetrics.nope()\nzoo.build.anything\nzoo.gone.further\n"
    assert sorted(missing(code)) == ["metrics.nope", "zoo.gone", "zoo.nothing"]


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_names_in_the_docs_exist(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for source in (ROOT / "examples").glob("*/src"):
        monkeypatch.syspath_prepend(str(source))
    trackio = types.ModuleType("trackio")  # only the tests of examples/zoo-trackio have the real one
    monkeypatch.setattr(trackio, "init", None, raising=False)
    monkeypatch.setattr(trackio, "__spec__", ModuleSpec("trackio", None))  # which a search for modules asks for
    monkeypatch.setitem(sys.modules, "trackio", trackio)
    assert [name for code in blocks(page, "python", "py") for name in missing(code)] == []


def test_modules_that_sentences_of_the_docs_name_exist_after_import_zoo() -> None:
    """`zoo.metrics.evaluate(model, data="cifar10")` in a sentence, after no more than `import zoo`."""
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    named = set(re.findall(r"`(zoo\.[a-z_.]+)\(", text))
    assert "zoo.metrics.evaluate" in named
    lines = "".join(f"\nassert callable({name}), {name!r}" for name in sorted(named))
    subprocess.run([sys.executable, "-c", f"import zoo{lines}"], cwd=ROOT, check=True)


def test_the_readme_does_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The code of the README, on the weights of this checkout, with fewer samples."""
    monkeypatch.chdir(tmp_path)
    [code] = [code for code in blocks(ROOT / "README.md", "python") if "zoo.load" in code]
    scope: dict[str, Any] = {}
    exec(code.replace("sample(16", "sample(2"), scope)
    assert (tuple(scope["images"].shape), scope["nats"].shape) == ((2, 1, 28, 28), (2,))
    assert torch.equal(scope["half"][:, :, :14], scope["images"][:, :, :14])
    ends = scope["emoji"].sample(2, seed=3, noise="constant")  # another batch may round otherwise
    assert (scope["frames"][[0, -1]].int() - ends.int()).abs().max() <= 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["between.gif", "digits.png"]


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_no_code_escapes_these_tests(page: Path) -> None:
    """Every fence is closed, in a language we know; what names none is no Python."""
    text = page.read_text(encoding="utf-8")
    languages = [language.strip() for _, _, language, _ in FENCE.findall(text)]
    assert len(re.findall(r"^ *(?:```|~~~)", text, re.MULTILINE)) == 2 * len(languages), "a fence is not closed"
    assert set(languages) <= {"python", *SHELLS, "toml", "json", "yaml", "text", "bibtex", "mermaid", "{eval-rst}", ""}
    for code in blocks(page, ""):
        assert not is_python(code), "this fence should be labelled python"


def is_python(text: str) -> bool:
    """Whether a text is a program, and no diagram that happens to parse."""
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return False
    return not all(isinstance(node, ast.Expr) for node in tree.body) or "(" in text


def commands(page: Path) -> list[list[str]]:
    """Every `zoo <verb> ...` in shell code, in words."""
    lines = "\n".join(blocks(page, *SHELLS)).replace("\\\n", " ").splitlines()
    calls = [re.split(r"\s+#", call)[0].split() for line in lines for call in re.split(r"&&|\|\||[|;]", line)]
    return [words for words in calls if words[:1] == ["zoo"]]


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_commands_in_the_docs_exist_with_their_options(page: Path) -> None:
    from zoo.cli.app import whole_app

    group: Any = whole_app()
    for _, *words in commands(page):
        command = group
        if words and not words[0].startswith("-"):
            command = group.commands.get(words[0])
            assert command is not None, f"there is no verb 'zoo {words[0]}'"
        known = {text for parameter in command.params for text in (*parameter.opts, *parameter.secondary_opts)}
        given = {word.partition("=")[0] for word in words if re.match(r"--?[a-zA-Z]", word)}
        assert given <= known | {"--help", "-h", "--debug"}, f"zoo {' '.join(words)}"


def test_there_are_commands_to_compare() -> None:
    assert len(commands(GUIDE)) >= 8
