"""Networks go through `torch.export`: the graph gives what the network gives, for batches of any size."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import zoo

ROOT = Path(__file__).resolve().parent.parent


class Forward(nn.Module):
    """A function of a model and tensors as a module."""

    def __init__(self, model: Any, function: Callable[..., torch.Tensor]) -> None:
        super().__init__()
        self.model, self.function = model, function

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        return self.function(self.model, *inputs)


def synthesis(model: Any, w: torch.Tensor) -> torch.Tensor:
    return model.generator.synthesis(w, model.generator.synthesis.constant_noise)


def pictures(model: Any, z: torch.Tensor) -> torch.Tensor:
    return synthesis(model, model.styles(z))


def dropout(model: Any, condition: torch.Tensor) -> torch.Tensor:
    shapes = model.generator.mask_shapes(*model.image_shape[1:])
    return model(condition, {name: condition.new_ones(condition.shape[0], *shape) for name, shape in shapes.items()})


def vgan(model: Any, z: torch.Tensor) -> torch.Tensor:
    from zoo_videogan.vgan import compose

    return compose(*model.generator(z))


def levels(model: Any) -> tuple[torch.Tensor, ...]:
    return (torch.randint(model.levels, (3, *model.image_shape)),)


def latents(model: Any) -> tuple[torch.Tensor, ...]:
    return (model.draw_z(3),)


def codes(model: Any) -> tuple[torch.Tensor, ...]:
    return tuple(torch.randint(4, (3, *shape)) for shape in model.code_shapes)


def condition(model: Any) -> tuple[torch.Tensor, ...]:
    return (model.encode(model.examples(3)["condition"]),)


def labelled(model: Any) -> tuple[torch.Tensor, ...]:
    return (*levels(model), model.conditions({"label": torch.tensor([2, 0, 1])}, 3)["condition"])


# Model -> its forward, what that takes, and settings on top of the tiny preset.
NETWORKS: dict[str, tuple[Callable[..., Any], Callable[..., Any], dict[str, Any]]] = {
    "pixelcnn": (lambda model, x: model(x), levels, {}),
    "gated_pixelcnn": (lambda model, x: model(x), levels, {}),
    "row_lstm": (lambda model, x: model(x), levels, {"image_shape": (1, 4, 4)}),
    "diagonal_bilstm": (lambda model, x: model(x), levels, {"image_shape": (1, 4, 4)}),
    "conditional_pixelcnn": (lambda model, x, h: model(x, h), labelled, {}),
    "progan": (lambda model, z: model.draw(z), latents, {}),
    "stylegan": (pictures, latents, {}),
    "stylegan2": (pictures, latents, {"resolution": 32, "width_base": 4096, "width_max": 256}),
    "vgan": (vgan, latents, {}),
    "tgan": (lambda model, z: model.clips(z), latents, {}),
    "mocogan": (lambda model, z: model.generator(z), lambda model: (model.draw_z(3)[:, 0],), {}),
    "dvdgan": (lambda m, z: m.generator(m.generator.condition(z, None), 4)[0], latents, {}),
    "vqvae2": (lambda model, *maps: model.autoencoder.decode(list(maps)), codes, {}),
    "pix2pix": (dropout, condition, {}),
}


FIXED = {"pix2pix"}  # whose dropout masks are made for the batch of the example


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Tracing writes thousands of lines for its own developers, which pytest would keep."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_graph_gives_what_the_network_gives(name: str) -> None:
    """Also for a batch of another size; and tracing leaves nothing behind that would disturb what is drawn later."""
    function, take, settings = NETWORKS[name]
    torch.manual_seed(0)
    model = zoo.build(name, preset="tiny", **settings).eval()
    with torch.no_grad():
        inputs = take(model)
        free = (tuple({0: torch.export.Dim("batch", min=1)} for _ in inputs),)
        module = Forward(model, function).eval()
        program = torch.export.export(module, inputs, dynamic_shapes=None if name in FIXED else free)
        for factor in (1,) if name in FIXED else (1, 2):
            given = tuple(torch.cat([x] * factor) for x in inputs)
            expected = module(*given)
            tolerance = 1e-4 * float(expected.abs().max())
            assert torch.allclose(program.module()(*given), expected, rtol=0, atol=tolerance)
    drawn = model.sample(1, **model.examples(1)) if name != "conditional_pixelcnn" else model.sample(1, label=1)
    assert drawn.dtype == torch.uint8


def test_tracing_first_keeps_no_tensor_of_the_graph() -> None:
    """Filters are kept from one call to the next, which those of a graph must not be."""
    from zoo_stylegan import layers

    layers._kept_outer.cache_clear()
    x = torch.ones(1, 1, 8, 8)
    program = torch.export.export(Forward(None, lambda _, x: layers.upsample(x, (1, 3, 3, 1))), (x,))
    assert layers._kept_outer.cache_info().currsize == 0
    assert torch.equal(program.module()(x), layers.upsample(x, (1, 3, 3, 1)))


def test_the_page_about_export_does_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first block, on the weights of this checkout; its table names the networks that are tested."""
    text = (ROOT / "docs" / "export.md").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    scope: dict[str, Any] = {}
    exec(text.partition("```python\n")[2].partition("```")[0], scope)
    sampled = scope["model"].sample(16, seed=1, noise="constant")
    assert (scope["images"].int() - sampled.int()).abs().max() <= 1  # up to rounding
    named = {name for row in re.findall(r"^\| (`.*?) \|", text, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}
    assert named == set(NETWORKS)
