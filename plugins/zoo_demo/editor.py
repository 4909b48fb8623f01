"""Widgets around a clip that is edited: paint on what a frame is drawn from, or move its joints and sliders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import zoo
from zoo.controls import Controls
from zoo.errors import ZooError, one_line
from zoo_demo import drawing, widgets
from zoo_demo.catalogue import Entry, fields
from zoo_demo.drawing import FormError
from zoo_demo.editing import Session
from zoo_demo.pictures import enlarged, examples, fit
from zoo_demo.quick import gr
from zoo_demo.shelf import Shelf
from zoo_demo.visitors import Visitors

TIDY = {"api_visibility": "private"}
SHOWN = 256  # pixels across, at least, of a frame


class Bench:
    """Begin with a clip, choose a frame, edit it, and see the clip from that frame on."""

    def __init__(self, entry: Entry, shelf: Shelf, visitors: Visitors) -> None:
        self.entry, self.shelf, self.visitors = entry, shelf, visitors
        try:
            with shelf.lock:
                model = shelf.get(entry)
                shown = examples(entry, model, 0)
        except ZooError as error:
            gr.Markdown(one_line(error), elem_classes="wrong")
            return
        if not model.has_editor:
            gr.Markdown("The clips of this model can be drawn, but not edited.")
            return
        self.controls: Controls | None = model.controls
        self.clip = next(option.name for option in entry.spec.sample_options if option.type == "video")
        self.classes = model.input_classes.get(self.clip, 0)
        self.form = [f for f in fields(entry) if f.kind not in ("clip", "picture") or f.name in (self.clip, *shown)]
        self.form = [f for f in self.form if f.kind != "clip" or f.name == self.clip]
        self.session = gr.State(None)
        with gr.Row(elem_id="studio"):
            with gr.Column(elem_id="ask", min_width=0):
                self._ask()
            with gr.Column(elem_id="options", min_width=0):
                self._edits()
            with gr.Column(elem_id="drawn", min_width=0):
                self.whole = gr.Image(label="Clip", show_label=False, elem_id="edit-clip", elem_classes="whole",
                                      buttons=[], interactive=False)  # fmt: skip
                self.status = gr.Markdown("What the clip is drawn from, left, and the clip.", elem_id="edit-status")
                self.frame = gr.Image(label="This frame", elem_id="edit-frame", elem_classes="whole", buttons=[],
                                      interactive=False)  # fmt: skip
                with gr.Accordion("The line that gives exactly this, and its files", open=False, elem_id="edit-lines"):
                    self.line = gr.Code(language="shell", label="Shell", interactive=False, elem_id="edit-shell")
                    self.files = gr.Files(label="Files", interactive=False)
        self._connect()

    def _ask(self) -> None:
        """What to begin with."""
        gr.Markdown("Begin with an example, or with a clip of your own to draw from; then edit any frame of it.")
        self.seed = gr.Number(0, label="Seed", precision=0, elem_id="edit-seed", interactive=True)
        self.given, self.wrongs = [], []
        for field in self.form:
            self.given.append(widgets.widget(field, prefix="edit"))
            self.wrongs.append(gr.Markdown(elem_classes="wrong", elem_id=f"edit-wrong-{field.name}"))
        self.begin = gr.Button("Begin", variant="primary", elem_id="edit-begin")
        self.rest = gr.Markdown(elem_classes="wrong", elem_id="edit-wrong")

    def _edits(self) -> None:
        """What to change in a frame."""
        self.t = gr.Slider(0, 1, 0, step=1, label="Frame", elem_id="edit-t", interactive=True, visible=False)
        self.onwards = gr.Checkbox(True, label="Change all frames after it likewise", elem_id="edit-onwards",
                                   interactive=True, visible=False)  # fmt: skip
        colours = widgets.class_colours(self.classes) if self.classes else widgets.COLOURS
        self.canvas = widgets.canvas(
            colours, fixed=bool(self.classes), label="Paint",
            sources=(), elem_id="edit-canvas", interactive=True, visible=False,
        )  # fmt: skip
        self.paint = gr.Button("Draw from this frame on", variant="primary", elem_id="edit-paint", visible=False)
        points = self.controls is not None and self.controls.points
        names = self.controls.names if self.controls is not None else ()
        label = "Click where the point goes" if points else "Drawn from this"
        self.figure = gr.Image(
            label=label, elem_id="edit-figure", elem_classes="whole", buttons=[], visible=False, interactive=False
        )
        self.point = gr.Dropdown(
            list(names) if points else [], label="Point", value=names[0] if points else None, elem_id="edit-point",
            visible=False, interactive=True,
        )  # fmt: skip
        self.sliders = []
        if self.controls is not None:
            shown = ("x", "y") if points else names
            for name, low, high in zip(shown, self.controls.low, self.controls.high, strict=False):
                self.sliders.append(
                    gr.Slider(low, high, low, step=0.01, label=name, elem_id=f"edit-slider-{name}", visible=False,
                              interactive=True)
                )  # fmt: skip

    def _connect(self) -> None:
        shown = [self.t, self.onwards, self.canvas, self.paint, self.figure, self.point, *self.sliders, self.frame]
        clip = [self.whole, self.line, self.files, self.status]
        self.begin.click(
            self._begin, [self.seed, *self.given], [self.session, *shown, *clip, self.rest, *self.wrongs],
            concurrency_limit=1, concurrency_id="draw", show_progress_on=[self.status], **TIDY,
        )  # fmt: skip
        one: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "draw", "show_progress_on": [self.status]}
        looks = (self.t.release, self.t.input)
        for look in looks:
            look(self._look, [self.session, self.t, self.point], shown, trigger_mode="always_last", **TIDY)
        self.point.input(self._look, [self.session, self.t, self.point], shown, **TIDY)
        where = [self.session, self.t, self.onwards, self.point]
        self.paint.click(self._paint, [*where, self.canvas], [*shown, *clip], **one, **TIDY)
        self.figure.select(self._click, where, [*shown, *clip], **one, **TIDY)
        for i, slider in enumerate(self.sliders):
            slider.release(self._slide(i), [*where, slider], [*shown, *clip],
                           trigger_mode="always_last", **one, **TIDY)  # fmt: skip

    # What happens

    def _begin(self, seed: Any, request: gr.Request, *given: Any) -> list[Any]:
        """A clip to edit, or messages beside the fields."""
        place = self.visitors.place(str(request.session_hash))
        try:
            values = widgets.values(self.form, given, frozenset(), place, self.entry, self.shelf)
            number = drawing.integer("seed", seed, 0, 2**31 - 1)
            options = drawing.checked(self.entry, values)
            with self.shelf.lock:
                session = self._session(number, options, values, place)
        except FormError as error:
            messages = dict(error.messages)
            wrongs = [messages.pop(field.name, "") for field in self.form]
            rest = " ".join(f"{name}: {text}" if name else text for name, text in messages.items())
            skipped = 8 + len(self.sliders) + 4
            return [gr.skip()] * skipped + [rest, *wrongs]
        return [session, *self._shown(session, 0, None), *self._clip(session, place, 0), "", *[""] * len(self.form)]

    def _session(self, seed: int, options: dict[str, Any], values: dict[str, Any], place: Path) -> Session:
        from zoo.cli.options import read_pictures

        try:
            model: zoo.Model = self.shelf.get(self.entry)
            whole = examples(self.entry, model, seed) | options
            for field in self.form:
                if values.get(field.name) and field.kind in ("clip", "picture"):
                    path = fit(Path(values[field.name]), model, field.name, place)
                    whole[field.name] = read_pictures(model, field.name, [path])[0]
            return Session(model, whole, seed=seed, drive=not values.get(self.clip))
        except ZooError as error:
            raise FormError({drawing.field_of(self.entry, str(error)): one_line(error)}) from None

    def _look(self, session: Session | None, t: Any, point: str | None) -> list[Any]:
        return self._shown(session, int(t), point) if session else [gr.skip()] * (7 + len(self.sliders))

    def _paint(
        self, session: Session | None, t: Any, onwards: bool, point: str, painted: Any, request: gr.Request
    ) -> list[Any]:
        layers = [np.asarray(layer) for layer in (painted or {}).get("layers") or []]
        return self._edited(session, int(t), point, request, lambda s: s.paint(int(t), layers, onwards=onwards))

    def _click(
        self, session: Session | None, t: Any, onwards: bool, point: str, event: gr.SelectData, request: gr.Request
    ) -> list[Any]:
        if session is None or self.controls is None or session.numbers is None:
            return self._edited(None, 0, point, request, lambda s: None)
        scale = enlarged(session.input(0), SHOWN).width / session.frame(0).shape[-1]
        i = 2 * self.controls.names.index(point)
        x, y = (float(value) / scale for value in event.index)
        return self._edited(session, int(t), point, request,
                            lambda s: s.move(int(t), {i: x, i + 1: y}, onwards=onwards))  # fmt: skip

    def _slide(self, i: int) -> Callable[..., list[Any]]:
        """What happens when slider i is let go."""

        def slid(
            session: Session | None, t: Any, onwards: bool, point: str, value: float, request: gr.Request
        ) -> list[Any]:
            points = self.controls is not None and self.controls.points
            number = i + 2 * self.controls.names.index(point) if points and self.controls else i
            change = {number: value}
            return self._edited(session, int(t), point, request, lambda s: s.move(int(t), change, onwards=onwards))

        return slid

    def _edited(
        self, session: Session | None, t: int, point: str | None, request: gr.Request, change: Any
    ) -> list[Any]:
        """All of the page's clip after a change at frame t."""
        if session is None:
            return [gr.skip()] * (7 + len(self.sliders) + 4)
        place = self.visitors.place(str(request.session_hash))
        with self.shelf.lock:
            change(session)
        return [*self._shown(session, t, point), *self._clip(session, place, t)]

    def _shown(self, session: Session, t: int, point: str | None) -> list[Any]:
        """Updates of what shows frame t."""
        t = min(t, len(session) - 1)
        driven = session.numbers is not None
        points = driven and self.controls is not None and self.controls.points
        updates: list[Any] = [
            gr.Slider(maximum=len(session) - 1, value=t, visible=True),
            gr.Checkbox(visible=True),
            gr.ImageEditor(visible=False) if driven else gr.ImageEditor(widgets.begun(session.input(t)), visible=True),
            gr.Button(visible=not driven),
            gr.Image(enlarged(session.input(t), SHOWN), visible=driven),
            gr.Dropdown(visible=points),
        ]
        numbers = session.numbers[t].tolist() if driven and session.numbers is not None else None
        first = 2 * self.controls.names.index(point or self.controls.names[0]) if points and self.controls else 0
        for i in range(len(self.sliders)):
            updates.append(gr.Slider(value=round(numbers[first + i], 2), visible=True) if numbers else gr.skip())
        return [*updates, enlarged(session.frame(t), SHOWN)]

    def _clip(self, session: Session, place: Path, t: int) -> list[Any]:
        """Updates of what shows the whole clip."""
        path, files, line = session.write(place, self.entry.name)
        said = f"{len(session)} frames; drawn from frame {t} on." if t else f"{len(session)} frames."
        return [
            str(path),
            line or "# what this is drawn from can be given in Python alone",
            [str(file) for file in files],
            said,
        ]
