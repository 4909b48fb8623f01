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
COLOURS = ["#6366f1", "#000000", "#ffffff", "#dc2626", "#16a34a", "#2563eb"]  # of a brush
CLIPS = [".mp4", ".gif", ".webp", ".webm"]


def widget(field: Field, *, visible: bool = True, prefix: str = "field") -> Any:
    """The widget of a field; its id begins with the prefix."""
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
    if field.kind == "picture":
        return canvas(**how)
    return gr.Textbox(field.value, **info, **how)


def canvas(colors: list[str] = COLOURS, *, fixed: bool = False, **how: Any) -> gr.ImageEditor:
    """A picture to upload and to paint on, with these colours for the brush; with `fixed` with no others."""
    brush = gr.Brush(
        default_size=24, colors=colors, default_color=colors[0], color_mode="fixed" if fixed else "defaults"
    )
    return gr.ImageEditor(
        type="numpy", image_mode="RGBA", brush=brush, transforms=(), layers=False, canvas_size=(CANVAS, CANVAS),
        height=CANVAS + 120, buttons=[], **{"sources": ("upload", "clipboard"), **how},
    )  # fmt: skip


def begun(picture: torch.Tensor) -> dict[str, Any]:
    """The value of a canvas with a picture (C, H, W) to paint on."""
    from zoo.media import to_pil

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
        layer = painted.get("background" if field.option.rows else "composite")
        found[field.name] = None
        if layer is None or not np.asarray(layer)[..., 3].any():
            continue
        path = place / f"upload-{field.name}.png"
        picture = Image.fromarray(np.asarray(layer))
        Image.alpha_composite(Image.new("RGBA", picture.size, "black"), picture).convert("RGB").save(path)
        found[field.name] = str(path)
        if field.option.rows:
            with shelf.lock:
                height = shelf.get(entry).image_shape[1]
            rows = kept_rows([np.asarray(layer) for layer in painted.get("layers") or []], height)
            if rows is not None:
                found[str(field.option.rows)] = max(1, rows)
    return found
