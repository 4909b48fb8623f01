"""`zoo new` gives the template another name, whole or not at all."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest

from zoo.cli import main
from zoo.errors import OptionError
from zoo_tools import scaffold


def files(folder: Path) -> dict[str, str]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in found}


@pytest.mark.parametrize("name", ["my-model", "my_model", "vq-vae2", "x"])
def test_no_word_of_the_templates_name_remains(name: str, tmp_path: Path) -> None:
    scaffold.create(name, tmp_path / "new")
    made = files(tmp_path / "new")
    assert len(made) == len(scaffold.template_files())
    assert not [path for path, text in made.items() if "nade" in (path + text).lower()]


@pytest.mark.parametrize("name", ["my-model", "deep-nade", "canade"])
def test_every_name_is_derived_from_the_given_one(name: str, tmp_path: Path) -> None:
    """Also where it contains the template's."""
    scaffold.create(name, tmp_path / "new")
    made = files(tmp_path / "new")
    model, class_name = name.replace("-", "_"), name.title().replace("-", "")
    project = tomllib.loads(made["pyproject.toml"])
    assert project["project"]["name"] == f"zoo-{name}"
    assert project["project"]["entry-points"]["zoo"] == {model: f"zoo_{model}.plugin"}
    assert project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == [f"src/zoo_{model}"]
    classes = [n.name for n in ast.parse(made[f"src/zoo_{model}/model.py"]).body if isinstance(n, ast.ClassDef)]
    assert classes == [class_name, f"Cached{class_name}"]
    assert f'name="{model}"' in made[f"src/zoo_{model}/plugin.py"]
    assert f'testing.check("{model}"' in made[f"tests/test_{model}.py"]


def test_a_package_is_complete_and_free_of_leftovers(tmp_path: Path) -> None:
    scaffold.create("mine", tmp_path / "mine")
    assert sorted(files(tmp_path / "mine")) == [
        *(".github/workflows/test.yml", ".gitignore", "LICENSE", "README.md", "pyproject.toml"),
        *(f"src/zoo_mine/{name}.py" for name in ("__init__", "model", "plugin", "train")),
        "tests/test_mine.py",
    ]


def test_what_to_do_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["new", "my-model"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[1:] == ["  cd my-model", '  python -m pip install -e ".[test]"', "  zoo train my-model --data mnist"]
    assert [path.name for path in tmp_path.iterdir()] == ["my-model"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ("My-Model", "'My-Model' is no name for a package"),
        ("1st", "'1st' is no name for a package"),
        ("my--model", "'my--model' is no name for a package"),
        ("my-", "'my-' is no name for a package"),
        ("../Mine", "'Mine' is no name for a package"),
        ("none", "'none' is no name for a package"),
        ("pixelcnn", "there is a 'pixelcnn' already, in pixelzoo"),
        ("row-lstm", "there is a 'row_lstm' already, in pixelzoo"),
        ("datasets", "there is a 'datasets' already, in pixelzoo"),
        ("full", "'full' exists and is not empty; choose another --out"),
        ("mine --out full/file", "'full/file' exists and is not empty"),
        ("mine --out no/folder", "can't write 'no/folder': No such file or directory"),
        ("mine --out full/file/mine", "can't write 'full/file/mine': Not a directory"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    arguments: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    assert main(["new", *arguments.split()]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert text in err
    assert files(tmp_path) == {"full/file": ""}


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = Path.write_text

    def fail(path: Path, *arguments: str, **options: str) -> int:
        if path.name == "pyproject.toml":
            raise OSError(28, "No space left on device")
        return write(path, *arguments, **options)

    monkeypatch.setattr(Path, "write_text", fail)
    with pytest.raises(OptionError, match="can't write .*: No space left on device"):
        scaffold.create("mine", tmp_path / "mine")
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_may_be_filled(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    scaffold.create("mine", tmp_path / "mine")
    assert (tmp_path / "mine" / "pyproject.toml").is_file()


def test_of_a_path_the_last_part_is_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["new", "a/b/my-model"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "made 'a/b/my-model'; go on with:",
        "  cd a/b/my-model",
        '  python -m pip install -e ".[test]"',
        "  zoo train my-model --data mnist",
    ]
    assert tomllib.loads((tmp_path / "a/b/my-model/pyproject.toml").read_text())["project"]["name"] == "zoo-my-model"
    assert main(["new", "c/My-Model"]) == 2
    assert not (tmp_path / "c").exists()
