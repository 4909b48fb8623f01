"""The demo page as its visitors see it, in headless Chromium: how soon it draws, how soon an edited clip is redrawn,
and whether many visitors at once get each their own pictures.

    python benchmarks/demo.py                       # all three
    python benchmarks/demo.py start                 # from `zoo demo` to the first picture, and the gallery
    python benchmarks/demo.py edit                  # one frame of a clip of 32 frames at 64 pixels
    python benchmarks/demo.py load --visitors 20 --seconds 60

Needs pixelzoo[demo], playwright, and Chromium of the system. Every picture of `load` is compared with `model.sample`.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

import zoo

ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 300_000  # milliseconds
LOAD = ("stylegan2:emoji", "pixelcnn:mnist", "vqvae2:mnist", "conditional_pixelcnn:mnist")
EACH = 4  # samples of a drawing of `load`
EDITED = {
    "vid2vid": "lpc_sprites",
    "everybody_dance_now": "mocap_figure64",
    "deep_video_portraits": "head",
}


@contextmanager
def browsing() -> Iterator[Browser]:
    """Chromium of the system."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        sys.exit("needs Chromium of the system: apt-get install chromium")
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def serving() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`zoo demo` in a process of its own, and its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "zoo", "demo", "--port", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        yield server, f"http://127.0.0.1:{port}/"
    finally:
        server.terminate()
        server.wait()


def choose(page: Page, name: str) -> None:
    page.locator("#pick input").click()
    page.locator(f"[role=option][aria-label='{name}']").click()
    page.locator("#open").click()
    page.wait_for_selector(f"h2:text-is('{name}')", timeout=PATIENCE)
    page.wait_for_selector("#go:visible, #edit-begin:visible", timeout=PATIENCE)


def cpu_seconds(pid: int) -> float:
    """What a process has computed, in all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# From `zoo demo` to the first picture


def start(browser: Browser) -> None:
    page = browser.new_page()
    page.goto("about:blank")
    begun = time.monotonic()
    with serving() as (server, address):
        assert server.stdout is not None
        server.stdout.readline()
        ready, computed = time.monotonic(), cpu_seconds(server.pid)
        page.goto(address)
        page.wait_for_selector("#models img", timeout=PATIENCE)
        gallery = time.monotonic()
        choose(page, "conditional_pixelcnn:mnist")
        page.locator("#go").click()
        page.wait_for_selector("#tiles img", timeout=PATIENCE)
        first, all_computed = time.monotonic(), cpu_seconds(server.pid)
    page.close()
    print(f"page up after {ready - begun:.1f} s ({computed:.1f} s of CPU), gallery {gallery - ready:.1f} s later")
    took = f"{first - begun:.1f} s after 'zoo demo' ({all_computed:.1f} s of CPU)"
    print(f"first picture of conditional_pixelcnn {took}", flush=True)


# One frame of a clip


def edit(browser: Browser) -> None:
    from zoo_demo.catalogue import Entry
    from zoo_demo.page import launch
    from zoo_demo.shelf import Shelf

    shelf, found = Shelf("cpu"), []
    for name, preset in EDITED.items():
        model = zoo.build(name, preset=preset).eval()  # untrained: as fast as trained
        inputs = {"condition": _long(model)} if model.controls is None else {}
        found.append(Entry(model.spec, preset, "", "", None, (), inputs))
        shelf.put(found[-1], model)
    server, address = launch(device="cpu", wait=False, shelf=shelf, found=found)
    for entry in found:
        page = browser.new_page(viewport={"width": 1100, "height": 1400})
        page.goto(address)
        page.wait_for_selector("#models img", timeout=PATIENCE)
        choose(page, entry.name)
        page.locator("#edit-begin").click()
        page.wait_for_selector("#edit-status:has-text('32 frames.')", timeout=PATIENCE)
        number = page.locator("#edit-t input[type=number]")
        number.fill("1")
        number.press("Tab")
        time.sleep(2)
        begun = _change(page)
        page.wait_for_selector("#edit-status:has-text('drawn from frame 1 on')", timeout=PATIENCE)
        print(
            f"{entry.name}: frame 1 of 32 edited, the rest is shown after {time.monotonic() - begun:.1f} s", flush=True
        )
        page.close()
    server.close()
    server.zoo_folder.cleanup()


def _long(model: zoo.Model) -> Path:
    """A file of 32 frames that a model without controls draws from."""
    import tempfile

    import torch

    from zoo.media.video import write_clip

    clip = model.examples(1)["condition"][0]
    path = Path(tempfile.mkdtemp()) / "condition.webp"
    write_clip(list(torch.cat([clip] * -(-32 // len(clip)))[:32]), path, [100] * 32)
    return path


def _change(page: Page) -> float:
    """Edit frame 1 by what there is; when that was done."""
    slider = page.locator("[id^=edit-slider-] input[type=number]").first
    if slider.is_visible():
        slider.fill(str(0.5 * float(slider.get_attribute("max") or 1)))
        slider.press("Tab")
        return time.monotonic()
    page.locator("#edit-canvas button[aria-label='Brush'], #edit-canvas button[title*='rush']").first.click()
    box = page.locator("#edit-canvas canvas").first.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 60, y, steps=6)
    page.mouse.up()
    page.locator("#edit-paint").click()
    return time.monotonic()


# Many visitors


def resident(pid: int) -> float:
    """MB of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1000


def shown(page: Page) -> list[np.ndarray[Any, Any]]:
    """The pictures on a page."""
    sources = page.locator("#tiles .thumbnail-lg img").evaluate_all("all => all.map(image => image.src)")
    found = []
    for source in sources:
        with Image.open(io.BytesIO(page.request.get(source).body())) as picture:
            found.append(np.array(picture.convert("RGB")))
    return found


class Expected:
    """What `model.sample` gives, as the page should show it."""

    def __init__(self) -> None:
        self.models: dict[str, zoo.Model] = {}

    def __call__(self, name: str, seed: int) -> list[np.ndarray[Any, Any]]:
        from zoo.media import to_bytes, to_pil

        if name not in self.models:
            model, _, tag = name.partition(":")
            self.models[name] = zoo.load(model, weights=tag, device="cpu")
        model = self.models[name]
        images = to_bytes(model.sample(EACH, seed=seed, batch_size=min(16, model.sample_batch_size)), model.levels)
        return [np.array(to_pil(image).convert("RGB")) for image in images]


def same(tiles: list[np.ndarray[Any, Any]], wanted: list[np.ndarray[Any, Any]]) -> bool:
    """Whether enlarged tiles show these pictures, pixel by pixel."""
    if len(tiles) != len(wanted):
        return False
    for tile, picture in zip(tiles, wanted, strict=True):
        scale = tile.shape[0] // picture.shape[0]
        if not np.array_equal(tile, picture.repeat(scale, 0).repeat(scale, 1)):
            return False
    return True


def load(browser: Browser, visitors: int, seconds: float) -> None:
    expected = Expected()
    drawn: list[tuple[str, int, list[np.ndarray[Any, Any]]]] = []
    failed = 0
    with serving() as (server, address):
        assert server.stdout is not None
        server.stdout.readline()
        pages = []
        for i in range(visitors):
            page = browser.new_context().new_page()
            page.goto(address)
            page.wait_for_selector("#models img", timeout=PATIENCE)
            choose(page, LOAD[i % len(LOAD)])
            page.locator("#count input").fill(str(EACH))
            pages.append(page)
        seeds, busy = [i * 1000 for i in range(visitors)], [False] * visitors
        begun, memory, middle = time.monotonic(), resident(server.pid), 0.0
        while any(busy) or time.monotonic() - begun < seconds:
            over = time.monotonic() - begun >= seconds
            if not middle and time.monotonic() - begun > seconds / 2:
                middle = resident(server.pid)
            for i, page in enumerate(pages):
                if busy[i]:
                    name = LOAD[i % len(LOAD)]
                    about = page.locator("#about").inner_text()
                    if page.locator(".toast-body.error").count():
                        failed, busy[i] = failed + 1, False
                    elif about == f"{EACH} samples of {name}, seed {seeds[i]}":
                        drawn.append((name, seeds[i], shown(page)))
                        seeds[i] += 1
                        busy[i] = False
                elif not over:
                    page.locator("#seed input").fill(str(seeds[i]))
                    page.locator("#go").click()
                    busy[i] = True
            time.sleep(0.02)
        took, end = time.monotonic() - begun, resident(server.pid)
    wrong = sum(not same(tiles, expected(name, seed)) for name, seed, tiles in drawn)
    least = min(sum(seed // 1000 == i for _, seed, _ in drawn) for i in range(visitors))
    print(f"{visitors} visitors, {took:.0f} s: {len(drawn)} drawings of {EACH} pictures, at least {least} a visitor")
    print(f"wrong: {wrong}, errors: {failed}; server {memory:.0f} MB at first, {middle:.0f} midway, {end:.0f} at last")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", help="start, edit, load [all]")
    parser.add_argument("--visitors", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=60)
    options = parser.parse_args()
    options.what = options.what or ["start", "edit", "load"]
    with browsing() as browser:
        if "start" in options.what:
            start(browser)
        if "edit" in options.what:
            edit(browser)
        if "load" in options.what:
            load(browser, options.visitors, options.seconds)


if __name__ == "__main__":
    main()
