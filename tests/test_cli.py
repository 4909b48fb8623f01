"""The command line: what it prints, its exit codes, and that what a user can cause ends in one line."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from conftest import write_pictures
from PIL import Image

import zoo
from zoo import building, hub, metrics, registry, testing
from zoo.cli import app, console, main
from zoo.cli.console import print_table, progress, size
from zoo.cli.names import choose_weights
from zoo.cli.options import clip_length, parse_options, table_columns
from zoo.errors import HubError, OptionError, ZooError
from zoo.hub import config, golden, read
from zoo.media.video import write_clip
from zoo.plugins import PluginRecord
from zoo.spec import ModelSpec, Option, Preset, Weights
from zoo.train import loop, planning

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.fixture
def folder(tmp_path, tiny):
    """A weights folder of the tiny preset."""
    return zoo.save(tiny, tmp_path / "weights")


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "given.png"
    Image.frombytes("L", (8, 8), bytes(range(0, 256, 4))).save(path)
    return path


@pytest.fixture
def error(capsys):
    """Run a command that must end in one line and exit code 2; the line."""

    def run(*arguments):
        assert main([str(argument) for argument in arguments]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.count("\n") == 1
        assert err.startswith("error: ")
        return err.removeprefix("error: ").strip()

    return run


@pytest.fixture
def output(capsys):
    """Run a command that must succeed; what it printed on stdout."""

    def run(*arguments, code=0):
        assert main([str(argument) for argument in arguments]) == code, capsys.readouterr().err
        return capsys.readouterr().out

    return run


def pin(**changes):
    return Weights(**{"repo": "me/x", "revision": None, "sha256": "0" * 64, "size": 1_300_000, **changes})


def spec(**changes):
    base = {"name": "other", "summary": "s", "paper": "p", "kind": "gan", "task": "image-generation"}
    return ModelSpec(**{**base, "data_shape": ("C", "H", "W"), "presets": {"tiny": Preset()}, **changes})


# Looking


def test_list(output):
    lines = output("list").splitlines()
    assert lines[0].split() == ["name", "kind", "weights", "summary"]
    names = [spec.name for spec in zoo.models()]
    assert [line.split()[0] for line in lines[1:]] == names
    rows = json.loads(output("list", "--json"))
    assert [row["name"] for row in rows] == names
    assert set(rows[0]) == {"name", "kind", "task", "weights", "summary"}


def test_info(output):
    text = output("info", "pixelcnn")
    declared = registry.model_spec("pixelcnn")
    for expected in (
        declared.paper,
        "temperature",
        "a number from 0.0 to 10.0",
        "binarized_mnist",
        "levels=256",
        "learning_rate",
        "0.001",
        "gradients are clipped to this norm",
    ):
        assert expected in text
    assert re.search(r"clip_norm +float +1.0 +gradients are clipped to this norm", text)  # what --set takes
    assert re.search(r"n_layers +int +15 +\w", text)
    found = json.loads(output("info", "pixelcnn", "--json"))
    assert set(found) == {
        *("name", "summary", "paper", "kind", "task", "data_shape"),
        *("presets", "options", "weights", "figures", "plugin"),
    }
    assert found["presets"]["tiny"]["model"]["image_shape"] == [1, 8, 8]
    assert [option["name"] for option in found["options"]] == [option.name for option in declared.sample_options]
    assert [row["tag"] for row in found["weights"]] == list(declared.weights)
    assert found["plugin"]["distribution"] == "pixelzoo"


def test_info_shows_weights(output, monkeypatch):
    shown = spec(weights={"photos": pin(summary="photographs")})
    monkeypatch.setattr(registry, "model_spec", lambda name: shown)
    monkeypatch.setattr(registry, "owner", lambda spec: PluginRecord("other", "other.plugin", "theirs", "2.0"))
    monkeypatch.setattr(building, "schema", lambda spec, kind="model": building.Schema("other", {}, {}, ""))
    text = output("info", "other")
    assert re.search(r"photos +me/x +bundled +1\.3 MB +photographs", text)
    assert "sampling options\nnone" in text


def test_info_shows_the_figures_of_the_paper(output):
    text = output("info", "stylegan")
    assert re.search(r"figures\npreset +metric +data +paper +ours\n", text)
    assert re.search(r"F +FID +FFHQ 1024 +4\.4 +-", text)


def test_plugins_shows_what_is_broken(output, monkeypatch):
    record = PluginRecord("bad", "bad.plugin", "theirs", "2.0", state="broken", error="ImportError: no [bold]wings[/]")
    monkeypatch.setattr(registry.plugins(), "records", [*registry.plugins().records, record])
    assert "ImportError: no [bold]wings[/]" in output("plugins")
    rows = json.loads(output("plugins", "--json"))
    keys = {"name", "distribution", "version", "state", "models", "datasets", "hooks", "error", "import_seconds"}
    assert all(set(row) == keys for row in rows)
    assert "pixelcnn" in next(row for row in rows if row["name"] == "pixelcnn")["models"]
    assert rows[-1]["state"] == "broken"
    assert main(["list"]) == 0


def test_a_model_may_be_typed_with_dashes(output, error):
    assert output("info", "gated-pixelcnn") == output("info", "gated_pixelcnn")
    flags = ("--data", "mnist", "--learning-rate", -1)
    assert error("train", "gated-pixelcnn", *flags) == error("train", "gated_pixelcnn", *flags)


def test_version_and_help(output):
    assert output("--version") == f"pixelzoo {zoo.__version__}\n"
    assert output("--help") == output()
    for verb in [*app.VERBS, "doctor", "new", "lock"]:
        assert output(verb, "--help").startswith(f"Usage: zoo {verb} ")


def test_runs_under_click_too():
    result = CliRunner().invoke(app.whole_app(), ["list", "--json"])
    assert result.exit_code == 0
    assert json.loads(result.stdout)


@pytest.mark.parametrize("arguments", [["list"], ["list", "--json"], ["--help"], ["plugins"], ["new", "mine"]])
def test_looking_imports_neither_torch_nor_rich(arguments, tmp_path):
    code = (
        "import sys; from zoo.cli import main; code = main(sys.argv[1:]);"
        "print([m for m in ('torch', 'numpy', 'rich', 'datasets', 'huggingface_hub') if m in sys.modules]);"
        "sys.exit(code)"
    )
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_full_disk_under_the_output(tmp_path):
    """A limit on the size of files stands for it."""
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0));"
        "from zoo.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    for arguments in (["list"], ["info", "pixelcnn", "--json"], ["--help"]):
        with (tmp_path / "output").open("w") as file:
            command = [sys.executable, "-c", code, *arguments]
            done = subprocess.run(command, stdout=file, stderr=subprocess.PIPE, env=ENVIRONMENT, text=True)
        assert done.returncode == 2, arguments
        assert done.stderr == "error: can't write the output: File too large\n"


def test_nobody_reads():
    code = "import sys; from zoo.cli import main; sys.exit(main(['info', 'pixelcnn']))"
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([sys.executable, "-c", code], stdout=write, stderr=subprocess.PIPE, env=ENVIRONMENT)
    os.close(write)
    assert done.returncode == 141
    assert done.stderr == b""


def test_a_terminal_gets_a_drawn_table(capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    print_table(("name", "error"), [("a", "[red]text[/]")])
    assert "[red]text[/]" in capsys.readouterr().out


def test_size():
    assert [size(n) for n in (5, 1300, 2_500_000, 7_000_000_000)] == ["5 B", "1.3 kB", "2.5 MB", "7.0 GB"]


# Errors


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ("smaple", "unknown verb 'smaple'; did you mean 'sample'?"),
        ("list --jsno", "unknown option '--jsno'; did you mean '--json'?"),
        ("info", "missing argument 'MODEL' (see 'zoo info --help')"),
        ("info pixlecnn", "unknown model 'pixlecnn'; did you mean 'pixelcnn'?"),
        ("sample pixlecnn", "unknown model 'pixlecnn'; did you mean 'pixelcnn'?"),
        ("sample pixelcnn --weights run -n none", "invalid value for '-n'"),
        ("sample pixelcnn --weights run -n 0", "invalid value for '-n'"),
        ("sample pixelcnn --weights nowhere", "unknown weights of pixelcnn 'nowhere'"),
        ("sample pixelcnn --weights . --option temprature=1", "did you mean 'temperature'?"),
        ("sample pixelcnn --weights . --option temperature=99", "a number from 0.0 to 10.0, not '99'"),
        ("sample pixelcnn --weights . --option temperature", "--option takes name=value, not 'temperature'"),
        ("sample pixelcnn --weights . --option method=fast", "takes one of cached, naive, not 'fast'"),
        ("sample pixelcnn --weights . --option given=/no/such.png", "there is no file or folder '/no/such.png'"),
        ("sample pixelcnn --weights . --precision fp8", "--precision takes one of fp32, tf32, bf16, fp16, not 'fp8'"),
        ("sample pixelcnn --weights . --device gpu", "device takes one of auto, cpu, cuda, cuda:N or mps, not 'gpu'"),
        ("train", "zoo train needs a MODEL and --data"),
        ("train pixelcnn", "zoo train needs --data"),
        ("train pixlecnn --data mnist", "did you mean 'pixelcnn'?"),
        ("train pixelcnn --data mnist --preset minst", "did you mean 'mnist'?"),
        ("train pixelcnn --data mnist --set widht=3", "unknown setting of pixelcnn 'widht'; did you mean 'width'?"),
        ("train pixelcnn --data mnist --set width=wide", "setting 'width' of pixelcnn must be int, not 'wide'"),
        ("train pixelcnn --data mnist --learning-rate -1", "learning_rate must be positive"),
        ("train --resume", "zoo train --resume needs --out"),
        ("sample pixelcnn --weights . -o .", "can't write '.': it is a folder; with / at its end"),
        ("sample pixelcnn --weights . -o e", "can't write 'e': it has no ending that says the format; try e.png"),
        ("sample pixelcnn --weights . -o e.txt", "can't write 'e.txt': '.txt' is no picture format; try e.png"),
        ("sample pixelcnn --weights . -o no/e.png", "can't write 'no/e.png': there is no folder 'no'; make it first"),
        (
            "sample stylegan2 --weights . --show-given",
            "a model that draws from pictures, which stylegan2 does not",
        ),
        ("download owner/repo@", "'owner/repo@' is neither a folder nor owner/repo nor owner/repo@revision"),
        ("download a/b/c", "'a/b/c' is neither a folder nor owner/repo nor owner/repo@revision"),
        ("train --resume --out /no/such/run", "there is no run in '/no/such/run'"),
        ("eval pixelcnn --weights . --data mnist --metric bits_per_dime", "did you mean 'bits_per_dim'?"),
        ("eval pixelcnn --weights .", "missing option '--data'"),
        ("publish . --repo me", "--repo takes owner/name"),
        ("publish /no/such --repo me/x", "there is no folder"),
        ("download pixelcnn --weights nowhere", "unknown weights"),
        ("check pixlecnn", "did you mean 'pixelcnn'?"),
    ],
)
def test_bad_input_is_one_line(arguments, text, error, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hub, "load", lambda *a, **k: pytest.fail("it loaded the model first"))
    assert text in error(*arguments.split())
    assert list(tmp_path.iterdir()) == []


LONG = "x" * 300  # as long as no file's name may be


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (f"sample pixelcnn --weights {LONG}", "File name too long"),
        (f"sample pixelcnn --weights FOLDER -o {LONG}.png", "File name too long"),
        (f"train pixelcnn --preset tiny --data {LONG}", "File name too long"),
        (f"info pixelcnn --weights ./{LONG}", "File name too long"),
        ("train pixelcnn --preset tiny --data DATA --set width={[]:1}", "setting 'width' of pixelcnn must be int"),
        (
            "train pixelcnn --preset tiny --data DATA --set learning_rate=1 --learning-rate 2",
            "--learning-rate and --set learning_rate are two answers",
        ),
        ("train pixelcnn --preset tiny --data DATA --frame-stride 2", "pixelcnn learns from pictures"),
        ("sample pixelcnn --weights FOLDER -n 2 -o out/ --columns 2", "--columns is of a grid of samples"),
        ("sample pixelcnn --weights FOLDER -n 2 -o x.npy --columns 2", "'x.npy' holds the values of the model"),
        ("sample pixelcnn --weights FOLDER -n 2 -o x.npy --scale 2", "--scale is of a grid of samples"),
        ("cache --yes", "--yes is for --delete"),
    ],
)
def test_what_can_not_be_done_or_would_be_ignored_is_one_line(
    arguments, text, folder, error, tmp_path, monkeypatch, pictures
):
    monkeypatch.chdir(tmp_path)
    places = {"FOLDER": str(folder), "DATA": str(pictures)}
    before = sorted(tmp_path.iterdir())
    assert text in error(*(places.get(word, word) for word in arguments.split()))
    assert sorted(tmp_path.iterdir()) == before


def test_columns_of_a_picture_are_no_bar_to_files_of_one_sample_each(folder, tmp_path, output):
    """What --like takes over from a grid was not typed."""
    grid = tmp_path / "grid.png"
    output("sample", "pixelcnn", "--weights", folder, "-n", "4", "--columns", "1", "--scale", "2", "-o", grid)
    output("sample", "--like", grid, "--weights", folder, "-o", f"{tmp_path}/each/")
    assert len(list((tmp_path / "each").glob("*.png"))) == 4


def test_what_was_published_before_an_error_is_told_as_json(output, monkeypatch, capsys):
    pin = zoo.Weights(repo="me/tiny", revision="a" * 40, sha256="0" * 64, size=1)
    answers = iter([pin])

    def send(*_, **how):
        try:
            return next(answers)
        except StopIteration:
            raise HubError("the Hub is gone") from None

    monkeypatch.setattr(hub, "prepare", lambda *arguments: None)
    monkeypatch.setattr(hub, "send", send)
    assert main(["publish", "--all", "--json"]) == 2
    out, err = capsys.readouterr()
    assert [row["repo"] for row in json.loads(out)] == ["me/tiny"]
    assert "the Hub is gone" in err


def test_an_empty_output_is_refused(error):
    assert "-o needs the name of a file" in error("sample", "pixelcnn", "--weights", "mnist", "-o", "")


@pytest.mark.parametrize("name", ["no/folder/x.png", "x.txt", "x", "{}.txt", "file/x.png", "file/sub/", "folder"])
def test_an_output_that_cannot_be_written_is_found_out_first(name, error, tmp_path, monkeypatch):
    monkeypatch.setattr(hub, "load", lambda *a, **k: pytest.fail("it loaded the model first"))
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    assert "can't write" in error("sample", "pixelcnn", "--weights", tmp_path, "-o", f"{tmp_path}/{name}")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_weights_are_chosen_or_the_error_lists_them():
    assert choose_weights(spec(weights={"a": pin()}), None) == "a"
    assert choose_weights(spec(weights={"a": pin()}), "me/mine@main") == "me/mine@main"
    with pytest.raises(OptionError, match="several weights; choose with --weights a, b"):
        choose_weights(spec(weights={"b": pin(), "a": pin()}), None)
    with pytest.raises(OptionError, match="no pretrained weights"):
        choose_weights(spec(), None)


def test_debug_shows_the_traceback_wherever_it_stands(capsys):
    for arguments in (["--debug", "info", "nothing"], ["info", "nothing", "--debug"]):
        assert main(arguments) == 2
        err = capsys.readouterr().err
        assert "Traceback" in err
        assert err.splitlines()[-1].startswith("error: unknown model 'nothing'")


def test_defects_stay_exceptions_and_ctrl_c_is_130(capsys, monkeypatch):
    def fail(error):
        def raise_it():
            raise error

        return raise_it

    monkeypatch.setattr(registry, "models", fail(RuntimeError("a bug")))
    with pytest.raises(RuntimeError, match="a bug"):
        main(["list"])
    monkeypatch.setattr(registry, "models", fail(KeyboardInterrupt()))
    assert main(["list"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_too_little_memory_is_one_line(capsys, monkeypatch):
    def too_much():
        torch.empty(2**60, dtype=torch.uint8)

    def on_a_gpu():
        raise torch.OutOfMemoryError("CUDA out of memory")

    for allocate in (too_much, on_a_gpu):
        monkeypatch.setattr(registry, "models", allocate)
        assert main(["list"]) == 2
        assert "smaller --batch-size" in capsys.readouterr().err


def test_no_control_characters_reach_the_terminal(capsys):
    assert main(["info", "a\x1b[31m\nb"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert r"'a\x1b[31m b'" in err


# Sampling


def test_sample_writes_one_grid(folder, tmp_path, output):
    path = tmp_path / "s.png"
    arguments = ("sample", "pixelcnn", "--weights", folder, "-n", 6, "--columns", 3, "--scale", 2, "-o", path)
    assert re.fullmatch(rf"wrote 6 samples to {re.escape(str(path))} in [0-9.]+ s\n", output(*arguments))
    with Image.open(path) as image:
        assert image.size == (2 * (3 * 10 + 2), 2 * (2 * 10 + 2))
    assert not list(tmp_path.glob(".*"))


def test_sample_can_write_one_file_each(folder, tmp_path, output):
    base = ("sample", "pixelcnn", "--weights", folder, "-n", 3)
    output(*base, "-o", f"{tmp_path}/new/folder/")
    names = ["00000.png", "00001.png", "00002.png", "manifest.jsonl"]
    assert sorted(path.name for path in (tmp_path / "new/folder").iterdir()) == names
    output(*base, "--start", 1, "-o", f"{tmp_path}/x-{{}}.png")
    one, other = tmp_path / "new/folder/00002.png", tmp_path / "x-00002.png"
    assert one.read_bytes() == other.read_bytes()  # sample i of a seed is the same however it is asked for
    assert Image.open(one).size == (8, 8)


def test_sample_completes_pictures(folder, tmp_path, output, picture, error):
    base = ("sample", "pixelcnn", "--weights", folder, "-n", 2, "-o", f"{tmp_path}/{{}}.png", "--option")
    output(*base, f"given={picture}", "--option", "given_rows=8")
    levels = torch.arange(0, 256, 4) * 4 // 256 * 255 // 3
    assert list(Image.open(tmp_path / "00001.png").tobytes()) == levels.tolist()
    Image.new("L", (9, 8)).save(picture)
    wide = error(*base, f"given={picture}", "--option", "given_rows=8")
    assert "is 9x8 pixels, but pixelcnn needs 8x8" in wide


def test_sample_passes_everything_on(tmp_path, monkeypatch, output):
    calls = []

    class Fake:
        levels, fps, weights_sha256 = 2, 10.0, None

        def sample(self, n, progress, **options):
            progress(0.5)
            calls.append((n, options))
            return torch.ones((n, 1, 4, 4), dtype=torch.uint8)

    def load(name, weights, device):
        calls.append((name, weights, device))
        return Fake()

    monkeypatch.setattr(hub, "load", load)
    path = tmp_path / "a.png"
    text = "sample pixelcnn --weights me/x@v1 -n 1 --seed 3 --start 4 --batch-size 5 --precision bf16 --device cpu"
    output(*text.split(), "--option", "temperature=0.5", "-o", path)
    settings = {"seed": 3, "start": 4, "batch_size": 5, "precision": "bf16", "temperature": 0.5}
    assert calls == [("pixelcnn", "me/x@v1", "cpu"), (1, settings)]
    assert set(Image.open(path).tobytes()) == {255}


def test_one_value_for_each_sample():
    label = Option(name="label", type="int", minimum=0, maximum=9, per_sample=True)
    other = spec(sample_options=(label,))
    assert parse_options(other, ["label=3"]) == ({"label": 3}, {})
    assert parse_options(other, ["label=3,1, 4"]) == ({"label": [3, 1, 4]}, {})
    with pytest.raises(OptionError, match="from 0 to 9, not '11'"):
        parse_options(other, ["label=3,11"])


def test_clips_are_animations(tmp_path, monkeypatch, error, capsys):
    frames = [torch.full((1, 4, 6), 80 * t, dtype=torch.uint8) for t in range(3)]
    write_clip(frames, tmp_path / "a.gif", [100] * 3, scale=2)
    with Image.open(tmp_path / "a.gif") as clip:
        assert (clip.size, clip.n_frames) == ((12, 8), 3)
    video = spec(data_shape=("T", "C", "H", "W"), task="video-generation", weights={"a": pin()})
    monkeypatch.setattr(registry, "model_spec", lambda name: video)

    class Fake:
        levels, fps, weights_sha256 = 256, 10.0, None

        def sample(self, n, **options):
            return torch.zeros((n, 2, 1, 4, 4), dtype=torch.uint8)

    monkeypatch.setattr(hub, "load", lambda *a, **k: Fake())
    assert main(["sample", "other", "-n", "4", "-o", f"{tmp_path}/b.webp"]) == 0
    assert Image.open(tmp_path / "b.webp").size == (14, 14)
    assert main(["sample", "other", "-n", "4", "-o", f"{tmp_path}/c.png"]) == 0
    assert Image.open(tmp_path / "c.png").size == (14, 26)  # a still sheet, four clips of two frames


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_gets_a_bar_with_rate_and_time_left(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    with progress("sampling", 8, "samples") as update:
        for done in (1, 2, 4):
            time.sleep(0.05)
            update(done, "loss [1.5]")
        time.sleep(0.25)
    shown = sys.stderr.getvalue()
    assert "4/8" in shown
    assert re.search(r"[0-9.]+ samples/s", shown)
    assert re.search(r"0:00:0\d", shown)
    assert "loss [1.5]" in shown
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress("sampling", 8, "samples") as update:
        update(4)
    assert sys.stderr.getvalue() == ""


def test_missing_weights_folder_is_one_line(tmp_path, error):
    assert "config.json" in error("sample", "pixelcnn", "--weights", tmp_path, "-o", tmp_path / "a.png")
    assert not (tmp_path / "a.png").exists()


# Training and measuring


@pytest.fixture
def trained(monkeypatch, tmp_path):
    """Replaces the training loop; what it was called with."""
    calls = []

    def train(settings, *, resume=False, progress=None):
        calls.append((settings, resume))
        if progress:
            progress({"seen": 32, "examples": 64, "images_per_second": 10.0})
            values = {"train/bits_per_dim": 1.5, "images_per_second": 10.0}
            progress({"seen": 64, "examples": 64, "images_per_second": 10.0, "metrics": values})
        reason = "interrupted" if settings.seed == 13 else "finished"
        return {"reason": reason, "seen": 64, "minutes": 0.1, "folder": settings.out, "metrics": {"loss": 1.0}}

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(loop, "train", train)
    return calls


def test_train(trained, capsys):
    text = (
        "train pixelcnn --data mnist --set levels=16 --examples 64 --learning-rate 0.01 --ema-images 0 --accumulate 2"
    )
    assert main(text.split()) == 0
    settings, resume = trained[0]
    assert not resume
    assert (settings.model, settings.data, settings.preset) == ("pixelcnn", "mnist", "mnist")
    assert (settings.overrides, settings.out) == ({"levels": 16}, "runs/pixelcnn-mnist")
    assert (settings.examples, settings.recipe["learning_rate"], settings.ema_images, settings.accumulate) == (
        64,
        0.01,
        0,
        2,
    )
    assert settings.batch_size == 16  # the preset's
    assert settings.log_every == loop.Settings(model="", data="", out="").log_every
    out, err = capsys.readouterr()
    assert err == "64/64  10.0 images/s  train/bits_per_dim 1.5\n"  # no bar without a terminal, a line at a log event
    assert out.startswith("finished after 64 examples")


def test_train_interrupted(trained, capsys):
    assert main(["train", "pixelcnn", "--data", "./photos", "--seed", "13", "--preset", "tiny"]) == 130
    assert "go on with: zoo train --resume --out runs/pixelcnn-photos" in capsys.readouterr().out


def test_train_is_quiet_in_other_processes(trained, capsys, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    assert main(["train", "pixelcnn", "--data", "mnist"]) == 0
    assert capsys.readouterr() == ("", "")


def test_train_refuses_a_folder_in_use(trained, tmp_path, error):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/x").touch()
    assert "is not empty; choose another --out" in error("train", "pixelcnn", "--data", "mnist", "--out", "run")
    assert "is a file" in error("train", "pixelcnn", "--data", "mnist", "--out", "run/x")
    assert not trained


def test_train_resumes_with_the_stored_settings(trained, tmp_path, output):
    settings = {"model": "pixelcnn", "data": "mnist", "out": "elsewhere", "preset": "tiny", "batch_size": 7, "seed": 5}
    (tmp_path / "run.json").write_text(json.dumps({"settings": settings}))
    output("train", "--resume", "--out", tmp_path, "--examples", 99, "--max-minutes", 2)
    found, resume = trained[0]
    assert resume
    assert (found.batch_size, found.seed, found.preset, found.out) == (7, 5, "tiny", str(tmp_path))
    assert (found.examples, found.max_minutes) == (99, 2)


def test_the_precision_auto_of_a_resumed_run_is_the_one_it_began_with(trained, tmp_path, output):
    (tmp_path / "run").mkdir()
    stored = loop.Settings(model="pixelcnn", data="mnist", out="run", precision="bf16")
    (tmp_path / "run" / "run.json").write_text(json.dumps({"settings": vars(stored)}))
    output("train", "--resume", "--out", "run", "--precision", "auto")
    assert trained[0][0].precision == "bf16"


def test_dry_run(trained, monkeypatch, output):
    plan = {"settings": {"model": "pixelcnn"}, "parameters": 123_456, "data": {"train": 60_000}}
    monkeypatch.setattr(planning, "plan", lambda settings: plan)
    base = ("train", "pixelcnn", "--data", "mnist", "--dry-run")
    assert re.search(r"parameters +123,456", output(*base))
    assert json.loads(output(*base, "--json")) == plan
    assert not trained


def test_the_help_of_train_tells_the_real_defaults(output, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERMINAL_WIDTH", "200")
    text = " ".join(output("train", "--help").split())
    for field in fields(loop.Settings):
        flag = "--" + field.name.replace("_", "-")
        found = re.search(rf"{flag} .*?\[default: ([^\];]*)", text)
        if field.name not in ("model", "data", "out", "preset", "overrides", "recipe", "init", "columns", "planned"):
            assert found, flag
            special = {"max_minutes": "no limit", "stream": "no", "resize": "no", "pairs": "no"}
            assert found[1] == special.get(field.name, str(field.default))


def test_eval(monkeypatch, output):
    receipt = {"name": "nats", "value": 78.9, "data": "mnist", "split": "test", "count": 10}
    calls = []

    def evaluate(model, *, progress, **arguments):
        progress(1.0)
        calls.append(arguments)
        return [receipt]

    monkeypatch.setattr(hub, "load", lambda *a, **k: None)
    monkeypatch.setattr(metrics, "evaluate", evaluate)
    base = ("eval", "pixelcnn", "--weights", "me/x", "--data", "mnist", "--metric", "nats, bits_per_dim")
    assert output(*base).splitlines()[1].split() == ["nats", "78.9", "mnist", "test", "10"]
    assert json.loads(output(*base, "--json", "--limit", 5, "--split", "validation")) == [receipt]
    names = ["nats", "bits_per_dim"]
    assert calls == [
        {"data": "mnist", "split": None, "metrics": names, "limit": None, "batch_size": 128},
        {"data": "mnist", "split": "validation", "metrics": names, "limit": 5, "batch_size": 128},
    ]


def test_train_sample_and_eval_for_real(tmp_path, output):
    for i in range(8):
        (tmp_path / "photos").mkdir(exist_ok=True)
        Image.frombytes("L", (8, 8), bytes((i * j) % 256 for j in range(64))).save(tmp_path / f"photos/{i}.png")
    data, run = tmp_path / "photos", tmp_path / "run"
    flags = ["--data", data, "--preset", "tiny", "--device", "cpu", "--batch-size", 4, "--examples", 8, "--out", run]
    output("train", "pixelcnn", *flags, "--log-every", 4)
    output("train", "--resume", "--out", run, "--examples", 12)
    assert "finished after 12 examples" in output("train", "--resume", "--out", run)
    output("sample", "pixelcnn", "--weights", run, "-n", 2, "-o", tmp_path / "s.png")
    receipts = json.loads(output("eval", "pixelcnn", "--weights", run, "--data", data, "--split", "train", "--json"))
    assert {"nats", "bits_per_dim"} == {receipt["name"] for receipt in receipts}
    for _ in range(2):  # the second time in place of the first
        output("eval", "pixelcnn", "--weights", run, "--data", data, "--split", "train", "--record")
    figures = [
        receipt for receipt in json.loads((run / "config.json").read_text())["metrics"] if receipt["split"] == "train"
    ]
    assert figures == receipts
    card = (run / "README.md").read_text()
    assert f"| nats | {receipts[0]['value']} |" in card
    assert f"zoo eval pixelcnn --weights OWNER/NAME --data {data} --split train" in card
    assert "go to me/tiny" in output("publish", run, "--repo", "me/tiny", "--dry-run", "--licence", "cc-by-4.0")


def test_record_needs_a_folder(error, monkeypatch):
    monkeypatch.setattr(hub, "load", lambda *a, **k: pytest.fail("too late"))
    text = error("eval", "pixelcnn", "--weights", "me/tiny", "--data", "mnist", "--record")
    assert "--record writes into a weights folder" in text


def test_a_tag_comes_before_a_folder_of_its_name(folder, tmp_path, output, error, monkeypatch):
    """In a folder with data called mnist, or a run that is still training, "mnist" means the tag all the same."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist" / "run.json").write_text("{}")
    rows = json.loads(output("check", "pixelcnn", "--weights", "mnist", "--json"))
    assert [row["status"] for row in rows] == ["pass", "pass"]
    assert "model_cards" in rows[0]["detail"]
    assert "model_cards" in output("download", "pixelcnn:mnist")
    text = error("eval", "pixelcnn", "--weights", "mnist", "--data", "mnist", "--record")
    assert "--record writes into a weights folder, and 'mnist' is none" in text


# Weights


def test_download(folder, output):
    assert output("download", "pixelcnn", "--weights", folder).strip() == str(folder)
    found = json.loads(output("download", "pixelcnn", "--weights", folder, "--json"))
    assert found == {"model": "pixelcnn", "weights": str(folder), "folder": str(folder)}


@pytest.fixture
def sent(monkeypatch):
    """What would have gone to the Hub: packages and options; a "check" before each folder that was loaded."""
    calls, load_folder = [], read.load_folder
    monkeypatch.setattr("zoo.hub.publish.load_folder", lambda folder: calls.append("check") or load_folder(folder))
    monkeypatch.setattr(
        hub, "send", lambda package, **options: calls.append((package, options)) or pin(revision="1" * 40)
    )
    return calls


def test_publish(tmp_path, tiny, output, sent):
    folder = hub.save(tiny, tmp_path / "weights", licence="mit")
    assert "1" * 40 in output("publish", folder, "--repo", "me/tiny", "--private", "--message", "first")
    checked, (package, options) = sent
    assert (checked, package.folder, package.repo) == ("check", folder, "me/tiny")
    assert options == {"private": True, "message": "first", "force": False}
    [planned] = json.loads(output("publish", folder, "--repo", "me/tiny", "--dry-run", "--json"))
    assert planned["files"].keys() == {path.name for path in folder.iterdir()}
    assert planned["files"]["model.safetensors"] == (folder / "model.safetensors").stat().st_size
    assert len([call for call in sent if call != "check"]) == 1
    [sent_pin] = json.loads(output("publish", folder, "--repo", "me/tiny", "--json"))
    assert sent_pin["revision"] == "1" * 40


def test_publish_all_goes_to_the_repositories_of_the_pins_and_checks_each_folder_once(output, error, sent):
    pinned = {weights.repo for model in zoo.models() for weights in model.weights.values()}
    output("publish", "--all")
    assert sent[: len(pinned)] == ["check"] * len(pinned)  # all, before the first is sent
    packages = [package for package, _ in sent[len(pinned) :]]
    assert {package.repo for package in packages} == pinned
    assert all(package.repo.endswith(f"/{package.folder.name}") for package in packages)
    sent.clear()
    shown = output("publish", "--all", "--dry-run")
    assert all(f"would go to {repo}" in shown for repo in pinned)
    assert sent == ["check"] * len(pinned)
    assert "leave out FOLDER" in error("publish", "--all", "--repo", "me/x")
    assert "needs a FOLDER" in error("publish", "--repo", "me/x")
    assert "for one FOLDER" in error("publish", "--all", "--licence", "mit")


def test_publish_wants_a_licence(folder, output, error, sent):
    text = error("publish", folder, "--repo", "me/tiny")
    assert "the card has no 'license': state one with --licence ID, or licence=ID in Python" in text
    assert "did you mean 'cc-by-sa-4.0'?" in error("publish", folder, "--repo", "me/tiny", "--licence", "by-sa-4.0")
    assert sent == ["check"]  # a licence that is none is known before the folder is read
    shown = output("publish", folder, "--repo", "me/tiny", "--licence", "MIT", "--dry-run")
    assert "license: mit\n" in shown
    assert "| licence of the weights | mit |" in shown
    output("publish", folder, "--repo", "me/tiny", "--licence", "mit")
    package, _ = sent[-1]
    assert json.loads(package.files["config.json"])["licence"] == "mit"


def test_publish_dry_run_shows_the_whole_commit(tmp_path, tiny, output):
    saved = hub.save(tiny, tmp_path / "weights", licence="mit", data="me/digits")
    shown = output("publish", saved, "--repo", "me/tiny", "--dry-run")
    assert '"pixelcnn on me/digits"' in shown
    assert all(path.name in shown for path in saved.iterdir())
    assert "license: mit" in shown
    assert 'weights="me/tiny"' in shown
    assert "OWNER/NAME" not in shown


def test_publish_dry_run_finds_damage(folder, error):
    with (folder / config.TENSORS).open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x55")
    assert "sha256" in error("publish", folder, "--repo", "me/tiny", "--dry-run")


def test_check_weights(folder, output, monkeypatch):
    text = output("check", "pixelcnn", "--weights", folder)
    assert re.search(r"pass +golden sample", text)
    monkeypatch.setattr(golden, "check_golden", lambda model, golden: (False, "3 of 64 differ"))
    rows = json.loads(output("check", "pixelcnn", "--weights", folder, "--json", code=1))
    assert rows[-1] == {"name": "golden sample", "status": "fail", "detail": "3 of 64 differ"}


def test_check_model(output, monkeypatch):
    results = [testing.Result("spec", "pass"), testing.Result("gpu", "n/a", "no device")]
    monkeypatch.setattr(testing, "check", lambda name: results)
    assert output("check", "pixelcnn").splitlines() == ["pass  spec", "n/a   gpu   no device", "1 pass, 1 n/a"]
    results.append(testing.Result("causal", "fail", "it sees\nthe future"))
    assert "fail  causal  it sees the future" in output("check", "pixelcnn", code=1)


def test_a_run_says_no_licence_until_its_owner_does(tmp_path, output, error):
    data, run = write_pictures(tmp_path / "photos", 8), tmp_path / "run"
    flags = ["--data", data, "--preset", "tiny", "--device", "cpu", "--batch-size", 4, "--examples", 8, "--out", run]
    output("train", "pixelcnn", *flags)
    assert "license:" not in (run / "README.md").read_text()
    assert "licence" not in json.loads((run / "config.json").read_text())
    assert "--licence" in error("publish", run, "--repo", "me/tiny", "--dry-run")
    assert "license: cc-by-4.0" in output("publish", run, "--repo", "me/tiny", "--dry-run", "--licence", "cc-by-4.0")


def test_only_the_first_process_of_a_launch_wants_an_empty_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others may come when the first one is already at work in it."""
    from zoo.cli import train

    (tmp_path / "run.json").write_text("{}")
    (tmp_path / "config.json").write_text("{}")
    given = {"model": "pixelcnn", "data": "mnist", "out": str(tmp_path)}
    with pytest.raises(ZooError, match="is not empty"):
        train._settings(dict(given), None, resume=False, dry_run=False)
    monkeypatch.setenv("RANK", "1")
    assert train._settings(dict(given), None, resume=False, dry_run=False).out == str(tmp_path)


# Streams


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("arguments", ["list", "info pixelcnn --json", "--help", "info nothing"])
def test_closed_streams_are_as_the_null_device(arguments: str, closed: str) -> None:
    code = "import sys; from zoo.cli import main; sys.exit(main(sys.argv[1:]))"
    expected = 2 if arguments == "info nothing" else 0
    command = ["sh", "-c", f'exec "$0" -c "$1" {arguments} {closed}', sys.executable, code]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT)
    assert done.returncode == expected, done.stderr
    assert "Traceback" not in done.stderr


def test_samples_are_written_with_closed_streams(folder, tmp_path):
    """Nothing that is opened meanwhile takes the place of a closed stream."""
    code = "import sys; from zoo.cli import main; sys.exit(main(sys.argv[1:]))"
    arguments = f"sample pixelcnn --weights {folder} -n 2 -o {tmp_path}/s.png >&- 2>&-"
    command = ["sh", "-c", f'exec "$0" -c "$1" {arguments}', sys.executable, code]
    assert subprocess.run(command, env=ENVIRONMENT).returncode == 0
    with Image.open(tmp_path / "s.png") as image:
        image.load()


def test_a_stream_that_cannot_be_written_is_one_line(tmp_path):
    code = "import sys; from zoo.cli import main; sys.exit(main(['list']))"
    with (tmp_path / "x").open("w"), (tmp_path / "x").open("r") as reading:
        done = subprocess.run(
            [sys.executable, "-c", code], stdout=reading, stderr=subprocess.PIPE, env=ENVIRONMENT, text=True
        )
    assert (done.returncode, done.stderr) == (2, "error: can't write the output: Bad file descriptor\n")


def test_progress_without_a_terminal_is_a_line_every_ten_seconds(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    with progress("sampling", 100, "samples") as update:
        for now[0], done in ((4.0, 10), (9.9, 20), (10.0, 25), (15.0, 40), (20.0, 50), (31.0, 130)):
            update(done)
    assert capsys.readouterr().err.splitlines() == [
        "sampling: 25 of 100 samples, about 30 s left",
        "sampling: 50 of 100 samples, about 20 s left",
        "sampling: 100 of 100 samples, about 0 s left",  # never more than all
    ]
    monkeypatch.setenv("RANK", "1")
    with progress("sampling", 100, "samples") as update:
        now[0] += 20
        update(1)
    assert capsys.readouterr().err == ""


def test_progress_that_nobody_reads_does_not_end_the_work(monkeypatch):
    class Broken(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stderr", Broken())
    console.note("text")
    console.complain("text")


def test_training_lines_never_pass_the_total(monkeypatch, capsys):
    from zoo.cli import train

    now = [0.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    with train._progress(100) as report:
        report({"seen": 32, "examples": 100, "images_per_second": 3.0})
        now[0] = 11.0
        report({"seen": 64, "examples": 100, "images_per_second": 3.0})
        now[0] = 12.0
        report({"seen": 128, "examples": 100, "images_per_second": 3.0, "metrics": {"nats": 2.0}})
        now[0] = 21.9  # less than ten seconds after the last line
        report({"seen": 128, "examples": 100, "images_per_second": 3.0})
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("training: 64 of 100 images")
    assert lines[1] == "100/100  3.0 images/s  nats 2"


# Outputs


def test_stdout_gets_the_picture_and_nothing_else(folder, capfdbinary):
    base = ["sample", "pixelcnn", "--weights", str(folder), "-n", "2", "-o", "-"]
    assert main(base) == 0
    out, err = capfdbinary.readouterr()
    with Image.open(io.BytesIO(out)) as picture:
        assert (picture.format, picture.size) == ("PNG", (22, 12))
    assert err.startswith(b"wrote 2 samples to stdout")
    assert main([*base, "--format", "webp"]) == 0
    with Image.open(io.BytesIO(capfdbinary.readouterr().out)) as picture:
        assert picture.format == "WEBP"


def test_a_terminal_gets_no_picture(folder, error, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert "stdout, which is a terminal" in error("sample", "pixelcnn", "--weights", folder, "-o", "-")


def test_the_folder_of_a_pattern_is_made(folder, tmp_path, output):
    base = ("sample", "pixelcnn", "--weights", folder, "-n", 2, "--start", 7)
    assert f"{tmp_path}/a/b/*.png" in output(*base, "-o", f"{tmp_path}/a/b/{{:03d}}.png")
    assert sorted(path.name for path in (tmp_path / "a/b").iterdir()) == ["007.png", "008.png"]
    output(*base, "-o", f"{tmp_path}/c/x{{}}.png", "--scale", 2)
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == ["x00007.png", "x00008.png"]
    output(*base, "-o", f"{tmp_path}/{{a}}.png")  # no pattern, a name
    assert (tmp_path / "{a}.png").is_file()
    output(*base, "--format", ".WEBP", "-o", f"{tmp_path}/d/")
    assert sorted(path.name for path in (tmp_path / "d").iterdir()) == ["00007.webp", "00008.webp", "manifest.jsonl"]


def test_arrays_hold_what_the_model_draws(folder, tmp_path, output):
    expected = zoo.load("pixelcnn", weights=folder, device="cpu").sample(3, seed=5).numpy()
    base = ("sample", "pixelcnn", "--weights", folder, "-n", 3, "--seed", 5)
    output(*base, "-o", tmp_path / "a.npy")
    output(*base, "-o", tmp_path / "a.npz")
    output(*base, "--format", "npy", "-o", f"{tmp_path}/each/")
    assert expected.dtype == np.uint8
    assert np.array_equal(np.load(tmp_path / "a.npy"), expected)
    assert np.array_equal(np.load(tmp_path / "a.npz")["samples"], expected)
    assert np.array_equal(np.load(tmp_path / "each/00002.npy"), expected[2])


def test_the_old_spelling_of_out_works_and_is_not_told(folder, tmp_path, output):
    output("sample", "pixelcnn", "--weights", folder, "-n", 1, "--output", tmp_path / "a.png")
    output("sample", "pixelcnn", "--weights", folder, "-n", 1, "--out", tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert "--output" not in output("sample", "--help")
    for verb in ("sample", "train", "import", "new", "lock"):
        assert "-o, --out " in output(verb, "--help"), verb


def test_format_says_what_the_name_does_not(error):
    text = error("sample", "pixelcnn", "--weights", "mnist", "-o", "a.png", "--format", "webp")
    assert "--format webp is for -o - or a folder, and 'a.png' is neither" in text
    text = error("sample", "pixelcnn", "--weights", "mnist", "-o", "a.npy", "--animate")
    assert "an animation needs .gif" in text


# Paths


def test_a_home_is_expanded_wherever_a_path_may_stand(tmp_path, monkeypatch, output, folder):
    monkeypatch.setenv("HOME", str(tmp_path))
    base = ("sample", "pixelcnn", "-n", 1, "--option", "given_rows=2")
    write_pictures(tmp_path / "given", 1)
    output(*base, f"--weights=~/{folder.name}", "--out=~/s.png", "--option", "given=~/given")
    assert (tmp_path / "s.png").is_file()


@pytest.mark.parametrize(
    "arguments",
    [
        "sample pixelcnn --weights=~nobody-here/x",
        "sample pixelcnn --weights mnist -o ~nobody-here/x.png",
        "sample pixelcnn --weights mnist --option given=~nobody-here/x.png",
        "train pixelcnn --data=~nobody-here/x",
        "train pixelcnn --data mnist --out=~nobody-here/x",
        "train pixelcnn --data mnist --from ~nobody-here/x",
        "eval pixelcnn --weights mnist --data=~nobody-here/x",
        "publish ~nobody-here/x --repo me/x",
        "import pixelcnn ~nobody-here/x -o y",
        "download --locked ~nobody-here/x",
        "lock -o ~nobody-here/x",
        "new mine -o ~nobody-here/x",
    ],
)
def test_the_home_of_nobody_is_one_line(arguments, error):
    assert "there is no user 'nobody-here' with a folder" in error(*arguments.split())


def test_a_file_may_be_named_like_a_home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "~nobody-here").touch()
    assert console.expand("~nobody-here") == "./~nobody-here"
    assert console.expand("mnist") == "mnist"


# Names


def test_weights_stand_behind_the_model_too(output, error, tmp_path):
    assert "golden sample" in output("check", "pixelcnn:mnist")
    assert output("download", "pixelcnn:mnist") == output("download", "pixelcnn", "--weights", "mnist")
    for arguments in (("info", "pixelcnn:mnist", "--json"), ("info", "pixelcnn", "--weights", "mnist", "--json")):
        [row] = json.loads(output(*arguments))["weights"]
        assert (row["tag"], row["data"], row["licence"]) == ("mnist", "mnist", "apache-2.0")
        assert {"bits_per_dim", "nats"} == {figure["name"] for figure in row["metrics"]}
    text = output("info", "pixelcnn:mnist")
    assert re.search(r"^licence +apache-2.0$", text, re.MULTILINE)
    assert re.search(r"^bits_per_dim +0\.\d{4} +mnist +test +10000$", text, re.MULTILINE)
    output("sample", "gated-pixelcnn:mnist", "-n", 1, "--option", "given_rows=0", "-o", tmp_path / "a.png")
    for verb in ("sample", "check", "download", "info"):
        assert "did you mean 'mnist'?" in error(verb, "pixelcnn:mnits"), verb
    assert "did you mean 'mnist'?" in error("eval", "pixelcnn:mnits", "--data", "mnist")
    assert "two answers" in error("sample", "pixelcnn:mnist", "--weights", "binarized_mnist")
    assert "unknown weights of pixelcnn ''" in error("sample", "pixelcnn:")


def test_weights_in_place_of_a_model_get_a_hint(folder, tmp_path, error):
    assert "zoo sample MODEL --weights me/digits" in error("sample", "me/digits")
    assert f"zoo sample pixelcnn --weights {folder}" in error("sample", folder)
    run = tmp_path / "run"
    run.mkdir()
    (run / "run.json").write_text(json.dumps({"settings": {"model": "row_lstm"}}))
    assert f"zoo info row_lstm --weights {run}" in error("info", run)


def test_a_run_without_weights_is_drawn_from_its_newest_checkpoint(tmp_path, output, error, capsys):
    data, run = write_pictures(tmp_path / "photos", 12), tmp_path / "run"
    flags = ["--data", data, "--preset", "tiny", "--device", "cpu", "--batch-size", 4, "--ema-images", 0]
    output("train", "pixelcnn", *flags, "--examples", 8, "--checkpoint-every", 4, "--out", run)
    expected = zoo.load("pixelcnn", weights=run, device="cpu").sample(2, seed=1).numpy()
    for name in ("config.json", "model.safetensors", "README.md"):  # as if it had been killed before its end
        (run / name).unlink()
    base = ("sample", "pixelcnn", "--weights", run, "-n", 2, "--seed", 1, "-o", tmp_path / "a.npy")
    assert main([str(argument) for argument in base]) == 0
    assert "newest checkpoint, after 8 examples" in capsys.readouterr().err
    assert np.array_equal(np.load(tmp_path / "a.npy"), expected)
    assert json.loads(output("eval", "pixelcnn", "--weights", run, "--data", data, "--split", "train", "--json"))
    assert "trains pixelcnn, not gated_pixelcnn" in error("sample", "gated_pixelcnn", "--weights", run)
    for verb in (("check", "pixelcnn"), ("download", "pixelcnn"), ("eval", "pixelcnn", "--data", data, "--record")):
        assert f"zoo train --resume --out {run}" in error(*verb, "--weights", run)
    for checkpoint in (run / "checkpoints").iterdir():
        checkpoint.unlink()
    assert "has no checkpoint yet" in error("sample", "pixelcnn", "--weights", run)


def test_locked_weights(tmp_path, output, error, monkeypatch):
    monkeypatch.chdir(tmp_path)
    output("lock", "pixelcnn", "--weights", "mnist")
    [locked] = json.loads(Path("zoo.lock").read_text())["weights"]
    output("sample", "pixelcnn", "--locked", "zoo.lock", "-n", 1, "-o", "a.npy")
    output("sample", "pixelcnn:mnist", "-n", 1, "-o", "b.npy")
    output("sample", "pixelcnn", "--weights", locked["repo"], "--locked", "zoo.lock", "-n", 1, "-o", "c.npy")
    assert Path("a.npy").read_bytes() == Path("b.npy").read_bytes() == Path("c.npy").read_bytes()
    text = error("sample", "pixelcnn:binarized_mnist", "--locked", "zoo.lock")
    assert "no weights for pixelcnn:binarized_mnist; --weights takes: pixelcnn:mnist" in text
    assert "'zoo lock' writes one" in error("eval", "pixelcnn", "--locked", "none.lock", "--data", "mnist")
    assert "--record writes into" in error("eval", "pixelcnn", "--locked", "zoo.lock", "--data", "mnist", "--record")
    output("lock", "pixelcnn", "-o", "both.lock")
    assert "several weights for pixelcnn" in error("sample", "pixelcnn", "--locked", "both.lock")
    raw = json.loads(Path("zoo.lock").read_text())
    raw["weights"][0]["files"]["model.safetensors"]["sha256"] = "0" * 64
    Path("zoo.lock").write_text(json.dumps(raw))
    assert "is not what is locked" in error("sample", "pixelcnn", "--locked", "zoo.lock")
    assert "--weights is the tag of one MODEL" in error("lock", "--weights", "mnist")


# Other verbs


def test_datasets(output, tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_DATA", str(tmp_path / "data"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "prepared"))
    rows = json.loads(output("datasets", "--json"))
    assert [row["name"] for row in rows] == [spec.name for spec in zoo.datasets()]
    assert all(row["licence"] and row["folder"] is None and row["bytes"] is None for row in rows)
    (tmp_path / "data" / "binarized_mnist").mkdir(parents=True)
    (tmp_path / "data" / "binarized_mnist" / "x").write_bytes(bytes(1500))
    (tmp_path / "hub" / "datasets--ylecun--mnist").mkdir(parents=True)
    (tmp_path / "prepared" / "uoft-cs___cifar10").mkdir(parents=True)
    found = {row["name"]: row for row in json.loads(output("datasets", "--json"))}
    assert found["binarized_mnist"]["bytes"] == 1500
    assert [name for name, row in found.items() if row["folder"]] == ["binarized_mnist", "cifar10", "mnist"]
    assert re.search(r"binarized_mnist .* yes +1\.5 kB", output("datasets"))


def test_one_process_of_a_launch_draws_and_writes(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    assert main(["sample", "pixelcnn", "--weights", str(folder), "-o", str(tmp_path / "a.png")]) == 0
    assert capsys.readouterr() == ("", "")
    assert not (tmp_path / "a.png").exists()


def test_help_is_a_verb(output, error):
    assert output("help") == output("--help")
    assert output("help", "sample") == output("sample", "--help")
    assert output("help", "doctor") == output("doctor", "--help")
    assert "did you mean 'sample'?" in error("help", "smaple")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes_verbs_and_models(output, monkeypatch, shell):
    """By what its script asks for, and how."""
    monkeypatch.setenv("_ZOO_COMPLETE", f"{shell}_source")
    assert f"_ZOO_COMPLETE={shell}_complete" in output()
    monkeypatch.setenv("_ZOO_COMPLETE", f"{shell}_complete")
    for words, index, expected in (
        ("zoo sam", 1, "sample"),
        ("zoo doc", 1, "doctor"),
        ("zoo info row", 2, "row_lstm"),
        ("zoo list --kind auto", 3, "autoregressive"),
        ("zoo list --task video-g", 3, "video-generation"),
    ):
        monkeypatch.setenv("COMP_WORDS", words)
        monkeypatch.setenv("COMP_CWORD", words.split()[-1] if shell == "fish" else str(index))
        found = output().replace("\t", "\n").splitlines()  # zsh: type, value and help on a line each
        assert expected in (found if shell == "zsh" else [line.partition(",")[2] for line in found])


def test_bash_completes_with_the_line_of_the_docs(tmp_path):
    """In bash itself, by the line that the help and docs/command-line.md name."""
    line = 'eval "$(_ZOO_COMPLETE=bash_source zoo)"'
    assert line in (Path(__file__).parent.parent / "docs" / "command-line.md").read_text(encoding="utf-8")
    zoo = tmp_path / "zoo"
    zoo.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m zoo.cli "$@"\n', encoding="utf-8")
    zoo.chmod(0o755)
    script = f'{line}\nCOMP_WORDS=(zoo sample gated) COMP_CWORD=2\n_zoo_completion zoo\necho "${{COMPREPLY[@]}}"'
    environment = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "gated_pixelcnn\n"


def test_passwords_of_addresses_stay_out_of_errors(capsys):
    console.complain("error: https://me:secret@hub.example/x gives 500; see mail@host")
    assert capsys.readouterr().err == "error: https://hub.example/x gives 500; see mail@host\n"


def test_options_say_what_they_are_for_and_not_their_names(monkeypatch):
    """A stranger's plugin calls them as it likes."""
    tour = Option(name="tour", type="str", choices=("fast", "slow"), frames=("stops", "between"))
    stops, between = (Option(name=name, type="int", default=value) for name, value in (("stops", 3), ("between", 5)))
    other = spec(sample_options=(tour, stops, between, Option(name="cross", type="int", table=True)))
    chosen: dict[str, object] = {}
    assert clip_length(other, chosen, wanted=False) is None
    assert clip_length(other, chosen, wanted=True) == 15
    assert chosen == {"tour": "fast"}
    assert clip_length(other, {"tour": "slow", "stops": 2}, wanted=False) == 10
    assert table_columns(other, {"cross": 4}) == ("cross", 5)
    assert table_columns(other, {}) is None
    assert (
        "option 'tour' names 'stop', which is no option"
        in spec(sample_options=(Option(name="tour", type="str", frames=("stop",)),)).problems()
    )


def test_a_warning_is_one_line_without_its_place_in_the_code(monkeypatch, capsys):
    import warnings

    monkeypatch.setattr(app, "_run", lambda arguments: warnings.warn("2 clips are left out", stacklevel=1) or 0)
    usual = warnings.formatwarning
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        monkeypatch.setattr(
            warnings, "showwarning", lambda m, c, f, n, *r: sys.stderr.write(warnings.formatwarning(m, c, f, n))
        )
        assert main(["list"]) == 0
    assert capsys.readouterr().err == "warning: 2 clips are left out\n"
    assert warnings.formatwarning is usual


def test_models_can_be_chosen_by_kind_task_and_weights(output, error):
    def names(*flags):
        rows = json.loads(output("list", "--json", *flags))
        assert [line.split()[0] for line in output("list", *flags).splitlines()[1:]] == [row["name"] for row in rows]
        return rows

    everything = names()
    gans = names("--kind", "gan", "--task", "image-generation")
    assert {row["name"] for row in gans} >= {"progan", "stylegan", "stylegan2"}
    assert gans == [r for r in everything if (r["kind"], r["task"]) == ("gan", "image-generation")]
    assert names("--weights") == [row for row in everything if row["weights"]]
    assert "unknown task 'image'" in error("list", "--task", "image")
