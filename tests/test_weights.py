"""The weights folder: what is saved comes back, and nothing that is damaged, foreign or hostile loads."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
import time
import tracemalloc
from contextlib import contextmanager
from pathlib import Path

import pytest
import safetensors.torch
import torch

import zoo
from zoo import building, files, registry
from zoo.errors import OptionError, WeightsError
from zoo.hub import read, write
from zoo.hub.config import CONFIG, TENSORS, read_config
from zoo.hub.golden import check_golden
from zoo.meta import on_meta


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return zoo.build("pixelcnn", preset="tiny")


@pytest.fixture(scope="module")
def original(model, tmp_path_factory):
    return write.write_folder(model, tmp_path_factory.mktemp("weights") / "tiny", data="digits", licence="mit")


@pytest.fixture
def folder(original, tmp_path):
    """A copy to be damaged."""
    return shutil.copytree(original, tmp_path / "tiny")


def edit(folder, **changes):
    """Change top-level keys of the config; None removes one."""
    config = json.loads((folder / CONFIG).read_text())
    config |= changes
    (folder / CONFIG).write_text(json.dumps({k: v for k, v in config.items() if v is not None}))


def replace_tensors(folder, change):
    """Change the tensors and keep the config's digest right, so that only the header can tell."""
    tensors = safetensors.torch.load_file(folder / TENSORS)
    change(tensors)
    safetensors.torch.save_file(tensors, folder / TENSORS)
    content = (folder / TENSORS).read_bytes()
    edit(folder, weights={"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)})


def refused(folder, *words, **arguments):
    """Loading fails with a WeightsError of one line that contains the words."""
    with pytest.raises(WeightsError) as caught:
        read.load_folder(folder, **arguments)
    text = str(caught.value)
    assert text.isprintable()
    assert len(text) < 800
    assert all(word in text for word in words), text


def test_every_tensor_and_sample_comes_back(model, original):
    state = torch.get_rng_state()
    loaded = read.load_folder(original, expect=model.spec)
    assert torch.equal(state, torch.get_rng_state())
    assert not loaded.training
    assert loaded.config == model.config
    assert type(loaded) is type(model)
    found = loaded.state_dict()
    assert list(found) == list(model.state_dict())
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, found[name]), name
        assert tensor.dtype == found[name].dtype
    assert torch.equal(model.sample(3, seed=5), loaded.sample(3, seed=5))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_narrow_storage_loads_into_the_models_own_type(model, tmp_path, dtype):
    folder = write.write_folder(model, tmp_path / "w", dtype=dtype)
    loaded = read.load_folder(folder)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor.to(getattr(torch, dtype)).float(), loaded.state_dict()[name])
    golden = read_config(folder).golden
    assert check_golden(loaded, golden) == (True, "64 of 64 sub-pixels are equal, mean difference 0 levels")
    with pytest.raises(OptionError, match="int8"):
        write.write_folder(model, tmp_path / "x", dtype="int8")


def test_config_says_where_the_weights_came_from(original):
    config = read_config(original)
    assert (config.distribution, config.version) == (
        "pixelzoo",
        registry.owner(registry.model_spec("pixelcnn")).version,
    )
    assert config.raw["zoo_version"] == zoo.__version__
    assert (config.raw["data"], config.raw["licence"]) == ("digits", "mit")
    assert oct((original / TENSORS).stat().st_mode) == oct((original / CONFIG).stat().st_mode)
    assert sorted(path.name for path in original.iterdir()) == [CONFIG, TENSORS]


def test_golden_sample_knows_the_model(model, original):
    golden = read_config(original).golden
    assert check_golden(read.load_folder(original), golden)[0]
    other = zoo.build("pixelcnn", preset="tiny")
    torch.nn.init.constant_(other.output.bias.detach(), 0)
    other.output.bias.data.view(4, 1)[3] = 50  # always the highest level
    passed, text = check_golden(other, golden)
    assert not passed
    assert " of 64 sub-pixels are equal" in text
    assert not check_golden(model, golden | {"shape": [1, 1, 4, 16]})[0]
    assert not check_golden(model, golden | {"options": {"nonsense": 1}})[0]
    for damage in ({"pixels": "?"}, {"pixels": "AAAA"}, {"shape": [1, 1, 8, 7]}, {"shape": [1, 1, 8, 9]}):
        with pytest.raises(WeightsError, match="damaged"):
            check_golden(model, golden | damage)


def test_shared_tensors_are_stored_twice_and_load(model, tmp_path):
    tied = building.build_from_config(model.spec, model.config)
    tied.blocks[1].spread.weight = tied.blocks[0].spread.weight
    loaded = read.load_folder(write.write_folder(tied, tmp_path / "w", golden=False))
    assert torch.equal(loaded.blocks[1].spread.weight, tied.blocks[0].spread.weight)


def test_models_of_many_levels_have_no_golden_sample(tmp_path):
    many = zoo.build("pixelcnn", preset="tiny", levels=300)
    folder = write.write_folder(many, tmp_path / "w")
    assert read_config(folder).golden is None
    assert read.load_folder(folder).levels == 300


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.pop("input.bias"), ["missing input.bias"]),
        (lambda t: t.update(extra=torch.zeros(1)), ["unexpected extra"]),
        (lambda t: t.update({"a\n\x1b[31mb": torch.zeros(1)}), ["unexpected a ?[31mb"]),
        (lambda t: t.update({"input.bias": torch.zeros(17)}), ["input.bias is (17,) float32, not (16,) float32"]),
        (lambda t: t.update({"input.bias": torch.zeros(16).half()}), ["(16,) float16, not (16,) float32"]),
        (lambda t: t.update({f"x{i}": torch.zeros(1) for i in range(9)}), ["x0, x1, x2 and 6 more"]),
        (dict.clear, ["missing"]),
    ],
)
def test_other_tensors_are_refused(folder, change, words):
    replace_tensors(folder, change)
    refused(folder, *words)


def test_damaged_files_are_refused(folder, model):
    content = (folder / TENSORS).read_bytes()
    (folder / TENSORS).write_bytes(content[:-5])
    refused(folder, "bytes, but the config says")
    (folder / TENSORS).write_bytes(content[:-1] + bytes([content[-1] ^ 4]))
    refused(folder, "has sha256")
    for junk in (b"x", b"\xff" * 64, b"\x20" + bytes(7) + b"{" * 32, content[:-5], b"\x02" + bytes(7) + b"{}"):
        (folder / TENSORS).write_bytes(junk)
        edit(folder, weights={"sha256": hashlib.sha256(junk).hexdigest(), "size": len(junk)})
        refused(folder)
    (folder / TENSORS).write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    refused(folder, "git lfs pull")
    (folder / TENSORS).unlink()
    refused(folder, "there is no model.safetensors")
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    refused(folder, "pytorch_model.bin", "pickles are refused")
    (folder / CONFIG).unlink()
    refused(folder, "there is no config.json")
    shutil.rmtree(folder)
    refused(folder, "can't read the weights folder")


def test_pin_is_checked(folder, model):
    config = read_config(folder)
    pin = zoo.Weights(repo="a/b", revision=None, sha256=config.sha256, size=config.size)
    assert read.load_folder(folder, pin=pin) is not None
    refused(folder, "the pin says 0000", pin=zoo.Weights(repo="a/b", revision=None, sha256="0" * 64, size=config.size))
    refused(folder, "the pin says 5", pin=zoo.Weights(repo="a/b", revision=None, sha256=config.sha256, size=5))


def test_other_models_weights_are_refused(folder, model):
    import dataclasses

    refused(folder, "weights of 'pixelcnn', not of 'pixelrnn'", expect=dataclasses.replace(model.spec, name="pixelrnn"))
    edit(folder, model="stranger", plugin={"distribution": "zoo-stranger", "version": "3"})
    refused(folder, "unknown model 'stranger'", "zoo-stranger 3", "install")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"surprise": 1}, ["unknown key 'surprise'"]),
        ({"model": None}, ["key 'model' is missing"]),
        ({"model": 3}, ["'model' in it must be of type str, not 3"]),
        ({"config": []}, ["'config' in it must be of type dict"]),
        ({"format": True}, ["'format' in it must be of type int"]),
        ({"format": 2}, ["later than 1", "update pixelzoo"]),
        ({"format": 0}, ["format must be 1"]),
        ({"dtype": "int8"}, ["dtype must be one of"]),
        ({"dtype": "float16"}, ["float32, not (16,", "float16"]),
        ({"weights": {"sha256": "x", "size": 1}}, ["'weights' must hold"]),
        ({"plugin": {"distribution": "x"}}, ["'plugin' must hold"]),
        ({"metrics": [{"name": "bits"}]}, ["every metric"]),
        ({"golden": {"seed": 0}}, ["'golden' must hold"]),
        (
            {"golden": {"seed": 0, "options": {"n": 2}, "shape": [1], "pixels": ""}},
            ["option 'n'", "no option of a model"],
        ),
        ({"golden": {"seed": 0, "options": {}, "shape": [10**9, 10**9], "pixels": ""}}, ["makes no sense"]),
        ({"config": {"nonsense": 1}}, ["unknown setting of pixelcnn 'nonsense'"]),
        ({"config": {"width": "wide"}}, ["must be int"]),
        ({"config": {"image_shape": [1, 8]}}, ["must be tuple"]),
        ({"config": {"width": 0}}, ["at least 1"]),
        ({"config": {"levels": 1}}, ["levels must be at least 2"]),
    ],
)
def test_bad_configs_are_refused(folder, changes, words):
    edit(folder, **changes)
    refused(folder, *words)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "JSON"),
        (b"[1]", "must be an object, not [1]"),
        (b'{"format": 1, "format": 1}', "twice"),
        (b'{"metrics": [NaN]}', "NaN"),
        (b'{"metrics": [-Infinity]}', "Infinity"),
        (b'{"metrics": [1e999]}', "too large"),
        (b'{"format": 99999999999999999999999}', "too large"),
        (b'{"format": ' + b"9" * 5000 + b"}", "too large"),
        (b'{"model": "\xff"}', "utf-8"),
        (b"[" * 200_000, "nested too deeply"),
        (b" " * (2**20 + 1), "larger than"),
    ],
)
def test_bad_json_is_refused(folder, content, word):
    (folder / CONFIG).write_bytes(content)
    refused(folder, word)


TINY = {"image_shape": [1, 8, 8], "levels": 4, "n_layers": 2, "width": 8, "head_width": 8}


@pytest.mark.parametrize(
    "change",
    [
        {"n_layers": 10**9},
        {"width": 10**12},
        {"width": 10**6},
        {"width": 10**18},
        {"levels": 10**9},
        {"levels": 10**18},
        {"head_width": 10**9},
        {"image_shape": [1, 10**9, 10**9]},
        {"image_shape": [1, 8, 10**18]},
        {"image_shape": [10**9, 8, 8]},
    ],
)
def test_giant_sizes_are_refused_quickly_and_in_little_memory(folder, change):
    read.load_folder(folder)  # imports what it needs
    edit(folder, config=TINY | change)
    peak, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    refused(folder)
    seconds = time.monotonic() - start
    tracemalloc.start()  # slows everything, so the time was taken before
    refused(folder)
    _, allocated = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seconds < 5
    assert allocated < 50 * 2**20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 100 * 2**10  # KiB; tensors are not Python's


def test_hooks_of_the_check_are_removed(folder):
    edit(folder, config=TINY | {"n_layers": 10**9})
    refused(folder)
    assert zoo.build("pixelcnn", preset="tiny", n_layers=300, width=2) is not None


def test_links_out_of_the_folder_are_refused(folder, tmp_path):
    (folder / TENSORS).rename(tmp_path / "elsewhere")
    (folder / TENSORS).symlink_to(tmp_path / "elsewhere")
    refused(folder, "link out of its folder")
    snapshot = tmp_path / "models--a--b" / "snapshots" / "0"
    snapshot.parent.mkdir(parents=True)
    folder.rename(snapshot)  # as the Hub's cache looks
    assert read.load_folder(snapshot) is not None
    (snapshot / TENSORS).unlink()
    os.mkfifo(snapshot / TENSORS)
    refused(snapshot, "there is no model.safetensors")


@pytest.mark.parametrize("how", ["renamed", "written"])
def test_tensors_that_are_replaced_between_check_and_load_are_refused(folder, tmp_path, monkeypatch, how):
    """Verified or not at all: a run that ends just now writes other tensors of the same shapes."""
    other = zoo.save(zoo.build("pixelcnn", preset="tiny"), tmp_path / "other")
    load = read.load_file

    def late(path):
        if how == "renamed":
            (other / TENSORS).rename(folder / TENSORS)
        else:
            (folder / TENSORS).write_bytes((other / TENSORS).read_bytes())
        return load(path)

    monkeypatch.setattr(read, "load_file", late)
    refused(folder, "was replaced while it was loaded")
    monkeypatch.undo()
    refused(folder, "has sha256")


@pytest.mark.parametrize("failing", [TENSORS, "README.md", CONFIG])
def test_interrupted_write_leaves_nothing_that_loads(model, tmp_path, monkeypatch, failing):
    """A full disk while any file is written."""
    monkeypatch.setattr(write, "_write_tensors", full_disk(write._write_tensors, failing))
    monkeypatch.setattr(Path, "write_bytes", full_disk(Path.write_bytes, failing))
    target = tmp_path / "new" / "w"
    with pytest.raises(WeightsError, match="No space left") as caught:
        write.write_folder(model, target, card=str)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["README.md", CONFIG, TENSORS, "samples.png"])
def test_files_that_no_zoo_wrote_are_not_overwritten(model, tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(WeightsError, match=f"is no weights folder, but has a file {name}"):
        zoo.save(model, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine"


@pytest.mark.parametrize("lost", ["README.md", CONFIG, TENSORS])
def test_weights_are_saved_over_weights_even_damaged_ones(model, tmp_path, lost):
    zoo.save(model, tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / lost).unlink()
    zoo.save(model, tmp_path)
    assert read.load_folder(tmp_path) is not None
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_save_killed_at_any_file_can_be_repeated(model, tmp_path, monkeypatch):
    for count in range(4):
        left = [count]

        def replace(source, target, left=left):
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            Path(source).rename(target)

        folder = tmp_path / str(count)
        with monkeypatch.context() as patched:
            patched.setattr("zoo.files.os.replace", replace)
            with pytest.raises(KeyboardInterrupt):
                zoo.save(model, folder)
        assert not (folder / CONFIG).exists()
        assert read.load_folder(zoo.save(model, folder)) is not None


def test_what_is_no_model_of_the_zoo_is_not_saved(tmp_path):
    with pytest.raises(WeightsError, match="made with zoo.build or zoo.load"):
        zoo.save(torch.nn.Linear(2, 2), tmp_path)


def full_disk(write, failing):
    def wrapped(*arguments):
        path = next(argument for argument in arguments if hasattr(argument, "name"))
        if Path(failing).stem in path.name:
            path.open("wb").write(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        write(*arguments)

    return wrapped


def test_kill_between_the_files_leaves_nothing_that_loads(model, tmp_path, monkeypatch):
    done = []
    replace = os.replace

    def killed(source, target):
        done.append(target.name)
        if target.name == CONFIG:
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr("zoo.files.os.replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write.write_folder(model, tmp_path / "w", card=str)
    assert done[-1] == CONFIG
    refused(tmp_path / "w", "there is no config.json")


def test_overwriting_is_refused_by_a_file_in_the_way(model, tmp_path):
    (tmp_path / "w").write_text("a file")
    with pytest.raises(WeightsError, match="can't write"):
        write.write_folder(model, tmp_path / "w")
    folder = write.write_folder(model, tmp_path / "v")
    other = zoo.build("pixelcnn", preset="tiny", width=4)
    assert read.load_folder(write.write_folder(other, folder)).config["width"] == 4


@pytest.mark.parametrize("info", [{"training": {"loss": float("nan")}}, {"training": {"x": object()}}, {"data": 3}])
def test_what_a_config_cannot_hold_is_not_written(model, tmp_path, info):
    with pytest.raises(WeightsError):
        write.write_folder(model, tmp_path / "w", **info)
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_is_too_long_is_one_line():
    for names in (("pixelcnn", "x" * 300), ("x" * 300, None)):
        with pytest.raises(WeightsError, match="can't look for 'x*': File name too long"):
            zoo.load(*names)


def test_devices(original):
    assert read.load_folder(original, device="auto").device.type == ("cuda" if torch.cuda.is_available() else "cpu")
    for device in ("tpu", "cuda") if not torch.cuda.is_available() else ("tpu",):
        with pytest.raises(OptionError):
            read.load_folder(original, device=device)


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"old")

    def fail():
        with files.whole(path) as part:
            assert part.suffix == ".png"
            part.write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("a.png", b"old")]
    files.write_atomically(path, b"new")
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("a.png", b"new")]


@contextmanager
def other_defaults(which):
    """torch's defaults changed by the user's program."""
    try:
        if which == "meta":
            torch.set_default_device("meta")
        else:
            torch.set_default_dtype(getattr(torch, which))
        yield
    finally:
        torch.set_default_device(None)
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("which", ["float64", "bfloat16", "meta"])
@pytest.mark.parametrize("name", sorted(spec.name for spec in zoo.models()))
def test_weights_are_what_the_file_says_whatever_torchs_defaults(name, which, tmp_path):
    torch.manual_seed(0)
    folder = write.write_folder(zoo.build(name, preset="tiny"), tmp_path / "w")
    usual, golden = read.load_folder(folder), read_config(folder).golden
    with other_defaults(which):
        loaded = read.load_folder(folder)
        checked = check_golden(loaded, golden) if golden else (True, "")
        again = write.write_folder(loaded, tmp_path / "again")
    assert checked[0], checked
    assert read_config(again).golden == golden
    assert (again / TENSORS).read_bytes() == (folder / TENSORS).read_bytes()
    tensors = dict([*usual.named_parameters(), *usual.named_buffers()])  # buffers that are not stored too
    found = dict([*loaded.named_parameters(), *loaded.named_buffers()])
    assert found.keys() == tensors.keys()
    assert {n: t.dtype for n, t in found.items()} == {n: t.dtype for n, t in tensors.items()}
    assert all(torch.equal(tensor, tensors[n]) for n, tensor in found.items())


def test_weights_are_loaded_without_torchs_compiler():
    code = """
import sys, zoo
for spec in zoo.models():
    for tag in spec.weights:
        zoo.load(spec.name, weights=tag, device="cpu")
        assert "torch._dynamo" not in sys.modules, spec.name
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "HF_HUB_OFFLINE": "1"}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)


def test_tensors_on_the_meta_device_have_the_shapes_of_others():
    for spec in zoo.models():
        with on_meta():
            shapes = building.build_from_config(spec, dict(spec.preset("tiny").model)).state_dict()
        real = zoo.build(spec.name, preset="tiny").state_dict()
        assert all(tensor.is_meta for tensor in shapes.values()), spec.name
        assert {n: (x.shape, x.dtype) for n, x in shapes.items()} == {n: (x.shape, x.dtype) for n, x in real.items()}
    with on_meta():
        stacked = torch.stack([torch.zeros(2), torch.ones(2)])
        assert (stacked.shape, (stacked / 2).shape) == ((2, 2), (2, 2))
        assert (torch.arange(3) / 2).dtype == torch.float32
    assert torch.stack([torch.ones(2)]).tolist() == [[1, 1]]
