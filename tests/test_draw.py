"""Drawing from autoregressive models: precisions, torch's defaults, what is kept for a call, graphs, and no waiting."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import zoo
from zoo.media import quantise
from zoo.nn.draw import RowDrawer
from zoo.nn.masked import MaskedConv2d

MODELS = [spec.name for spec in zoo.models() if spec.kind == "autoregressive"]
TEXT = "conditional_pixelcnn of texts"
DTYPES = [torch.float16, torch.bfloat16, torch.float64]


def build(name: str, shape: tuple[int, int, int] = (3, 5, 4), levels: int = 256) -> zoo.Model:
    """A small model whose pixels depend on each other."""
    torch.manual_seed(1)
    sizes = {"image_shape": shape, "levels": levels, "width": 12, "head_width": 12, "n_layers": 2}
    if name == TEXT:
        texts = {"condition": "text", "condition_size": 5, "sample_texts": ("a cat", "dog", "a red apple")}
        model = zoo.build("conditional_pixelcnn", **sizes, **texts)
    else:
        model = zoo.build(name, **sizes)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)
    return model.eval()


@pytest.fixture
def nade(root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[zoo.Model]:
    """The plugin template's model, attached as the zoo does it."""
    monkeypatch.syspath_prepend(str(root / "examples" / "zoo-plugin-template" / "src"))
    from zoo_nade import plugin

    torch.manual_seed(1)
    model = plugin.zoo_build(plugin.SPEC, {"image_shape": (1, 4, 5), "levels": 16, "width": 8})
    model.attach(plugin.SPEC, {}, lambda model, request: plugin.zoo_sample(plugin.SPEC, model, request))
    yield model.eval()
    for module in [name for name in sys.modules if name.partition(".")[0] == "zoo_nade"]:
        del sys.modules[module]


def spy(model: zoo.Model, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The models that were asked for a cached network, in order."""
    asked = []
    honest = type(model).cached

    def cached(self: Any, *arguments: Any, **conditions: Any) -> Any:
        asked.append(self)
        return honest(self, *arguments, **conditions)

    monkeypatch.setattr(type(model), "cached", cached)
    return asked


# Precision


@pytest.mark.parametrize("name", [*MODELS, TEXT])
@pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.float16)])
def test_a_reduced_precision_is_that_of_weights_and_buffers(
    name: str, precision: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cached sampling in bf16 is bitwise that of the model cast to bf16; the model itself stays as it is."""
    model = build(name)
    cast = copy.deepcopy(model).to(dtype)
    asked = spy(model, monkeypatch)
    drawn = model.sample(4, seed=2, precision=precision)
    assert [network.dtype for network in asked] == [dtype]
    assert torch.equal(drawn, cast.sample(4, seed=2))
    assert model.dtype == torch.float32


def test_bf16_draws_other_pictures_than_fp32() -> None:
    model = build("pixelcnn", (1, 12, 12))
    assert not torch.equal(model.sample(16, precision="bf16"), model.sample(16))


@pytest.mark.parametrize("name", [*MODELS, TEXT])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("method", ["cached", "naive"])
def test_models_of_any_type_sample(name: str, dtype: torch.dtype, method: str) -> None:
    """And nearly the pictures of float32: rounding alone moves a sub-pixel over a boundary."""
    model = build(name, (1, 4, 5), 4)
    drawn = copy.deepcopy(model).to(dtype).sample(16, seed=2, method=method)
    assert (drawn == model.sample(16, seed=2)).float().mean() > 0.9
    images = {"text": "a cat"} if name == TEXT else {}
    assert copy.deepcopy(model).to(dtype).log_prob(drawn, **images).isfinite().all()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("method", ["cached", "naive"])
def test_a_third_partys_model_of_any_type_samples(nade: zoo.Model, dtype: torch.dtype, method: str) -> None:
    drawn = copy.deepcopy(nade).to(dtype).sample(16, seed=2, method=method)
    assert (drawn == nade.sample(16, seed=2)).float().mean() > 0.9


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_no_two_levels_become_one_in_half_precision(dtype: torch.dtype) -> None:
    model = build("pixelcnn", (1, 4, 4)).to(dtype)
    assert model.scale(torch.arange(256)).unique().numel() == 256


@contextmanager
def defaults(dtype: torch.dtype, device: str) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            yield
    finally:
        torch.set_default_dtype(before)


@pytest.mark.parametrize("name", [*MODELS, TEXT])
@pytest.mark.parametrize("method", ["cached", "naive"])
@pytest.mark.parametrize(("dtype", "device"), [(torch.float64, "cpu"), (torch.bfloat16, "meta")], ids=str)
def test_the_defaults_of_torch_change_no_picture(name: str, method: str, dtype: torch.dtype, device: str) -> None:
    model = build(name, (1, 4, 5), 16)
    text = {"text": "a cat"} if name == TEXT else {}
    before, nats = model.sample(4, seed=2, method=method), model.log_prob(model.sample(4, seed=2), **text)
    with defaults(dtype, device):
        assert torch.equal(model.sample(4, seed=2, method=method), before)
        assert torch.equal(model.log_prob(before, **text), nats)
        none = model.log_prob(before[:0], **text)
    assert (none.dtype, none.device.type) == (torch.float32, "cpu")


@pytest.mark.parametrize("name", [*MODELS, TEXT])
def test_log_prob_has_no_gradient(name: str) -> None:
    model = build(name)
    given = {"text": "a cat"} if name == TEXT else {}
    assert not model.log_prob(model.sample(2), **given).requires_grad


# What is kept for a call


@pytest.mark.parametrize("name", [*MODELS, TEXT])
def test_batches_of_one_size_share_a_network(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 4, 4, 4 and 2 pictures: two networks, and the pictures of one batch."""
    model = build(name)
    whole = model.sample(14, seed=2, batch_size=14)
    asked = spy(model, monkeypatch)
    assert torch.equal(model.sample(14, seed=2, batch_size=4), whole)
    assert len(asked) == 2
    model.sample(4, batch_size=4)
    assert len(asked) == 3  # nothing outlives a call, so weights that have changed are seen


@pytest.mark.parametrize(
    ("condition", "maps"), [("label", 0), ("vector", 0), ("map", 0), ("text", 0), ("label", 2), ("text", 2)]
)
def test_a_shared_network_takes_the_conditions_of_its_batch(condition: str, maps: int) -> None:
    torch.manual_seed(1)
    sizes = {"n_layers": 3, "width": 6, "head_width": 8, "condition_size": 3, "location_maps": maps}
    model = zoo.build("conditional_pixelcnn", image_shape=(1, 5, 4), levels=8, condition=condition, **sizes).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)
    given = {
        "label": [0, 1, 2, 0, 2, 1],
        "vector": torch.randn(6, 3),
        "map": torch.randn(6, 3, 5, 4),
        "text": ["cat", "a dog", "x", "an apple and a pear", "b", "cat"],
    }[condition]
    naive = model.sample(6, seed=1, method="naive", **{condition: given})
    assert torch.equal(model.sample(6, seed=1, batch_size=2, **{condition: given}), naive)


@pytest.mark.parametrize("integer", [np.int64, np.uint8, torch.tensor], ids=("int64", "uint8", "tensor"))
def test_a_class_may_be_a_number_of_another_library(integer: Callable[[int], Any]) -> None:
    model = build("conditional_pixelcnn")
    drawn = model.sample(3, label=2)
    assert torch.equal(model.sample(3, label=integer(2)), drawn)
    assert torch.equal(model.sample(3, label=np.array([2, 2, 2])), drawn)
    assert torch.equal(model.log_prob(drawn, label=integer(2)), model.log_prob(drawn, label=2))


def test_no_samples_of_codes_are_codes() -> None:
    model = build("pixelcnn", (1, 4, 4), 512)
    with defaults(torch.float64, "meta"):
        none = model.sample(0)
    assert (none.dtype, none.device.type) == (torch.int64, "cpu")


# Graphs


def test_a_row_is_captured_on_its_device_after_a_warm_up_on_the_same_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """With fakes for CUDA: what happens, and where."""
    events: list[str] = []

    @contextmanager
    def noted(name: str) -> Iterator[None]:
        events.append(f"enter {name}")
        yield
        events.append(f"leave {name}")

    def stream(name: str) -> SimpleNamespace:
        return SimpleNamespace(name=name, wait_stream=lambda other: events.append(f"{name} waits for {other.name}"))

    model = build("pixelcnn", (1, 2, 2), 4)
    drawer = RowDrawer(model.cached(2), torch.zeros(2, 1, 2, dtype=torch.int64), 1.0, 1)
    monkeypatch.setattr(torch.cuda, "device", lambda device: noted(str(device)))
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: stream("own"))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: stream("current"))
    monkeypatch.setattr(torch.cuda, "stream", lambda own: noted(own.name))
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: "graph")
    monkeypatch.setattr(torch.cuda, "graph", lambda graph, stream, **_: noted(f"capture on {stream.name}"))
    monkeypatch.setattr(drawer, "_draw", lambda: events.append("row"))
    with torch.inference_mode():
        assert drawer._capture() == "graph"
    assert events == [
        *("enter cpu", "own waits for current", "enter own", "row", "leave own"),
        *("enter capture on own", "row", "leave capture on own", "current waits for own", "leave cpu"),
    ]


@pytest.mark.parametrize("name", MODELS)
def test_given_rows_go_through_the_graph(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a fake graph that repeats what was captured: rows given and drawn, several batches, one capture."""
    captures = []

    def capture(self: RowDrawer) -> Any:
        captures.append(self)
        self.network.reset()
        self._draw()  # the warm-up leaves traces in all buffers
        return SimpleNamespace(replay=self._draw)

    model = build(name)
    given = torch.randint(0, 256, (6, 3, 5, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
    options = {"seed": 1, "given": given, "given_rows": 2}
    naive = model.sample(6, method="naive", **options)
    honest = RowDrawer.__init__

    def init(self: RowDrawer, *arguments: Any) -> None:
        honest(self, *arguments)
        self.graph = self._capture()

    monkeypatch.setattr(RowDrawer, "_capture", capture)
    monkeypatch.setattr(RowDrawer, "__init__", init)
    assert torch.equal(model.sample(6, batch_size=2, **options), naive)
    assert len(captures) == 1


def gpus() -> list[str]:
    return [f"cuda:{number}" for number in range(max(torch.cuda.device_count(), 1))]


@pytest.mark.gpu
@pytest.mark.parametrize("device", gpus())
@pytest.mark.parametrize("rows", [0, 2])
@pytest.mark.parametrize("name", [*MODELS, TEXT])
def test_graphs_equal_eager(name: str, rows: int, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On every GPU, with given rows and without, over several batches of one capture."""
    model = build(name).to(device)
    given = torch.randint(0, 256, (6, 3, 5, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
    options = {"seed": 1, **({"given": given, "given_rows": rows} if rows else {})}
    captures = []
    honest = RowDrawer._capture
    monkeypatch.setattr(RowDrawer, "_capture", lambda self: captures.append(self) or honest(self))
    graph = model.sample(6, batch_size=2, **options)
    assert len(captures) == 1
    monkeypatch.setattr(RowDrawer, "_capture", lambda self: None)
    assert torch.equal(model.sample(6, batch_size=2, **options), graph)
    assert torch.equal(graph[:, :, :rows], given[:, :, :rows])


@pytest.mark.gpu
@pytest.mark.parametrize("name", [*MODELS, TEXT])
def test_no_pixel_waits_for_the_host(name: str) -> None:
    """Training steps neither: torch raises where anything would wait."""
    model = build(name).cuda()
    images = torch.zeros(2, 3, 5, 4, dtype=torch.uint8, device="cuda")
    network = model.cached(2, **conditions_of(model, name, "cuda"))
    drawer = RowDrawer(network, torch.zeros(2, 3, 4, dtype=torch.int64, device="cuda"), 1.0, 1)
    torch.cuda.set_sync_debug_mode("error")
    try:
        with torch.inference_mode():
            drawer.draw(torch.zeros(2, 3, 4, device="cuda"), images[:, :, 0], given=True)
        model.nats(images, model(images, **conditions_of(model, name, "cuda"))).sum().backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")


# Training steps


def conditions_of(model: zoo.Model, name: str, device: str) -> dict[str, torch.Tensor]:
    """As a training step makes them: labels are on the device, captions are texts."""
    labels = torch.ones(2, dtype=torch.int64, device=device)
    return model.conditions({"label": labels, "caption": ["a cat", "dog"]}, 2)


@pytest.mark.parametrize("name", MODELS)
def test_a_training_step_reads_nothing_back(name: str) -> None:
    """On the meta device, where nothing can be read; captions are packed there by other code."""
    model = build(name).to("meta")
    images = quantise(torch.zeros(2, 3, 5, 4, dtype=torch.uint8, device="meta"), 256)
    model.nats(images, model(images, **conditions_of(model, name, "meta"))).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_captions_keep_their_lengths_on_the_cpu() -> None:
    assert build(TEXT).to("meta").conditions({"caption": ["a cat", "dog"]}, 2)["condition"].device.type == "cpu"


@pytest.mark.parametrize("name", [*MODELS, TEXT])
def test_processes_send_no_constant_buffers(name: str, tmp_path: Path) -> None:
    model = build(name)
    names = {buffer for buffer, _ in model.named_buffers()}
    assert model.constant_buffers == names
    assert not names & model.state_dict().keys()
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    try:
        wrapped = torch.nn.parallel.DistributedDataParallel(model)
        assert wrapped.parameters_to_ignore == names
        assert wrapped.modules_buffers == []
    finally:
        torch.distributed.destroy_process_group()


# The fast form of a convolution


@pytest.mark.parametrize("kernel_size", [1, 3, 7])
@pytest.mark.parametrize("mask", ["A", "B"])
def test_a_row_convolution_equals_conv2d(mask: str, kernel_size: int) -> None:
    torch.manual_seed(0)
    conv = MaskedConv2d(6, 9, kernel_size, mask=mask, groups=3, rows_above=0).double()
    x = torch.randn(2, 6, 4, 5, dtype=torch.float64)
    reference = F.conv2d(x, conv.masked_weight(), conv.bias, padding=(0, kernel_size // 2))
    torch.testing.assert_close(conv(x), reference, rtol=0, atol=1e-12)
    features = torch.randn(2, 4, 4, 5, dtype=torch.float64)
    for bias in (True, False):
        link = torch.nn.Conv2d(4, 9, 1, bias=bias).double()
        torch.testing.assert_close(conv.linked(x, features, link), reference + link(features), rtol=0, atol=1e-12)


def test_a_convolution_of_several_rows_takes_a_link_too() -> None:
    conv, link = MaskedConv2d(3, 6, 3, mask="A"), torch.nn.Conv2d(2, 6, 1)
    x, features = torch.randn(2, 3, 4, 5), torch.randn(2, 2, 4, 5)
    assert torch.equal(conv.linked(x, features, link), conv(x) + link(features))
