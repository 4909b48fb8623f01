"""Drawing from autoregressive models, pixel by pixel: the naive way, and with a cached network.

Shapes: B batch, C colour channels, H, W height and width, L levels of a sub-pixel.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

from zoo.nn.autoregressive import AutoregressiveModel, CachedNetwork
from zoo.request import SampleRequest

CAPTURE_LOCK = threading.Lock()
LEAST_TEMPERATURE = 1e-30  # what float32 can divide by


def pick(logits: torch.Tensor, uniform: torch.Tensor, temperature: float) -> torch.Tensor:
    """The level at which the cumulative distribution passes `uniform`: (B, L), (B,) -> (B,)."""
    if temperature == 0:
        return logits.argmax(1)
    scaled = logits.float()
    scaled = scaled - scaled.amax(1, keepdim=True)  # before the division, whose results may be infinite
    if temperature != 1:
        scaled /= max(temperature, LEAST_TEMPERATURE)
    cumulative = scaled.exp_().cumsum(1)
    passed = cumulative <= uniform[:, None] * cumulative[:, -1:]
    return passed.sum(1).clamp_(max=logits.shape[1] - 1)


@torch.inference_mode()
def draw(model: AutoregressiveModel, request: SampleRequest) -> torch.Tensor:
    """Samples (B, C, H, W) by inverse transform of one uniform number a sub-pixel; the body of `zoo_sample`.

    Options: `method` "cached" or "naive", `temperature`, and `given` with `given_rows` to complete pictures.
    """
    channels, height, width = model.image_shape
    uniform = request.uniform(channels, height, width)
    rows = request.options["given_rows"]
    images = torch.zeros(request.n, channels, height, width, dtype=torch.int64, device=request.device)
    if rows:
        images[:, :, :rows] = request.options["given"][:, :, :rows]
    conditions = model.conditions(request.options, request.n)
    run = draw_naive if request.options["method"] == "naive" else draw_cached
    images = run(model, images, uniform, rows, conditions, request)
    return images if model.levels > 256 else images.to(torch.uint8)


def draw_naive(
    model: AutoregressiveModel,
    images: torch.Tensor,
    uniform: torch.Tensor,
    rows: int,
    conditions: dict[str, torch.Tensor],
    request: SampleRequest,
) -> torch.Tensor:
    """The reference: the whole network once for every sub-pixel."""
    channels, height, width = model.image_shape
    for row in range(rows, height):
        for column in range(width):
            for channel in range(channels):
                logits = model(images, **conditions)[:, :, channel, row, column]
                images[:, channel, row, column] = pick(
                    logits, uniform[:, channel, row, column], request.options["temperature"]
                )
        request.progress((row + 1 - rows) / (height - rows))
    return images


def draw_cached(
    model: AutoregressiveModel,
    images: torch.Tensor,
    uniform: torch.Tensor,
    rows: int,
    conditions: dict[str, torch.Tensor],
    request: SampleRequest,
) -> torch.Tensor:
    """The same pictures, computing for each sub-pixel only what it adds to every layer.

    Under autocast weights, buffers and conditions are cast once, not the operands of every product. The network,
    and on CUDA its graph, are kept for all batches of one `sample` call that have the same size.
    """
    device, height = images.device, model.image_shape[1]
    dtype = torch.get_autocast_dtype(device.type) if torch.is_autocast_enabled(device.type) else model.dtype
    temperature, threads = request.options["temperature"], torch.get_num_threads()
    with _threads(1), _on(device), torch.autocast(device.type, enabled=False):
        if dtype != model.dtype:
            conditions = {name: v.to(dtype) if v.is_floating_point() else v for name, v in conditions.items()}
        key = (model, request.n, temperature)
        if key not in request.kept:
            cast = model if dtype == model.dtype else copy.deepcopy(model).to(dtype)
            network = cast.cached(request.n, **conditions)
            request.kept[key] = RowDrawer(network, images[:, :, 0], temperature, threads)
        drawer: RowDrawer = request.kept[key]
        drawer.network.reset(**conditions)
        for row in range(height):
            images[:, :, row] = drawer.draw(uniform[:, :, row], images[:, :, row], given=row < rows)
            if row >= rows:
                request.progress((row + 1 - rows) / (height - rows))
    return images


def _on(device: torch.device) -> AbstractContextManager[None]:
    """`device` is the current one meanwhile, if it is a GPU: streams and graphs belong to the current one."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class RowDrawer:
    """Draws one row after the other. On CUDA a row is captured once as a graph and replayed for every row, given ones
    included, so that the host neither launches kernels nor waits within a picture. On a CPU `threads` share the work at
    the start of a row. The products of one pixel are too small for that: threads would wait for each other far longer
    than they work, on a busy machine tens of times."""

    def __init__(self, network: CachedNetwork, row: torch.Tensor, temperature: float, threads: int) -> None:
        self.network, self.temperature, self.threads = network, temperature, threads
        self.levels = torch.zeros_like(row)  # (B, C, W): what the row holds
        self.uniform = torch.zeros_like(row, dtype=torch.float32)
        self.given = torch.zeros_like(row)
        self.is_given = torch.zeros((), dtype=torch.bool, device=row.device)
        self.graph = self._capture() if row.is_cuda else None

    def draw(self, uniform: torch.Tensor, levels: torch.Tensor, *, given: bool) -> torch.Tensor:
        """The next row, (B, C, W): `levels` if it is given, else drawn by its noise; valid until the next call."""
        self.uniform.copy_(uniform)
        self.given.copy_(levels)
        self.is_given.fill_(given)
        if self.graph is not None:
            self.graph.replay()
        else:
            self._draw(given=given)
        return self.levels

    def _draw(self, *, given: bool = True) -> None:
        """Draw a row; if it may be given, `is_given` decides on the device."""
        with _threads(self.threads):
            self.network.start_row()
        for column in range(self.levels.shape[2]):
            for channel in range(self.levels.shape[1]):
                logits = self.network.logits(column, channel)
                drawn = pick(logits, self.uniform[:, channel, column], self.temperature)
                if given:
                    drawn = torch.where(self.is_given, self.given[:, channel, column], drawn)
                self.levels[:, channel, column] = drawn
                self.network.put(column, channel, drawn)

    def _capture(self) -> torch.cuda.CUDAGraph:
        """One row as a graph, captured on the device of the tensors; `reset` the network before the first replay."""
        device = self.levels.device
        with CAPTURE_LOCK, torch.cuda.device(device):
            stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            stream.wait_stream(torch.cuda.current_stream(device))
            with torch.cuda.stream(stream):  # libraries allocate the workspaces of this stream before the capture
                self.network.reset()
                self._draw()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
                self._draw()
            torch.cuda.current_stream(device).wait_stream(stream)
        return graph
