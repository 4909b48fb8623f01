"""Fields of a form as widgets of Gradio, and what these hold as values."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from zoo_demo.catalogue import Entry, Field
from zoo_demo.pictures import kept_rows
from zoo_demo.quick import gr
from zoo_demo.shelf import Shelf

if TYPE_CHECKING:
    import torch

CANVAS = 280  # pixels of the brush's canvas
BRUSH, PEN = 24, 5  # pixels across; the pen is for maps of two classes, which are lines
COLOURS = ["#6366f1", "#000000", "#ffffff", "#dc2626", "#16a34a", "#2563eb"]  # of a brush
CLIPS = [".mp4", ".gif", ".webp", ".webm"]


def widget(field: Field, *, visible: bool = True, prefix: str = "field", classes: int = 0) -> Any:
    """The widget of a field; its id begins with the prefix. Of label maps `classes` is how many classes they have."""
    option = field.option
    how: dict[str, Any] = {"label": option.name, "elem_id": f"{prefix}-{option.name}", "visible": visible}
    how["interactive"] = True
    info = {"info": option.help or None}
    if field.kind == "slider":
        return gr.Slider(option.minimum, option.maximum, field.value, step=field.step, **info, **how)
    if field.kind == "number":
        return gr.Number(field.value, precision=0 if option.type == "int" else None, **info, **how)
    if field.kind == "choice":
        return gr.Dropdown(list(field.choices), value=field.value, **info, **how)
    if field.kind == "switch":
        return gr.Checkbox(field.value, **info, **how)
    if field.kind == "clip":
        return gr.File(file_types=CLIPS, type="filepath", **how)
    if field.kind == "picture" and classes:
        return canvas(class_colours(classes), fixed=True, size=PEN if classes == 2 else BRUSH, **how)
    if field.kind == "picture":
        return canvas(**how)
    return gr.Textbox(field.value, **info, **how)


def canvas(colors: list[str] = COLOURS, *, fixed: bool = False, size: int = BRUSH, **how: Any) -> gr.ImageEditor:
    """A picture to upload and to paint on, with these colours for the brush; with `fixed` with no others."""
    brush = gr.Brush(
        default_size=size, colors=colors, default_color=colors[0], color_mode="fixed" if fixed else "defaults"
    )
    return gr.ImageEditor(
        type="numpy", image_mode="RGBA", brush=brush, transforms=(), layers=False, canvas_size=(CANVAS, CANVAS),
        height=CANVAS + 120, buttons=[], **{"sources": ("upload", "clipboard"), **how},
    )  # fmt: skip


def class_colours(classes: int) -> list[str]:
    """Colours of a brush, class 0 last."""
    from zoo_demo.editing import palette

    colours = [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in palette(classes).tolist()]
    return colours[1:] + colours[:1]


def begun(picture: torch.Tensor, classes: int = 0) -> dict[str, Any]:
    """The value of a canvas with a picture (C, H, W), or a label map in the colours of its classes, to paint on."""
    from zoo.media.images import to_pil
    from zoo_demo.editing import coloured

    picture = coloured(picture, classes) if classes else picture
    size = (CANVAS, CANVAS * picture.shape[1] // picture.shape[2])
    background = to_pil(picture).resize(size, Image.Resampling.NEAREST).convert("RGBA")
    return {"background": background, "layers": [], "composite": None}


def values(
    form: list[Field], given: tuple[Any, ...], hidden: frozenset[str], place: Path, entry: Entry, shelf: Shelf
) -> dict[str, Any]:
    """What the widgets hold, but for those that are hidden. A painted picture becomes a file; of a picture to complete
    the number of rows above the paint are kept."""
    found = {field.name: None if field.name in hidden else value for field, value in zip(form, given, strict=True)}
    for field in form:
        painted = found[field.name]
        if not isinstance(painted, dict):
            continue
        found[field.name] = None
        layers = [np.asarray(layer) for layer in painted.get("layers") or []]
        background = painted.get("background")
        if background is None or not np.asarray(background)[..., 3].any():
            if field.option.rows or not any(layer[..., 3].any() for layer in layers):
                continue
            background = np.zeros_like(layers[0])
        path = place / f"upload-{field.name}.png"
        with shelf.lock:
            model = shelf.get(entry)
        classes = model.input_classes.get(field.name, 0)
        if classes and not field.option.rows:
            picture = _label_map(np.asarray(background), layers, model.input_shape(field.option), classes)
        else:
            picture = _flat([np.asarray(background), *(() if field.option.rows else layers)])
        picture.save(path)
        found[field.name] = str(path)
        if field.option.rows:
            rows = kept_rows(layers, model.image_shape[1])
            if rows is not None:
                found[str(field.option.rows)] = max(1, rows)
    return found


def _flat(layers: list[np.ndarray[Any, Any]]) -> Image.Image:
    """Layers (H, W, 4) on black."""
    height, width = layers[0].shape[:2]
    picture = Image.new("RGBA", (width, height), "black")
    for layer in layers:
        picture = Image.alpha_composite(picture, Image.fromarray(layer).resize((width, height)))
    return picture.convert("RGB")


def _label_map(
    background: np.ndarray[Any, Any], layers: list[np.ndarray[Any, Any]], shape: tuple[int | None, ...], classes: int
) -> Image.Image:
    """A label map from a picture (H', W', 4) in colours of classes, or in their numbers, with paint on it."""
    import torch

    from zoo_demo.editing import painted

    *_, height, width = (size or 0 for size in shape)
    colours = background[..., :3]
    is_numbers = (colours == colours[..., :1]).all() and 0 < colours.max() < classes
    blank = torch.zeros(1, height, width, dtype=torch.uint8)
    labels, _ = painted(blank, [background], 0 if is_numbers else classes)
    return Image.fromarray(painted(labels, layers, classes)[0][0].numpy())
