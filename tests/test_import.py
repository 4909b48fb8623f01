"""Foreign checkpoints: what is data is read, whatever it is stored in; nothing in them ever runs."""

from __future__ import annotations

import argparse
import collections
import io
import json
import pickle
import struct
import sys
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from foreign_pickles import SENTINEL, SOURCE, _reconstruct_persistent_obj, easy, persistent, pickled
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import zoo
from zoo import registry
from zoo.cli import main
from zoo.errors import OptionError, PluginError, WeightsError
from zoo.hub import imports
from zoo_stylegan import pickles
from zoo_stylegan.pickles import Foreign, flatten, read_checkpoint

TENSOR = torch.arange(6, dtype=torch.float32).view(2, 3)


@pytest.fixture
def sentinel(tmp_path, monkeypatch):
    """A file that hostile checkpoints try to make, in the working folder; it must not be there in the end."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path / SENTINEL
    assert not (tmp_path / SENTINEL).exists()


def store(folder: Path, content: bytes, name: str = "x.pkl") -> Path:
    (folder / name).write_bytes(content)
    return folder / name


def contents() -> dict[str, Any]:
    """What StyleGAN2-ADA's pickles have besides objects."""
    return {
        "tensor": TENSOR,
        "parameter": torch.nn.Parameter(TENSOR),
        "transposed": TENSOR.t(),
        "part": TENSOR[1:, ::2],
        "half": torch.ones(2, dtype=torch.float16),
        "bool": torch.tensor([True, False]),
        "scalar": torch.tensor(3),
        "empty": torch.empty(0, 3),
        "numbers": [np.float64(1.5), np.float32(0.5), np.int64(-3), np.bool_(True)],
        "set": {1, "a"},
        "ordered": collections.OrderedDict(b=1, a=(2, None, 1.5, b"\x00\xff", True)),
        "integers": [0, -1, 300, 70_000, 2**40, -(2**70)],
    }


def training() -> dict[str, Any]:
    """What `torch.save` writes in the middle of a run."""
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(5, 3)).sum().backward()
    optimizer.step()
    state = {"state": model.state_dict(), "optimizer": optimizer.state_dict(), "args": argparse.Namespace(size=256)}
    return contents() | state | {"numbers": [1.5], "dtype": torch.float16, "size": torch.Size((1, 2))}


WRITERS: dict[str, Any] = {
    "zip": lambda value, path: torch.save(value, path),
    "legacy": lambda value, path: torch.save(value, path, _use_new_zipfile_serialization=False),
    **{f"pickle {n}": lambda value, path, n=n: path.write_bytes(pickle.dumps(value, n)) for n in (3, 4, 5)},
}


@pytest.mark.parametrize("writer", WRITERS)
def test_what_is_data_is_read(tmp_path, writer):
    written = contents() if "pickle" in writer else training()
    WRITERS[writer](written, tmp_path / "x")
    read = read_checkpoint(tmp_path / "x")
    assert list(read) == list(written)
    for name, value in written.items():
        if isinstance(value, torch.Tensor):
            assert read[name].dtype == value.dtype
            assert torch.equal(read[name], value)
        elif name not in ("state", "optimizer"):
            assert read[name] == value
    if "pickle" in writer:
        assert [type(number) for number in read["numbers"]] == [float, float, int, bool]
        assert type(read["ordered"]) is dict
    else:
        assert all(torch.equal(read["state"][name], value) for name, value in written["state"].items())
        assert read["optimizer"]["state"][0]["exp_avg"].shape == (4, 3)
        assert read["optimizer"]["param_groups"][0]["betas"] == (0.9, 0.999)


def test_tensors_that_share_a_storage_still_do(tmp_path):
    torch.save([TENSOR, TENSOR[0]], tmp_path / "x")
    whole, part = read_checkpoint(tmp_path / "x")
    assert whole.data_ptr() == part.data_ptr()


# Persistent objects, as StyleGAN2-ADA pickles them


class Layer(torch.nn.Module):
    def __init__(self, width: int, *, gain: float = 1.0) -> None:
        super().__init__()
        self._init_args, self._init_kwargs = (width,), {"gain": gain}
        self.weight = torch.nn.Parameter(torch.randn(width, 2))
        self.register_parameter("bias", None)
        self.register_buffer("filter", torch.ones(3))
        self.register_buffer("scratch", torch.ones(3), persistent=False)

    def __reduce__(self) -> tuple[Any, ...]:
        return persistent(type(self).__name__, self.__dict__)


class Network(Layer):
    def __init__(self, width: int, *, depth: int = 2) -> None:
        super().__init__(width)
        self._init_args, self._init_kwargs = (width,), easy(depth=depth)
        self.layers = Layer(3)
        self.layers.inner = Layer(1)
        self.last = Layer(4)
        self.nothing = None


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_persistent_objects_become_records_with_their_state(tmp_path, sentinel, protocol):
    network = Network(5, depth=7)
    saved = {"G": network, "D": None, "training_set_kwargs": easy(resolution=32)}
    read = read_checkpoint(store(tmp_path, pickled(saved, protocol)))
    assert read["training_set_kwargs"] == {"resolution": 32}
    assert type(read["training_set_kwargs"]) is dict
    assert read["G"].class_name == "Network"
    assert (read["G"].state["_init_args"], read["G"].state["_init_kwargs"]) == ((5,), {"depth": 7})
    found, expected = flatten(read["G"]), network.state_dict()
    assert list(found) == list(expected)
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert "torch_utils" not in sys.modules


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"a": 1}, "the record"),
        (Foreign("A", {"_parameters": [1]}), "_parameters"),
        (Foreign("A", {"_parameters": {"w": 3}}), "'w' of the record is no tensor"),
        (Foreign("A", {"_buffers": {3: TENSOR}}), "_buffers"),
        (Foreign("A", {"_modules": {"child": {}}}), "'child' is no module"),
    ],
)
def test_what_is_no_module_is_not_flattened(record, message):
    with pytest.raises(WeightsError, match=message):
        flatten(record)


def test_modules_in_themselves_or_in_many_places_end() -> None:
    circle = Foreign("A")
    circle.state["_modules"] = {"again": circle}
    ladder = Foreign("A", {"_parameters": {"w": TENSOR}})
    for _ in range(60):
        ladder = Foreign("A", {"_modules": {"left": ladder, "right": ladder}})
    for record in (circle, ladder):
        with pytest.raises(WeightsError, match="the record has over"):
            flatten(record)


# Hostile files


class Call:
    """Pickled as a call of a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


CODE = f"open({SENTINEL!r}, 'w').close()"
RUN = Call(eval, CODE)


def legacy(value: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


def archive(value: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def called(module: str, name: str, argument: bytes) -> bytes:
    """A call of a function by its name, with one argument that the bytes make; protocol 4, with STACK_GLOBAL."""
    texts = b"".join(b"\x8c" + struct.pack("<B", len(text)) + text.encode() for text in (module, name))
    return b"\x80\x04" + texts + b"\x93" + argument + b"\x85R."


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


META = {"class_name": "A", "module_src": SOURCE, "state": {"x": RUN}}
HOSTILE: dict[str, tuple[bytes, str]] = {
    "system": (pickle.dumps(Call(__import__("os").system, f"touch {SENTINEL}")), "system; that is refused"),
    "eval": (pickle.dumps(RUN), "builtins.eval; that is refused"),
    "exec, protocol 0": (pickle.dumps(Call(exec, CODE), 0), "__builtin__.exec; that is refused"),
    "in a zip": (archive({"a": TENSOR, "b": RUN}), "asks for eval; that is refused"),
    "in the older format": (legacy({"a": TENSOR, "b": RUN}), "asks for eval; that is refused"),
    "before a tensor": (pickle.dumps([RUN, TENSOR]), "builtins.eval; that is refused"),
    "storage in a zip": (pickle.dumps(Call(torch.storage._load_from_bytes, archive(RUN))), "eval; that is refused"),
    "storage": (pickle.dumps(Call(torch.storage._load_from_bytes, legacy(RUN))), "eval; that is refused"),
    "storage, plain": (pickle.dumps(Call(torch.storage._load_from_bytes, pickle.dumps(RUN))), "operations"),
    "storage of a tensor": (pickle.dumps(Call(torch.storage._load_from_bytes, legacy(TENSOR))), "something else"),
    "state of a record": (pickled(Call(_reconstruct_persistent_obj, META)), "builtins.eval"),
    "dotted name": (called("collections", "OrderedDict.__init__", text(CODE)), "OrderedDict.__init__"),
    "dotted name of a type": (called("collections", "OrderedDict.__class__", text("A")), "OrderedDict.__class__"),
    "dotted module": (called("torch.serialization.os", "system", text(f"touch {SENTINEL}")), "os.system"),
    "getattr": (called("builtins", "getattr", text("x")), "builtins.getattr"),
    "module of ours": (called("zoo_stylegan.pickles", "pickle.sys", text("x")), "zoo_stylegan.pickles.pickle.sys"),
    "new object": (b"\x80\x02cbuiltins\neval\n" + text(CODE) + b"\x85\x81.", "builtins.eval"),
    "new object, with keywords": (b"\x80\x04ccollections\nOrderedDict\n)}\x92.", "operations"),
    "instance": (b"(S'" + CODE.replace("'", '"').encode() + b"'\nibuiltins\neval\n.", "operations"),
    "object": (b"(cbuiltins\neval\n" + text(CODE) + b"o.", "builtins.eval"),
    "extension registry": (b"\x80\x02\x82\x01)R.", "operations"),
    "build of a function": (b"\x80\x02ccollections\nOrderedDict\n}" + text("call") + text("x") + b"sb.", "changes"),
    "build with slots": (b"\x80\x02ccollections\nOrderedDict\nN}" + text("call") + b"Ns\x86b.", "changes"),
    "build of a list": (b"\x80\x02]}b.", "changes a list"),
    "build of a tensor": (pickle.dumps(TENSOR)[:-1] + b"}" + text("data") + text("x") + b"sb.", "changes a Tensor"),
    "type of a tensor": (b"\x80\x02ctorch\nfloat32\n.", "torch.float32; that is refused"),
    "items of a tensor": (pickle.dumps(TENSOR)[:-1] + b"K\x00K\x01s.", "changes a Tensor"),
    "call of a tensor": (pickle.dumps(TENSOR)[:-1] + b")R.", "calls something"),
    "call of a text": (b"\x80\x02" + text("eval") + text(CODE) + b"\x85R.", "calls something"),
    "call of a number": (b"\x80\x02K\x01)R.", "calls something"),
    "array of objects": (pickle.dumps(np.array([RUN], dtype=object)), "_reconstruct; that is refused"),
    "type of objects": (pickle.dumps(np.dtype(object)), "no numbers"),
    "number in another order": (pickle.dumps(np.dtype(">f8")), "another byte order"),
    "number that is too short": (
        pickle.dumps(np.float64(0)).replace(b"C\x08" + bytes(8), b"C\x07" + bytes(7)),
        "damaged",
    ),
    "persistent id": (b"\x80\x02" + text(CODE) + b"Q.", "operations"),
    "persistent id of a module": (b"\x80\x02" + text("module") + text("a") + text(CODE) + b"\x87Q.", "operations"),
    "build of a record": (pickled(Network(1))[:-1] + b"}" + text("_modules") + text("x") + b"sb.", "changes a Foreign"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_in_a_file_runs(tmp_path, sentinel, name):
    content, message = HOSTILE[name]
    with pytest.raises(WeightsError, match=message) as caught:
        read_checkpoint(store(tmp_path, content))
    assert str(caught.value).startswith(f"'{tmp_path / 'x.pkl'}'")
    assert "\n" not in str(caught.value)


def test_the_hostile_files_would_work(tmp_path, monkeypatch):
    """Or the test above would prove nothing."""
    monkeypatch.chdir(tmp_path)
    for name in ("system", "eval", "exec, protocol 0", "storage", "storage, plain", "before a tensor"):
        with suppress(RuntimeError):  # torch finds that it is no storage, afterwards
            pickle.loads(HOSTILE[name][0])
        (tmp_path / SENTINEL).unlink()
    for name in ("in a zip", "in the older format"):
        torch.load(io.BytesIO(HOSTILE[name][0]), weights_only=False)
        (tmp_path / SENTINEL).unlink()


def test_the_source_of_a_class_is_not_run(tmp_path, sentinel):
    meta = {**META, "state": {"x": 1}}
    read = read_checkpoint(store(tmp_path, pickled(Call(_reconstruct_persistent_obj, meta))))
    assert read == Foreign("A", {"x": 1})


def test_reading_changes_nothing_in_the_reader(tmp_path):
    """Names of the table are no door to it."""
    before = dict(pickles.TABLE)
    for content, _ in HOSTILE.values():
        with pytest.raises(WeightsError):
            read_checkpoint(store(tmp_path, content))
    assert before == pickles.TABLE
    store(tmp_path, pickle.dumps(contents()))
    assert torch.equal(read_checkpoint(tmp_path / "x.pkl")["transposed"], TENSOR.t())


# Damage and bombs


def rezipped(content: bytes, compression: int = zipfile.ZIP_STORED, **changes: bytes) -> bytes:
    """The archive with some of its files replaced."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(buffer, "w", compression) as new:
        for name in old.namelist():
            new.writestr(name, changes.get(name.rpartition("/")[2].replace(".", "_"), old.read(name)))
    return buffer.getvalue()


def zip_pickle(content: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        return file.read(next(name for name in file.namelist() if name.endswith("data.pkl")))


ARCHIVE = archive({"a": TENSOR})
COUNT = b"X\x03\x00\x00\x00cpuq\x06K\x06"  # the number of elements, as its pickle says it


def altered(*pairs: bytes) -> bytes:
    """ARCHIVE with other bytes in its pickle: old, new, old, new, ..."""
    content = zip_pickle(ARCHIVE)
    for old, new in zip(pairs[::2], pairs[1::2], strict=True):
        assert content.count(old) == 1
        content = content.replace(old, new)
    return rezipped(ARCHIVE, data_pkl=content)


STORAGE = legacy(torch.zeros(1000).__reduce_ex__(2)[1][0])
AGAIN = b"ctorch.storage\n_load_from_bytes\nh\x00\x85R"
# The older format with a list of storages to fill that is empty.
UNFILLED = legacy(TENSOR).rpartition(b"\x80\x02]")[0] + b"\x80\x02]."
BOMBS: dict[str, bytes] = {
    "empty": b"",
    "a text": b"this is no checkpoint\n",
    "a picture": b"\x89PNG\r\n\x1a\n" + bytes(100),
    "another zip": rezipped(ARCHIVE).replace(b"data.pkl", b"data.txt"),
    "zeros": bytes(1000),
    "long integer": b"\x80\x02\x8b\xff\xff\xff\x7f1.",
    "long text": b"\x80\x04\x8d" + struct.pack("<Q", 2**62) + b"x.",
    "long bytes": b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b"x.",
    "long bytearray": b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b"x.",
    "long decimal": b"L" + b"9" * 100_000 + b"L\n.",
    "many elements": altered(COUNT, COUNT.replace(b"K\x06", b"J\x00\x00\x00\x40")),
    "larger than its storage": altered(b"K\x02K\x03\x86", b"K\x03K\x03\x86"),
    "behind its storage": altered(b"QK\x00K\x02", b"QK\x01K\x02"),
    "expanded": altered(b"K\x02K\x03\x86", b"J\x00\x00\x00\x40K\x03\x86", b"K\x03K\x01\x86", b"K\x00K\x00\x86"),
    "size that is no number": altered(b"K\x02K\x03\x86", b"NK\x03\x86"),
    "short storage": rezipped(ARCHIVE, **{"0": bytes(20)}),
    "compressed": rezipped(archive({"a": torch.zeros(100_000)}), zipfile.ZIP_DEFLATED),
    "another byte order": rezipped(ARCHIVE, byteorder=b"middle"),
    "sets of a list": b"\x80\x04]\x94(" + b"K\x01" * 5000 + b"e(" + (b"cbuiltins\nset\nh\x00\x85R") * 10 + b"t.",
    "one storage many times": b"\x80\x04B" + struct.pack("<I", len(STORAGE)) + STORAGE + b"\x94(" + AGAIN * 10 + b"t.",
    "storage that is not there": UNFILLED.replace(b"cpuq\x04K\x06", b"cpuq\x04J\x00\x00\x00\x40"),
    "values that are not there": UNFILLED,
    "a storage without its values": legacy(TENSOR.untyped_storage()).rpartition(b"\x80\x02]")[0] + b"\x80\x02].",
    "deep key": b"\x80\x02}" + b")" + b"\x85" * 1_000_000 + b"Ns.",
    "deep member": b"\x80\x02\x8f(" + b")" + b"\x85" * 1_000_000 + b"\x90.",
    "storages in storages": pickle.dumps(Call(torch.storage._load_from_bytes, HOSTILE["storage"][0])),
}


@pytest.mark.parametrize("name", BOMBS)
def test_damage_and_bombs_end_in_one_line(tmp_path, name):
    with pytest.raises(WeightsError) as caught:
        read_checkpoint(store(tmp_path, BOMBS[name]))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sets of a list", "far more than the file"),
        ("one storage many times", "far more than the file"),
        ("storage that is not there", "without their values"),
        ("expanded", "claims to be larger"),
        ("values that are not there", "without their values"),
        ("compressed", "is compressed"),
        ("deep key", "keys that are neither"),
        ("deep member", "keys that are neither"),
    ],
)
def test_bombs_end_for_the_reason_that_they_are_bombs(tmp_path, name, message):
    with pytest.raises(WeightsError, match=message):
        read_checkpoint(store(tmp_path, BOMBS[name]))


@pytest.mark.parametrize("claim", [b"Nr\xff\xff\xff\xff.", b"\x95" + struct.pack("<Q", 2**62) + b"N."])
def test_a_large_place_in_the_memo_or_frame_takes_no_memory(tmp_path, claim):
    assert read_checkpoint(store(tmp_path, b"\x80\x04" + claim)) is None


def test_deep_data_is_only_deep(tmp_path):
    found = read_checkpoint(store(tmp_path, b"\x80\x02)" + b"\x85" * 100_000 + b"."))
    assert len(found) == 1


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(WeightsError, match="can't read .*: No such file"):
        read_checkpoint(tmp_path / "x.pkl")


@pytest.mark.parametrize("make", [archive, legacy, pickle.dumps])
def test_every_truncation_is_noticed(tmp_path, make):
    content = make({"a": TENSOR, "b": [1, "x"]})
    for length in range(0, len(content) - 1, 7):
        with pytest.raises(WeightsError):
            read_checkpoint(store(tmp_path, content[:length]))


SEEDS = [archive(contents()), legacy({"a": TENSOR, "b": argparse.Namespace(c=1)}), pickled({"G": Network(2)})]
SEEDS += [pickle.dumps(contents()), *(content for content, _ in HOSTILE.values())]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.sampled_from(SEEDS), data=st.data())
def test_mutations_give_data_or_a_clear_error(tmp_path, sentinel, seed, data):
    content = bytearray(seed)
    for _ in range(data.draw(st.integers(1, 8))):
        place = data.draw(st.integers(0, len(content)))
        piece = data.draw(st.one_of(st.binary(max_size=4), st.sampled_from([b"R", b"b", b"\x81", b"o", b"\x93", b"Q"])))
        content[place : place + data.draw(st.integers(0, 4))] = piece
    try:
        read_checkpoint(store(tmp_path, bytes(content)))
    except WeightsError as error:
        assert "\n" not in str(error)  # noqa: PT017 - most mutations are errors, some are not
    assert not sentinel.exists()


# Importing


@pytest.fixture
def hooked(monkeypatch):
    """Give pixelcnn's plugin a zoo_import_weights that takes {"arguments": ..., "tensors": ...}."""
    record = registry.owner(registry.model_spec("pixelcnn"))
    monkeypatch.setattr(record, "hooks", [*record.hooks, imports.HOOK])
    answers: dict[str, Any] = {}

    def call(spec: Any, hook: str, **given: Any) -> Any:
        if hook != imports.HOOK:
            return original(spec, hook, **given)
        read = read_checkpoint(given["source"])
        return answers.get("answer", lambda read: (read["arguments"], read["tensors"]))(read)

    original = registry.call
    monkeypatch.setattr(registry, "call", call)
    return answers


@pytest.fixture
def source(tmp_path, tiny):
    """A checkpoint of the tiny PixelCNN in another program's format."""
    torch.save({"arguments": dict(tiny.config), "tensors": tiny.state_dict()}, tmp_path / "theirs.pt")
    return tmp_path / "theirs.pt"


def changed(source: Path, **changes: Any) -> Path:
    read = torch.load(source, weights_only=True)
    for name, value in changes.items():
        read["tensors"].pop(name.replace("__", "."), None)
        if value is not None:
            read["tensors"][name.replace("__", ".")] = value
    torch.save(read, source)
    return source


def test_an_imported_model_is_the_same_and_says_where_it_is_from(tmp_path, tiny, hooked, source, capsys):
    out = tmp_path / "out"
    assert main(["import", "pixelcnn", str(source), "-o", str(out)]) == 0
    assert capsys.readouterr().out.strip() == str(out)
    loaded = zoo.load("pixelcnn", weights=out, device="cpu")
    assert torch.equal(loaded.sample(2), tiny.sample(2))
    config = json.loads((out / "config.json").read_text("utf-8"))
    assert config["training"] == {
        "imported_from": "theirs.pt",
        "imported_sha256": imports.digest(source),
    }
    assert config["licence"] == imports.LICENCE
    card = (out / "README.md").read_text("utf-8")
    assert "license: other" in card
    assert "'theirs.pt', holds for these weights too" in card


def test_an_empty_folder_may_be_there_another_not(tmp_path, hooked, source):
    (tmp_path / "out").mkdir()
    imports.import_weights("pixelcnn", source, tmp_path / "out")
    with pytest.raises(OptionError, match="is not empty"):
        imports.import_weights("pixelcnn", source, tmp_path / "out")
    with pytest.raises(OptionError, match="is not empty"):
        imports.import_weights("pixelcnn", source, source)


def test_a_model_that_imports_nothing(tmp_path, source):
    with pytest.raises(OptionError, match="row_lstm can't import weights of other programs"):
        imports.import_weights("row_lstm", source, tmp_path / "out")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"extra": TENSOR}, "unexpected extra"),
        ({"{first}": None}, "missing {first}"),
        ({"{first}": TENSOR}, "mismatched {first} is (2, 3) float32, not"),
        ({"{first}": "double"}, "float64, not"),
    ],
)
def test_each_mismatch_is_named(tmp_path, tiny, hooked, source, change, message):
    first, tensor = next(iter(tiny.state_dict().items()))
    [(name, value)] = change.items()
    value = tensor.double() if isinstance(value, str) else value
    changed(source, **{name.format(first=first): value})
    before = sorted(tmp_path.iterdir())
    with pytest.raises(WeightsError) as caught:
        imports.import_weights("pixelcnn", source, tmp_path / "out")
    assert message.format(first=first) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("answer", "kind", "message"),
    [
        (
            lambda read: read["tensors"],
            PluginError,
            "constructor arguments and a state dict, not OrderedDict",
        ),
        (lambda read: ({}, {"a": 1}), PluginError, "must return"),
        (lambda read: read["generator"], WeightsError, "nothing that pixelcnn can import: KeyError: 'generator'"),
        (lambda read: ({"n_lairs": 3}, read["tensors"]), WeightsError, "did you mean 'n_layers'"),
        (lambda read: ({**read["arguments"], "width": 10**9}, read["tensors"]), WeightsError, "far larger model"),
        (lambda read: ({**read["arguments"], "n_layers": 10**9}, read["tensors"]), WeightsError, "far larger model"),
    ],
)
def test_hooks_and_files_that_do_not_fit(tmp_path, hooked, source, answer, kind, message):
    hooked["answer"] = answer
    with pytest.raises(kind, match=message):
        imports.import_weights("pixelcnn", source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_hostile_file_ends_in_one_line_and_leaves_nothing(tmp_path, sentinel, hooked, capsys):
    path = store(tmp_path, HOSTILE["system"][0])
    assert main(["import", "pixelcnn", str(path), "-o", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.startswith(f"error: '{path}' asks for posix.system; that is refused")
    assert not (tmp_path / "out").exists()


def test_a_missing_file(tmp_path, hooked):
    with pytest.raises(WeightsError, match="can't read"):
        imports.import_weights("pixelcnn", tmp_path / "no.pt", tmp_path / "out")
