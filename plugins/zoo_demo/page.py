"""The page: widgets of Gradio around `catalogue` and `drawing`. Nothing here knows a model.

What visitors upload and what is drawn for them lies in one folder, which is removed when the server ends. Fonts are
those of the visitor's system, and nothing is asked of any other host.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from zoo_demo import drawing
from zoo_demo.catalogue import Entry, Field, entries, fields
from zoo_demo.drawing import Cancelled, FormError, Shelf
from zoo_demo.quick import gr

CSS = """
.gradio-container {max-width: 1100px !important; margin: 0 auto !important}
.tiles img {image-rendering: pixelated}
.tiles .grid-wrap {max-height: none !important}
.tiles .caption-label {left: 2px; right: 2px; bottom: 2px; max-width: none; text-align: center; padding: 1px 2px}
.tiles .caption-label {font-size: 11px !important; border: 0; border-radius: 3px}
#tiles .caption-label, #before .caption-label {font-size: 10px !important; opacity: 0.85}
.wrong {color: var(--error-text-color, #b91c1c); min-height: 0 !important; padding: 0 !important}
.wrong p {color: #dc2626 !important; font-size: var(--text-sm); margin: 0 4px}
.paper {color: var(--body-text-color-subdued)}
@media (max-width: 640px) {
  .gradio-container {padding: 8px !important; min-width: 0 !important}
  .gradio-container main, .gradio-container .main {padding: 8px !important; max-width: 100vw}
  #models .grid-container {grid-template-columns: repeat(2, 1fr) !important}
}
"""
FONT = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "DejaVu Sans", "sans-serif"]
MONO = ["ui-monospace", "Menlo", "Consolas", "DejaVu Sans Mono", "monospace"]
WAITING = 32  # drawings in the queue; who comes then is told that the page is busy
CANVAS = 280  # pixels of the brush's canvas


class Visitors:
    """Who wants a drawing cancelled; keys are the sessions of Gradio."""

    def __init__(self) -> None:
        self._events: dict[str, threading.Event] = {}

    def begin(self, session: str) -> threading.Event:
        self._events[session] = threading.Event()
        return self._events[session]

    def current(self, session: str) -> threading.Event:
        """That of the last press of Draw, which may have been cancelled while it waited."""
        return self._events.get(session) or self.begin(session)

    def cancel(self, session: str) -> None:
        if session in self._events:
            self._events[session].set()

    def leave(self, session: str) -> None:
        self.cancel(session)
        self._events.pop(session, None)


def make(folder: Path, shelf: Shelf, found: list[Entry] | None = None) -> gr.Blocks:
    """The page; `folder` takes uploads and drawings."""
    found = entries() if found is None else found
    visitors = Visitors()
    with gr.Blocks(title="pixelzoo", analytics_enabled=False, delete_cache=(600, 3600)) as page:
        gr.Markdown("# pixelzoo\nGenerative models of pictures and clips, to draw with.")
        if not found:
            gr.Markdown("No model has weights here. `zoo plugins` says which plugins are installed.")
            return page
        chosen = gr.State(found[0].name)
        with gr.Tabs(selected="models") as tabs:
            with gr.Tab("Models", id="models"):
                shelf_view = gr.Gallery(
                    [(_cover(entry, folder), entry.name) for entry in found],
                    show_label=False, columns=4, height="auto",
                    allow_preview=False, elem_classes="tiles", elem_id="models", buttons=[], interactive=False,
                )  # fmt: skip
                pick = gr.Dropdown([entry.name for entry in found], value=found[0].name, label="Model", elem_id="pick")
                open_it = gr.Button("Open", variant="primary", elem_id="open")
            with gr.Tab("Draw", id="draw"):
                _studio(chosen, found, folder, shelf, visitors)

        def take(event: gr.SelectData) -> tuple[str, str, Any]:
            name = found[event.index].name
            return name, name, gr.Tabs(selected="draw")

        shelf_view.select(take, None, [chosen, pick, tabs], api_visibility="private")
        open_it.click(lambda name: (name, gr.Tabs(selected="draw")), pick, [chosen, tabs], api_visibility="private")

        def leave(request: gr.Request) -> None:
            visitors.leave(str(request.session_hash))

        page.unload(leave)
    return page


def _cover(entry: Entry, folder: Path) -> Any:
    """The picture of an entry: of an animation its file, in a folder that the page may show."""
    if entry.picture is None:
        return Image.new("L", (96, 96), 224)
    if entry.picture.suffix == ".png":
        with Image.open(entry.picture) as picture:
            return picture.convert("RGB")
    copy = folder / f"{entry.name.replace(':', '-')}{entry.picture.suffix}"
    copy.write_bytes(entry.picture.read_bytes())
    return str(copy)


def _studio(chosen: gr.State, found: list[Entry], folder: Path, shelf: Shelf, visitors: Visitors) -> None:
    """The form of the chosen entry, made anew for each, and what it draws."""
    by_name = {entry.name: entry for entry in found}

    @gr.render(inputs=chosen)
    def show(name: str) -> None:
        entry = by_name[name]
        shelf.warm(entry)
        form = fields(entry)
        gr.Markdown(
            f"## {escape(entry.name)}\n{escape(entry.spec.summary)}.\n\n"
            f"<span class='paper'>{escape(entry.spec.paper)}. "
            f"Weights: {escape(entry.about)}; licence {escape(entry.licence or 'unknown')}.</span>"
        )
        with gr.Row():
            with gr.Column(scale=2, min_width=280):
                with gr.Row():
                    n = gr.Number(
                        4 if entry.spec.is_video else 16,
                        label="Samples",
                        elem_id="count",
                        interactive=True,
                        precision=0,
                        min_width=100,
                    )
                    seed = gr.Number(0, label="Seed", precision=0, min_width=100, interactive=True)
                rest = gr.Markdown(elem_classes="wrong", elem_id="wrong-form")
                others = ["", *(entry.name for entry in found)]
                other = gr.Dropdown(
                    others, value="", label="Compare with", info="another model of the same seed", interactive=True
                )
                with gr.Row():
                    go = gr.Button("Draw", variant="primary", elem_id="go", min_width=100)
                    stop = gr.Button("Cancel", elem_id="stop", min_width=100)
                widgets, wrongs = _form(form)
            with gr.Column(scale=3, min_width=280):
                tiles = gr.Gallery(
                    label="Samples", columns=4, height="auto", format="png", elem_classes="tiles", elem_id="tiles",
                    buttons=[], interactive=False, visible=not entry.spec.is_video,
                )  # fmt: skip
                moving = gr.Image(
                    label="Clip", visible=entry.spec.is_video, elem_id="moving", buttons=[], interactive=False
                )
                status = gr.Markdown(elem_id="status")
                again = gr.Button(
                    "More like this: keep these beside, change an option, draw", elem_id="again", size="sm"
                )
                before = gr.Gallery(
                    label="Before", columns=4, height="auto", format="png", visible=False, elem_classes="tiles",
                    buttons=[], interactive=False, elem_id="before",
                )  # fmt: skip
                with gr.Accordion("The lines that give exactly this", open=False, elem_id="lines"):
                    python = gr.Code(language="python", label="Python", interactive=False, elem_id="python")
                    shell = gr.Code(language="shell", label="Shell", interactive=False, elem_id="shell")
                    files = gr.Files(label="Files", interactive=False)
        outputs = [tiles, moving, before, status, python, shell, files, rest, *wrongs]

        def run(
            n: Any,
            seed: Any,
            other: str,
            request: gr.Request,
            progress: gr.Progress = gr.Progress(),  # noqa: B008 - how Gradio wants it
            *given: Any,
        ) -> list[Any]:
            event = visitors.current(str(request.session_hash))
            compared = by_name[other] if other else None
            told = partial(progress, desc=f"drawing with {entry.name}")
            return _run(entry, compared, form, given, folder, shelf, n=n, seed=seed, told=told, cancelled=event.is_set)

        def begin(request: gr.Request) -> str:
            visitors.begin(str(request.session_hash))
            return "Waiting for its turn."

        def cancel(request: gr.Request) -> None:
            visitors.cancel(str(request.session_hash))

        go.click(begin, None, status, queue=False, api_visibility="private").then(
            run, [n, seed, other, *widgets], outputs, concurrency_limit=1, concurrency_id="draw",
            show_progress_on=[status], api_visibility="private",
        )  # fmt: skip
        stop.click(cancel, None, None, queue=False, api_visibility="private")
        again.click(
            lambda shown: (gr.Gallery(shown, visible=bool(shown)), gr.Dropdown(value="")), tiles, [before, other],
            api_visibility="private",
        )  # fmt: skip


def _form(form: list[Field]) -> tuple[list[Any], list[gr.Markdown]]:
    """A widget and a line for its error for each field."""
    widgets, wrongs = [], []
    for field in form:
        widgets.append(_widget(field))
        wrongs.append(gr.Markdown(elem_classes="wrong", elem_id=f"wrong-{field.name}"))
    return widgets, wrongs


def _widget(field: Field) -> Any:
    option = field.option
    how: dict[str, Any] = {"label": option.name, "elem_id": f"field-{option.name}", "interactive": True}
    info = {"info": option.help or None}
    if field.kind == "slider":
        return gr.Slider(option.minimum, option.maximum, option.default, step=field.step, **info, **how)
    if field.kind == "number":
        return gr.Number(option.default, precision=0 if option.type == "int" else None, **info, **how)
    if field.kind == "choice":
        return gr.Dropdown(list(field.choices), value=option.default or "", **info, **how)
    if field.kind == "switch":
        return gr.Checkbox(bool(option.default), **info, **how)
    if field.kind == "clip":
        return gr.File(file_types=[".mp4", ".gif", ".webp", ".webm"], type="filepath", **how)
    if option.rows:
        gr.Markdown("To complete a picture: upload it, and paint where it is to be drawn anew; rows above are kept.")
        brush = gr.Brush(default_size=24, colors=["#6366f1"], color_mode="fixed")
        return gr.ImageEditor(
            type="numpy", image_mode="RGBA", sources=("upload", "clipboard"), brush=brush, transforms=(), layers=False,
            canvas_size=(CANVAS, CANVAS), height=CANVAS + 120, buttons=[], **how,
        )  # fmt: skip
    if field.kind == "picture":
        return gr.Image(type="filepath", sources=["upload", "clipboard"], buttons=[], height=220, **how)
    return gr.Textbox("" if option.default is None else str(option.default), **info, **how)


def _values(form: list[Field], given: tuple[Any, ...], place: Path, entry: Entry, shelf: Shelf) -> dict[str, Any]:
    """What the widgets hold; a painted picture becomes a file and the number of rows above the paint."""
    values = {field.name: value for field, value in zip(form, given, strict=True)}
    for field in form:
        painted = values[field.name]
        if not isinstance(painted, dict):
            continue
        background = painted.get("background")
        empty = background is None or not np.asarray(background)[..., 3].any()
        values[field.name] = None
        if not empty:
            Image.fromarray(np.asarray(background)).save(place / "upload.png")
            values[field.name] = str(place / "upload.png")
            with shelf.lock:
                height = shelf.get(entry).image_shape[1]
            rows = drawing.kept_rows([np.asarray(layer) for layer in painted.get("layers") or []], height)
            if rows is not None:
                values[str(field.option.rows)] = max(1, rows)
    return values


def _run(
    entry: Entry,
    other: Entry | None,
    form: list[Field],
    given: tuple[Any, ...],
    folder: Path,
    shelf: Shelf,
    *,
    n: Any,
    seed: Any,
    told: Callable[[float], Any],
    cancelled: Callable[[], bool],
) -> list[Any]:
    """One press of Draw: the outputs, or the messages beside the fields."""
    place = Path(tempfile.mkdtemp(dir=folder))
    same = [gr.skip()] * 3
    how: dict[str, Any] = {"n": n, "seed": seed, "progress": told, "cancelled": cancelled}
    try:
        values = _values(form, given, place, entry, shelf)
        drawn = drawing.draw(entry, values, place, shelf, **how)
        beside = gr.skip()
        if other:
            second = Path(tempfile.mkdtemp(dir=folder))
            compared = drawing.draw(other, {}, second, shelf, **how)
            shown = list(zip(compared.tiles, compared.captions, strict=False)) or [str(compared.file)]
            beside = gr.Gallery(shown, label=f"{other.name}, the same seed", visible=True)
    except Cancelled:
        return [*same, "Cancelled.", *[gr.skip()] * 3, "", *[""] * len(form)]
    except FormError as error:
        messages = dict(error.messages)
        wrongs = [messages.pop(field.name, "") for field in form]
        rest = " ".join(f"{name}: {text}" if name else text for name, text in messages.items())
        return [*same, "", *[gr.skip()] * 3, rest, *wrongs]
    still = bool(drawn.tiles)
    return [
        gr.Gallery(list(zip(drawn.tiles, drawn.captions, strict=False)), visible=still),
        gr.Image(visible=False) if still else gr.Image(str(drawn.file), visible=True),
        beside,
        f"{len(drawn.captions)} samples of seed {int(seed)}.",
        drawn.python,
        drawn.shell,
        [str(path) for path in sorted(place.iterdir()) if path.name != "upload.png"],
        "",
        *[""] * len(form),
    ]  # fmt: skip


def launch(host: str = "127.0.0.1", port: int | None = None, device: str = "auto", *, wait: bool = True) -> Any:
    """Serve the page until Ctrl-C; without `wait`, return (page, address) at once.

    The folder of uploads and drawings is removed at the end.
    """
    holder = tempfile.TemporaryDirectory(prefix="zoo-demo-")
    folder = Path(holder.name)
    os.environ["GRADIO_TEMP_DIR"] = str(folder / "gradio")
    shelf = Shelf(device)
    page = make(folder, shelf)
    theme = gr.themes.Soft(primary_hue="indigo", font=FONT, font_mono=MONO)
    try:
        _, address, _ = page.queue(max_size=WAITING).launch(
            server_name=host, server_port=port, share=False, quiet=True, ssr_mode=False, footer_links=[],
            max_file_size="20mb", prevent_thread_lock=True, theme=theme, css=CSS, inbrowser=False,
            enable_monitoring=False, show_error=False,
        )  # fmt: skip
        page.zoo_folder = holder
        shelf.warm()
        if not wait:
            return page, address
        print(f"the page is at {address} (Ctrl-C ends it)", flush=True)
        page.block_thread()
    finally:
        if wait:
            page.close()
            holder.cleanup()
    return None
