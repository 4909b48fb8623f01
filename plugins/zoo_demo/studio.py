"""The form of one entry and what it draws. Nothing here knows a model."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

from zoo.errors import ZooError
from zoo_demo import drawing, widgets
from zoo_demo.catalogue import Entry, Field, fields, ways
from zoo_demo.drawing import Cancelled, Drawing, FormError
from zoo_demo.pictures import example, example_file
from zoo_demo.quick import gr
from zoo_demo.shelf import Shelf
from zoo_demo.visitors import Visitors

TIDY = {"api_visibility": "private"}
BESIDE = "Compare: keep this beside"


@dataclass(frozen=True)
class Panel:
    """Where a drawing is shown: tiles of samples, or one picture or clip, and a line about it."""

    tiles: gr.Gallery
    whole: gr.Image
    about: gr.Markdown

    @classmethod
    def make(cls, name: str, label: str, *, visible: bool) -> Panel:
        """A panel whose elements have ids that begin with `name`."""
        tiles = gr.Gallery(
            label=label, show_label=False, columns=4, height="auto", format="png", elem_classes="tiles",
            elem_id=f"{name}tiles", buttons=[], interactive=False, visible=visible,
        )  # fmt: skip
        whole = gr.Image(
            label=label, show_label=False, visible=False, elem_id=f"{name}whole", elem_classes="whole", buttons=[],
            interactive=False,
        )  # fmt: skip
        return cls(tiles, whole, gr.Markdown(elem_id=f"{name}about", elem_classes="about"))

    @property
    def parts(self) -> list[Any]:
        return [self.tiles, self.whole, self.about]


def shown(drawn: Drawing) -> list[Any]:
    """A drawing as the updates of a panel."""
    tiles, whole = drawn.shown()
    return [gr.Gallery(tiles, visible=bool(tiles)), gr.Image(whole, visible=whole is not None), drawn.about]


def hidden() -> list[Any]:
    """The updates of a panel with nothing in it."""
    return [gr.Gallery(None, visible=False), gr.Image(None, visible=False), ""]


def header(entry: Entry) -> None:
    """What a model is, and whose."""
    gr.Markdown(
        f"## {escape(entry.name)}\n{escape(entry.spec.summary)}.\n\n"
        f"<span class='paper'>{escape(entry.spec.paper)}. "
        f"Weights: {escape(entry.about)}; licence {escape(entry.licence or 'unknown')}.</span>"
    )


class Studio:
    """The form of an entry: what to draw, how many, the model's options, with whom to compare; and the drawings."""

    def __init__(self, entry: Entry, found: list[Entry], shelf: Shelf, visitors: Visitors) -> None:
        self.entry, self.shelf, self.visitors = entry, shelf, visitors
        self.by_name = {other.name: other for other in found}
        self.form, self.ways = fields(entry), {way.name: way for way in ways(entry)}
        with gr.Row(elem_id="studio"):
            with gr.Column(elem_id="ask", min_width=0):
                self._ask()
            with gr.Column(elem_id="options", min_width=0):
                self._options()
            with gr.Column(elem_id="drawn", min_width=0):
                self.panel = Panel.make("", "Samples", visible=not entry.spec.is_video)
                self.status = gr.Markdown(elem_id="status")
                again = gr.Button(BESIDE, elem_id="again", size="sm")
                self.beside = Panel.make("beside-", "Beside", visible=False)
                with gr.Accordion("The lines that give exactly this", open=False, elem_id="lines"):
                    self.python = gr.Code(language="python", label="Python", interactive=False, elem_id="python")
                    self.shell = gr.Code(language="shell", label="Shell", interactive=False, elem_id="shell")
                    self.files = gr.Files(label="Files", interactive=False)
        self._connect(again)

    def _ask(self) -> None:
        """The questions."""
        first, is_video = self.ways[""], self.entry.spec.is_video
        titles = [(way.title, way.name) for way in self.ways.values()]
        self.way = gr.Radio(titles, value="", label="Draw", elem_id="way", visible=len(titles) > 1, interactive=True)
        with gr.Row():
            how: dict[str, Any] = {"precision": 0, "min_width": 90, "interactive": True}
            self.n = gr.Number(first.n, label=first.unit, elem_id="count", **how)
            self.seed = gr.Number(0, label="Seed", elem_id="seed", **how)
            self.frames = gr.Textbox("", label="Frames", elem_id="frames", visible=is_video, min_width=90,
                                     placeholder="as learned", interactive=True)  # fmt: skip
        self.rest = gr.Markdown(elem_classes="wrong", elem_id="wrong-form")
        with gr.Row():
            self.go = gr.Button("Draw", variant="primary", elem_id="go", min_width=100)
            self.stop = gr.Button("Cancel", elem_id="stop", min_width=100)

    def _options(self) -> None:
        """The options of the model, and with whom to compare."""
        self.widgets, self.wrongs, self.examples = [], [], []
        for field in self.form:
            visible = field.name not in self.ways[""].hidden
            classes = self._classes(field)
            self.widgets.append(widgets.widget(field, visible=visible, classes=classes))
            if field.kind in ("picture", "clip"):
                button = gr.Button("Take an example", size="sm", visible=visible, elem_id=f"example-{field.name}")
                self.examples.append((field, self.widgets[-1], button))
            self.wrongs.append(gr.Markdown(elem_classes="wrong", elem_id=f"wrong-{field.name}"))
        self.other = gr.Dropdown(
            ["", *self.by_name], value="", label="Compare with", elem_id="other", interactive=True,
            info="another model, drawn beside with the same seed and those options that it has too",
        )  # fmt: skip

    def _connect(self, again: gr.Button) -> None:
        last = gr.State(None)  # the drawing in the first panel
        outputs = [*self.panel.parts, *self.beside.parts, self.status, self.python, self.shell, self.files, last]
        self.way.change(
            self._choose, self.way, [self.n, *self.widgets, *(button for _, _, button in self.examples)],
            queue=False, **TIDY,
        )  # fmt: skip
        given = [self.n, self.seed, self.frames, self.other, self.way, *self.widgets]
        self.go.click(self._begin, None, self.status, queue=False, **TIDY).then(
            self._run, given, [*outputs, self.rest, *self.wrongs], concurrency_limit=1, concurrency_id="draw",
            show_progress_on=[self.status], **TIDY,
        )  # fmt: skip
        for field, shown, button in self.examples:
            button.click(partial(self._example, field), self.seed, [shown, self.status], **TIDY)
        self.stop.click(self._cancel, None, None, queue=False, **TIDY)
        again.click(self._keep, last, [*self.beside.parts, self.other], **TIDY)

    def _choose(self, name: str) -> list[Any]:
        """Another thing to draw: its fields, and how many of it."""
        way = self.ways[name]
        shown = [*self.form, *(field for field, _, _ in self.examples)]
        return [gr.Number(way.n, label=way.unit), *[gr.update(visible=field.name not in way.hidden) for field in shown]]

    def _classes(self, field: Field) -> int:
        """Of the label maps that a picture to draw from has to be; 0 of others, and of pictures to complete."""
        if field.kind != "picture" or field.option.rows:
            return 0
        try:
            with self.shelf.lock:
                return self.shelf.get(self.entry).input_classes.get(field.name, 0)
        except ZooError:  # the drawing will say so
            return 0

    def _example(self, field: Field, seed: Any) -> tuple[Any, str]:
        """A picture or clip to begin with: one that the model gives as an example, or has drawn itself."""
        try:
            with self.shelf.lock:
                model = self.shelf.get(self.entry)
                shown = example(self.entry, model, field.name, int(seed or 0))
        except ZooError:
            return gr.skip(), f"There is no example of {field.name}."
        said = f"An example of {field.name}."
        if field.kind == "clip":
            return example_file(shown, self.visitors.folder), said
        return widgets.begun(shown, model.input_classes.get(field.name, 0)), said

    def _begin(self, request: gr.Request) -> str:
        self.visitors.begin(str(request.session_hash))
        return "Waiting for its turn."

    def _cancel(self, request: gr.Request) -> None:
        self.visitors.cancel(str(request.session_hash))

    def _keep(self, last: Drawing | None) -> list[Any]:
        """What was drawn last beside what is drawn next."""
        return [*(shown(last) if last else hidden()), gr.Dropdown(value="")]

    def _run(
        self,
        n: Any,
        seed: Any,
        frames: Any,
        other: str,
        way: str,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 - how Gradio wants it
        *given: Any,
    ) -> list[Any]:
        """One press of Draw: the outputs, or the messages beside the fields."""
        session = str(request.session_hash)
        place = self.visitors.place(session)
        same, clean = [gr.skip()] * 6, ["", *[""] * len(self.form)]
        how: dict[str, Any] = {"n": n, "seed": seed, "frames": frames}
        how |= {"cancelled": self.visitors.current(session).is_set}
        how |= {"progress": partial(progress, desc=f"drawing with {self.entry.name}")}
        try:
            hide = self.ways[way].hidden
            values = widgets.values(self.form, given, hide, place, self.entry, self.shelf)
            drawn = drawing.draw(self.entry, values, place, self.shelf, **how)
            beside = [gr.skip()] * 3
            if other:
                beside = self._compared(self.by_name[other], values, place / "beside", how)
        except Cancelled:
            return [*same, "Cancelled.", *[gr.skip()] * 4, *clean]
        except FormError as error:
            return [*same, "", *[gr.skip()] * 4, *self._messages(error)]
        files = [str(path) for path in sorted(place.iterdir()) if path.is_file() and not path.name.startswith("upload")]
        return [*shown(drawn), *beside, "Done.", drawn.python, drawn.shell, files, drawn, *clean]

    def _compared(self, other: Entry, values: dict[str, Any], place: Path, how: dict[str, Any]) -> list[Any]:
        """What another model draws with the options that it has too."""
        theirs = {field.name for field in fields(other)}
        place.mkdir()
        try:
            drawn = drawing.draw(other, {n: v for n, v in values.items() if n in theirs}, place, self.shelf, **how)
        except FormError as error:
            text = " ".join(f"{name}: {message}" if name else message for name, message in error.messages.items())
            raise FormError({drawing.GENERAL: f"{other.name}: {text}"}) from None
        return shown(drawn)

    def _messages(self, error: FormError) -> list[str]:
        """What is wrong beside each field, and first what is wrong with the form as a whole."""
        messages = dict(error.messages)
        wrongs = [messages.pop(field.name, "") for field in self.form]
        return [" ".join(f"{name}: {text}" if name else text for name, text in messages.items()), *wrongs]


def opened(name: str, found: list[Entry], shelf: Shelf, visitors: Visitors) -> None:
    """All of an entry that was chosen in the gallery."""
    entry = next(entry for entry in found if entry.name == name)
    header(entry)
    if not entry.may_edit:
        shelf.warm(entry)
        Studio(entry, found, shelf, visitors)
        return
    from zoo_demo.editor import Bench

    with gr.Tabs():
        with gr.Tab("Edit a clip", id="edit"):
            Bench(entry, shelf, visitors)
        with gr.Tab("Draw clips", id="clips"):
            Studio(entry, found, shelf, visitors)
