"""The demo page: forms follow from specs, drawings from forms, and the lines it shows give exactly the same pixels."""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import zoo
from zoo.cli import main
from zoo.errors import OptionError
from zoo.media import origin
from zoo.spec import ModelSpec, Option, Preset, Weights
from zoo_demo import catalogue, drawing, pictures, space
from zoo_demo.shelf import Shelf
from zoo_demo.visitors import Visitors

ROOT = Path(__file__).resolve().parent.parent
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_gradio = pytest.mark.skipif(importlib.util.find_spec("gradio") is None, reason="needs gradio: pixelzoo[demo]")
needs_browser = pytest.mark.skipif(
    importlib.util.find_spec("gradio") is None or importlib.util.find_spec("playwright") is None or CHROMIUM is None,
    reason="needs gradio, playwright, and Chromium of the system",
)


@pytest.fixture(scope="module")
def shelf():
    return Shelf("cpu")


@pytest.fixture(scope="module")
def found():
    return {entry.name: entry for entry in catalogue.entries()}


@pytest.fixture
def digits(found):
    return found["conditional_pixelcnn:mnist"]


# Catalogue


def test_every_model_with_weights_is_in_the_gallery(found):
    assert set(found) == {f"{spec.name}:{tag}" for spec in zoo.models() for tag in spec.weights}
    assert all(entry.picture and entry.licence and entry.about for entry in found.values())


def test_a_strangers_model_appears_with_a_field_of_the_right_kind_for_each_option():
    options = (
        Option(name="a", type="float", default=1.0, minimum=0, maximum=2),
        Option(name="b", type="int", minimum=1),
        Option(name="c", type="str", choices=("x", "y")),
        Option(name="d", type="str", default="x", choices=("x", "y")),
        Option(name="e", type="bool", default=True),
        Option(name="f", type="str"),
        Option(name="g", type="label"),
        Option(name="h", type="image"),
        Option(name="i", type="video"),
        Option(name="j", type="tensor"),
    )
    pin = Weights(repo="me/none-such", revision="0" * 40, sha256="0" * 64, size=1, summary="mine")
    spec = ModelSpec(
        name="mine",
        summary="s",
        paper="p",
        kind="gan",
        task="image-generation",
        data_shape=("C", "H", "W"),
        presets={"tiny": Preset()},
        sample_options=options,
        weights={"w": pin},
    )
    [entry] = catalogue.entries([spec])
    assert (entry.name, entry.picture, entry.licence, entry.about) == ("mine:w", None, "", "mine")
    made = {field.name: (field.kind, field.choices) for field in catalogue.fields(entry)}
    assert made == {
        "a": ("slider", ()),
        "b": ("text", ()),
        "c": ("choice", ("", "x", "y")),
        "d": ("choice", ("x", "y")),
        "e": ("switch", ()),
        "f": ("text", ()),
        "g": ("text", ()),
        "h": ("picture", ()),
        "i": ("clip", ()),
    }


def test_what_else_a_model_draws_follows_from_its_options(found):
    ways = {way.name: way for way in catalogue.ways(found["stylegan2:emoji"])}
    assert {name: way.unit for name, way in ways.items()} == {"": "Samples", "mixing": "Rows", "walk": "Walks"}
    assert ways[""].hidden == {"mixing", "mixing_layers", "walk", "keys", "steps"}
    assert ways["walk"].hidden == {"mixing", "mixing_layers"}
    assert [way.name for way in catalogue.ways(found["mocogan:lpc_sprites"])] == ["", "motions"]
    [_, completion] = catalogue.ways(found["conditional_pixelcnn:mnist"])
    assert (completion.title, completion.own) == ("Completion", {"given", "given_rows"})


def test_a_visitors_last_files_stay_until_they_leave(tmp_path):
    visitors = Visitors(tmp_path)
    places = [visitors.place("me") for _ in range(3)]
    other = visitors.place("you")
    assert [place.exists() for place in places] == [False, True, True]
    event = visitors.begin("me")
    visitors.leave("me")
    assert event.is_set()
    assert sorted(tmp_path.iterdir()) == [other]


# Drawing


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("conditional_pixelcnn:mnist", {"label": " 3 ", "temperature": 0.5, "text": ""}),
        ("stylegan2:emoji", {"truncation": 0.7, "noise": "constant"}),
        ("stylegan2:emoji", {"walk": "w", "keys": 2, "steps": 2}),
        ("stylegan2:emoji", {"mixing": 2}),
        ("mocogan:lpc_sprites", {"motions": 1, "frames": 5}),
    ],
)
def test_the_lines_give_exactly_what_is_shown(found, shelf, tmp_path, monkeypatch, name, values):
    frames = values.pop("frames", None)
    drawn = drawing.draw(found[name], values, tmp_path, shelf, n=2, seed=5, frames=frames)
    names: dict = {}
    exec(drawn.python, names)
    assert torch.equal(names["samples"], drawn.samples)
    shown = drawn.file.read_bytes()
    (tmp_path / "again").mkdir()
    monkeypatch.chdir(tmp_path / "again")
    command, *arguments = shlex.split(drawn.shell)
    assert command == "zoo"
    assert main(arguments) == 0
    with Image.open(drawn.file.name) as again, Image.open(drawn.file) as first:
        assert (np.array(again) == np.array(first)).all()
    if drawn.file.suffix == ".png":
        assert origin.read(drawn.file) == origin.read(Path(drawn.file.name))
    tiles, whole = drawn.shown()
    if "mixing" in values:
        assert drawn.samples.shape[0] == 6  # two rows of a table of three columns
        assert (tiles, whole) == ([], drawn.sheet)
    elif drawn.file.suffix == ".gif":
        assert (tiles, whole) == ([], str(drawn.file))
        with Image.open(drawn.file) as moving:
            assert moving.n_frames == (frames or 4)
    else:
        assert len(tiles) == 2
    assert shown


def test_a_completion_keeps_the_rows_above_the_paint_and_its_lines_give_it(digits, shelf, tmp_path, monkeypatch):
    whole = shelf.get(digits).sample(1, seed=1, label=2)
    Image.fromarray((whole[0, 0] * 17).numpy()).resize((280, 280), Image.Resampling.NEAREST).save(tmp_path / "up.png")
    paint = np.zeros((280, 280, 4), np.uint8)
    assert pictures.kept_rows([paint], 28) is None
    paint[145:200, 30:90] = 255
    rows = pictures.kept_rows([np.zeros_like(paint), paint], 28)
    assert rows == 14
    values = {"given": str(tmp_path / "up.png"), "given_rows": rows, "label": "2"}
    drawn = drawing.draw(digits, values, tmp_path, shelf, n=3)
    assert torch.equal(drawn.samples[:, :, :rows], whole[:, :, :rows].expand(3, -1, -1, -1))
    assert not torch.equal(drawn.samples[0, :, rows:], drawn.samples[1, :, rows:])
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(drawn.python, names)
    assert torch.equal(names["samples"], drawn.samples)
    first = np.array(Image.open(drawn.file))
    assert main(shlex.split(drawn.shell)[1:]) == 0
    assert (np.array(Image.open("samples.png")) == first).all()


@pytest.mark.parametrize(
    ("values", "how", "wrong"),
    [
        ({"temperature": 99, "label": "x" * 3}, {}, {"temperature"}),
        ({"label": "eleven"}, {}, {"label"}),
        ({"label": "33"}, {}, {"label"}),
        ({"given_rows": 4}, {}, {"given"}),
        ({}, {"n": 0}, {"n"}),
        ({}, {"n": 10_000}, {"n"}),
        ({}, {"seed": None}, {"seed"}),
        ({}, {"seed": 1.5}, {"seed"}),
        ({}, {"frames": "many"}, {"frames"}),
    ],
)
def test_bad_values_are_messages_of_their_fields(digits, shelf, tmp_path, values, how, wrong):
    with pytest.raises(drawing.FormError) as caught:
        drawing.draw(digits, values, tmp_path, shelf, **how)
    assert set(caught.value.messages) == wrong
    assert all(text and "\n" not in text for text in caught.value.messages.values())


def test_a_drawing_of_too_many_pictures_is_a_message(found, shelf, tmp_path):
    values = {"walk": "w", "keys": 9, "steps": 999}
    with pytest.raises(drawing.FormError, match=r"8,991 pictures, and one drawing may have 2,048"):
        drawing.draw(found["stylegan2:emoji"], values, tmp_path, shelf, n=1)


def test_an_upload_that_is_no_picture_is_a_message(digits, shelf, tmp_path):
    (tmp_path / "x.png").write_text("hello")
    with pytest.raises(drawing.FormError, match="no picture"):
        drawing.draw(digits, {"given": str(tmp_path / "x.png"), "given_rows": 3}, tmp_path, shelf)


def test_a_drawing_stops_when_it_is_cancelled_and_the_next_one_is_whole(digits, shelf, tmp_path):
    told: list[float] = []
    with pytest.raises(drawing.Cancelled):
        drawing.draw(digits, {}, tmp_path, shelf, progress=told.append, cancelled=lambda: len(told) > 3)
    assert len(told) == 4
    assert told[-1] < 1
    assert len(drawing.draw(digits, {}, tmp_path, shelf, n=1).tiles) == 1


# Space and page


def test_a_space_is_three_files_and_leaves_others_alone(tmp_path, capsys):
    assert main(["demo", "--space", str(tmp_path / "s")]) == 0
    assert sorted(path.name for path in (tmp_path / "s").iterdir()) == ["README.md", "app.py", "requirements.txt"]
    assert (tmp_path / "s/requirements.txt").read_text() == f"pixelzoo[demo]=={zoo.__version__}\n"
    assert "sdk: gradio\n" in (tmp_path / "s/README.md").read_text()
    (tmp_path / "s/mine.txt").write_text("mine")
    with pytest.raises(OptionError, match=r"mine\.txt"):
        space.write(tmp_path / "s")


@needs_gradio
def test_gradio_is_imported_without_writing_stubs_for_editors():
    code = (
        "import sys; from zoo_demo import quick; from gradio import component_meta as meta; "
        "assert meta.create_or_modify_pyi(None, '', []) is None; quick.gr.Textbox('a'); "
        "assert not any(isinstance(finder, quick._NoStubs) for finder in sys.meta_path)"
    )
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'plugins'}"}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)


def test_a_model_is_loaded_in_the_background_once(digits):
    shelf = Shelf("cpu")
    shelf.warm(digits).join()
    with shelf.lock:
        first = shelf.get(digits)
    shelf.warm(digits).join()
    assert shelf.get(digits) is first


def test_the_last_models_stay_loaded_and_those_that_were_put_there_always(found):
    shelf, (mine, *others) = Shelf("cpu"), list(found.values())[:6]
    model = zoo.build("pixelcnn", preset="tiny")
    shelf.put(mine, model)
    first = shelf.get(others[0])
    assert shelf.get(others[0]) is first
    for other in others[1:4]:
        shelf.get(other)
    assert shelf.get(others[0]) is first
    for other in others[1:4]:
        shelf.get(other)
    shelf.get(others[4])
    assert shelf.get(others[0]) is not first
    assert shelf.get(mine) is model


@needs_gradio
def test_a_space_starts_from_its_folder_and_leaves_no_files(tmp_path):
    space.write(tmp_path / "s")
    (tmp_path / "files").mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'plugins'}", "PORT": str(port)}
    environment["TMPDIR"] = str(tmp_path / "files")
    app = subprocess.Popen([sys.executable, "app.py"], cwd=tmp_path / "s", env=environment, stdout=subprocess.DEVNULL)
    try:
        for _ in range(300):
            time.sleep(0.2)
            assert app.poll() is None
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
                    assert b"pixelzoo" in answer.read()
                    break
            except OSError:
                continue
        else:
            pytest.fail("the page did not come")
    finally:
        app.terminate()
        app.wait()
    assert [path.name for path in (tmp_path / "files").iterdir() if path.name.startswith("zoo-demo")] == []


@needs_gradio
@pytest.mark.parametrize("path", ["/etc/hostname", str(ROOT / "pyproject.toml"), "pyproject.toml"])
def test_the_page_hands_out_no_file_but_its_own_and_listens_at_home_alone(address, path):
    assert address.startswith("http://127.0.0.1:")
    with pytest.raises(urllib.error.HTTPError, match="403|404"):
        urllib.request.urlopen(f"{address}gradio_api/file={path}", timeout=60)


@needs_gradio
def test_a_strangers_model_is_on_the_page(tmp_path):
    from zoo_demo.page import make

    pin = Weights(repo="me/none-such", revision="0" * 40, sha256="0" * 64, size=1, summary="mine")
    kind = {"kind": "gan", "task": "image-generation", "data_shape": ("C", "H", "W")}
    spec = ModelSpec(name="mine", summary="s", paper="p", presets={"tiny": Preset()}, weights={"w": pin}, **kind)
    page = make(tmp_path, Shelf("cpu"), catalogue.entries([spec]))
    [pick] = [block for block in page.blocks.values() if getattr(block, "elem_id", None) == "pick"]
    assert pick.choices == [("mine:w", "mine:w")]


UNTRAINED = {
    "pix2pix": {"condition_channels": 1, "condition_classes": 5},
    "vid2vid": {"condition_channels": 1, "condition_classes": 5},
    "everybody_dance_now": {"joints": 18},
    "deep_video_portraits": {},
}


@pytest.fixture(scope="module")
def address():
    """Of a page with all bundled models, and with untrained ones whose clips can be edited."""
    from zoo_demo.page import launch

    shelf, found = Shelf("cpu"), catalogue.entries()
    for name, config in UNTRAINED.items():
        model = zoo.build(name, preset="tiny", **config).eval()
        found.append(catalogue.Entry(model.spec, "untrained", "nothing", "", None, ()))
        shelf.put(found[-1], model)
    page, where = launch(device="cpu", wait=False, shelf=shelf, found=found)
    yield where
    page.close()
    page.zoo_folder.cleanup()


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        started = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def visit(address, browser):
    """A visitor who has opened a model of the gallery."""
    contexts = []

    def open_page(name: str):
        context = browser.new_context(viewport={"width": 1100, "height": 900})
        contexts.append(context)
        page = context.new_page()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address)
        page.wait_for_selector("#models img", timeout=120_000)
        choose(page, name)
        assert all(url.startswith((address, "data:", "blob:")) for url in asked)
        return page

    yield open_page
    for context in contexts:
        context.close()


def choose(page, name: str) -> None:
    """Open a model of the gallery."""
    page.locator("#pick input").click()
    page.locator("#pick input").fill(name)  # the list of all may be longer than the window
    page.locator(f"[role=option][aria-label='{name}']").click()
    page.locator("#open").click()
    page.wait_for_selector(f"h2:text-is('{name}')", timeout=120_000)
    page.wait_for_selector("#go:visible, #edit-begin:visible", timeout=120_000)


def field(page, name: str):
    return page.locator(f"#field-{name} textarea, #field-{name} input").first


def press(page) -> None:
    page.locator("#go").click()


def wait_for(page, text: str) -> None:
    """Wait until the line of status says something; the time is for slow machines."""
    page.wait_for_selector(f"#status:has-text('{text}')", timeout=120_000)


def draw_and_wait(page) -> None:
    press(page)
    page.wait_for_selector("#status:has-text('Waiting'), #status:has-text('Done.')", state="attached")
    wait_for(page, "Done.")


def take_examples(page) -> None:
    """Fill the fields of pictures and clips that can be seen."""
    for button in page.locator("[id^=example-]:visible").all():
        name = button.get_attribute("id").partition("-")[2]
        button.click()
        page.wait_for_selector(f"#status:has-text('example of {name}.')", timeout=120_000)


@needs_browser
def test_every_model_is_chosen_and_drawn(visit, found):
    first, *others = found
    page = visit(first)
    for name in (first, *others):
        if name != first:
            page.get_by_role("tab", name="Models").click()
            choose(page, name)
        if found[name].may_edit:
            page.get_by_role("tab", name="Draw clips").click()
        take_examples(page)
        page.locator("#count input").fill("1")
        draw_and_wait(page)
        page.wait_for_selector("#tiles img, #whole img", timeout=120_000)
        assert f" of {name}, seed 0" in page.locator("#about").inner_text()
        page.locator("#lines button").first.click()
        page.wait_for_selector(f"#shell:has-text('zoo sample {name} -n 1')")


@needs_browser
def test_a_visitor_draws_digits_and_a_bad_value_is_told_beside_its_field(visit):
    page = visit("conditional_pixelcnn:mnist")
    field(page, "label").fill("eleven")
    press(page)
    page.wait_for_selector("#wrong-label:has-text('eleven')", timeout=120_000)
    field(page, "label").fill("3")
    draw_and_wait(page)
    assert page.locator("#tiles .thumbnail-lg").count() == 16
    assert not page.locator("#wrong-label").is_visible()
    page.locator("#lines button").first.click()
    page.wait_for_selector("#shell:has-text('--option label=3')")


@needs_browser
def test_two_visitors_get_each_their_own_and_one_can_cancel(visit, monkeypatch):
    draw = drawing.draw

    def draw_long(*given, n, cancelled, **how):
        while n == 64 and not cancelled():  # a drawing that lasts until Cancel was pressed, on any machine
            time.sleep(0.01)
        return draw(*given, n=n, cancelled=cancelled, **how)

    monkeypatch.setattr(drawing, "draw", draw_long)
    one, other = visit("conditional_pixelcnn:mnist"), visit("stylegan2:emoji")
    one.locator("#count input").fill("64")
    press(one)
    wait_for(one, "Waiting")
    one.locator("#stop").click()
    press(other)
    wait_for(one, "Cancelled.")
    wait_for(other, "Done.")
    assert one.locator("#tiles img").count() == 0
    assert "stylegan2:emoji" in other.locator("#about").inner_text()
    one.locator("#count input").fill("2")
    draw_and_wait(one)
    assert one.locator("#about").inner_text().startswith("2 samples of conditional_pixelcnn:mnist")


@needs_browser
@pytest.mark.parametrize(
    ("name", "way", "fields", "about"),
    [
        ("stylegan2:emoji", "walk", {"keys": "2", "steps": "2"}, "1 walk of stylegan2:emoji, seed 0, walk=w"),
        ("stylegan2:emoji", "mixing", {"mixing": "2"}, "12 samples of stylegan2:emoji, seed 0, mixing=2"),
        ("mocogan:lpc_sprites", "motions", {"motions": "1"}, "8 clips of mocogan:lpc_sprites, seed 0, motions=1"),
    ],
)
def test_walks_mixing_and_motions_have_forms_of_their_own(visit, name, way, fields, about):
    page = visit(name)
    assert not any(page.locator(f"#field-{name}").is_visible() for name in fields)
    page.locator(f"#way input[value='{way}']").click()
    for option, text in fields.items():
        field(page, option).wait_for()
        field(page, option).fill(text)
    draw_and_wait(page)
    page.wait_for_selector("#whole img")
    assert page.locator("#about").inner_text().startswith(about)


@needs_browser
def test_a_digit_is_completed_below_the_paint_of_a_brush(visit):
    page = visit("conditional_pixelcnn:mnist")
    page.locator("#way input[value='given']").click()
    page.locator("#example-given").click()
    page.wait_for_selector("#field-given button[aria-label='Brush'], #field-given button[title*='rush']")
    page.locator("#field-given button[aria-label='Brush'], #field-given button[title*='rush']").first.click()
    box = page.locator("#field-given canvas").first.bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 60, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 60, middle, steps=8)
    page.mouse.up()
    draw_and_wait(page)
    assert page.locator("#tiles .thumbnail-lg").count() == 8
    about = page.locator("#about").inner_text()
    rows = int(about.partition("given_rows=")[2].partition(",")[0])
    assert 4 < rows < 20, about


def begin_editing(page) -> None:
    page.locator("#edit-begin").click()
    page.wait_for_selector("#edit-status:has-text('frames.')", timeout=120_000)
    page.locator("#edit-t input[type=number]").fill("2")
    page.locator("#edit-t input[type=number]").press("Tab")


def wait_for_redrawn(page) -> None:
    page.wait_for_selector("#edit-status:has-text('drawn from frame 2 on')", timeout=120_000)
    page.wait_for_selector("#edit-clip img")


@needs_browser
def test_a_label_map_is_painted_and_the_clip_drawn_from_there(visit):
    page = visit("vid2vid:untrained")
    begin_editing(page)
    page.locator("#edit-canvas button[aria-label='Brush'], #edit-canvas button[title*='rush']").first.click()
    page.locator("#edit-paint").scroll_into_view_if_needed()
    box = page.locator("#edit-canvas canvas").first.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2 + 40, box["y"] + box["height"] / 2, steps=4)
    page.mouse.up()
    page.locator("#edit-paint").click()
    wait_for_redrawn(page)
    page.locator("#edit-lines button").first.click()
    page.wait_for_selector("#edit-shell:has-text('zoo sample vid2vid:untrained')")


@needs_browser
def test_a_joint_is_moved_by_a_click_and_by_the_keyboard(visit):
    page = visit("everybody_dance_now:untrained")
    begin_editing(page)
    page.locator("#edit-figure img").click(position={"x": 192, "y": 64})
    wait_for_redrawn(page)
    page.wait_for_function("Number(document.querySelector('#edit-slider-x input[type=number]').value) > 11.5")
    assert 11.5 < float(page.locator("#edit-slider-x input[type=number]").input_value()) < 12.5
    page.locator("#edit-slider-x input[type=number]").fill("3")
    page.locator("#edit-slider-x input[type=number]").press("Tab")
    page.wait_for_selector("#edit-status:has-text('drawn from frame 2 on')")
    assert float(page.locator("#edit-slider-x input[type=number]").input_value()) == 3


@needs_browser
def test_a_head_is_turned_by_its_sliders_and_its_clips_are_drawn_too(visit):
    page = visit("deep_video_portraits:untrained")
    begin_editing(page)
    page.locator("#edit-slider-yaw input[type=number]").fill("0.7")
    page.locator("#edit-slider-yaw input[type=number]").press("Tab")
    wait_for_redrawn(page)
    assert page.locator("#edit-slider-light").is_visible()
    page.get_by_role("tab", name="Draw clips").click()
    take_examples(page)
    page.locator("#count input").fill("1")
    draw_and_wait(page)
    assert page.locator("#about").inner_text().startswith("1 clip of deep_video_portraits:untrained")


@needs_browser
def test_a_picture_is_drawn_from_a_label_map_that_was_painted(visit):
    page = visit("pix2pix:untrained")
    take_examples(page)
    page.locator("#count input").fill("2")
    draw_and_wait(page)
    assert page.locator("#tiles .thumbnail-lg").count() == 2


@needs_browser
def test_two_models_and_two_settings_are_compared_side_by_side(visit):
    page = visit("conditional_pixelcnn:mnist")
    page.locator("#count input").fill("2")
    field(page, "label").fill("4")
    page.locator("#other input").click()
    page.locator("[role=option][aria-label='vqvae2:mnist']").click()
    draw_and_wait(page)
    assert page.locator("#beside-about").inner_text() == "2 samples of vqvae2:mnist, seed 0, label=4"
    assert page.locator("#beside-tiles .thumbnail-lg").count() == 2
    page.locator("#again").click()
    page.wait_for_selector("#beside-about:has-text('conditional_pixelcnn')")
    field(page, "label").fill("5")
    draw_and_wait(page)
    assert page.locator("#about").inner_text() == "2 samples of conditional_pixelcnn:mnist, seed 0, label=5"
    assert page.locator("#beside-about").inner_text() == "2 samples of conditional_pixelcnn:mnist, seed 0, label=4"


@needs_browser
def test_the_keyboard_alone_reaches_everything(address, browser):
    page = browser.new_context().new_page()
    page.goto(address)
    page.wait_for_selector("#models img", timeout=120_000)

    def tab_to(selector: str, limit: int = 60) -> None:
        for _ in range(limit):
            page.keyboard.press("Tab")
            if page.evaluate("s => Boolean(document.activeElement.closest(s))", selector):
                return
        raise AssertionError(f"the tab key does not reach {selector}")

    tab_to("#pick")
    page.keyboard.press("Control+a")
    page.keyboard.type("stylegan2:emoji")
    page.wait_for_function("document.querySelectorAll('[role=option]').length === 1")
    page.keyboard.press("Enter")
    page.wait_for_function("document.activeElement === document.body")  # the choice is made
    tab_to("#open")
    page.keyboard.press("Enter")
    page.wait_for_selector("h2:text-is('stylegan2:emoji')", timeout=120_000)
    page.wait_for_selector("#go", state="visible")
    page.locator("h2").first.evaluate("h => { h.tabIndex = -1; h.focus() }")
    tab_to("#way")
    tab_to("#count")
    page.keyboard.press("Control+a")
    page.keyboard.type("2")
    for selector in ("#seed", "#go", "#stop"):
        tab_to(selector)
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    wait_for(page, "Done.")
    assert page.locator("#about").inner_text().startswith("2 samples of stylegan2:emoji")
    reached = set()
    for _ in range(80):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("() => document.activeElement.closest('[id]')?.id"))
        reached.add(page.evaluate("() => document.activeElement.closest('[id^=field-]')?.id"))
        reached.add(page.evaluate("() => document.activeElement.closest('#other, #again, #lines')?.id"))
    wanted = {"field-truncation", "field-truncation_layers", "field-label", "field-noise", "other", "again", "lines"}
    assert wanted <= reached
    page.context.close()
