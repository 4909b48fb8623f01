"""The page: a gallery of all models with weights, and a studio for the one that is chosen. Nothing here knows a model.

What visitors upload and what is drawn for them lies in one folder, which is removed when the server ends. Fonts are
those of the visitor's system, and nothing is asked of any other host.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

from zoo_demo.catalogue import Entry, entries
from zoo_demo.quick import gr
from zoo_demo.shelf import Shelf
from zoo_demo.studio import TIDY, opened
from zoo_demo.visitors import Visitors

CSS = """
.gradio-container {max-width: 1100px !important; margin: 0 auto !important}
.tiles img, .whole img {image-rendering: pixelated}
.tiles .grid-wrap {max-height: none !important}
.tiles .caption-label {left: 2px; right: 2px; bottom: 2px; max-width: none; text-align: center; padding: 1px 2px}
.tiles .caption-label {font-size: 11px !important; border: 0; border-radius: 3px}
#tiles .caption-label, #beside-tiles .caption-label {font-size: 10px !important; opacity: 0.85}
.wrong {color: var(--error-text-color, #b91c1c); min-height: 0 !important; padding: 0 !important}
.wrong:not(:has(p)) {display: none !important}
.whole img {width: min(480px, 80vw) !important; max-width: 100%; height: auto !important}
.whole img {object-fit: contain !important}
#edit-figure img {width: 256px !important}
#studio {display: grid; grid-template-columns: minmax(0, 2fr) minmax(0, 3fr); grid-template-rows: auto 1fr}
#tiles .grid-container, #beside-tiles .grid-container {grid-template-columns: repeat(4, minmax(0, 1fr)) !important}
#studio {grid-template-areas: "ask drawn" "options drawn"}
#ask {grid-area: ask} #options {grid-area: options} #drawn {grid-area: drawn}
.wrong p {color: #dc2626 !important; font-size: var(--text-sm); margin: 0 4px}
.paper, .about p {color: var(--body-text-color-subdued)}
@media (max-width: 640px) {
  .gradio-container {padding: 8px !important; min-width: 0 !important}
  .gradio-container main, .gradio-container .main {padding: 8px !important; max-width: 100vw}
  #studio {grid-template-columns: minmax(0, 1fr); grid-template-areas: "ask" "drawn" "options"}
  #studio {grid-template-rows: auto auto auto}
  #models .grid-container {grid-template-columns: repeat(2, 1fr) !important}
}
"""
FONT = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "DejaVu Sans", "sans-serif"]
MONO = ["ui-monospace", "Menlo", "Consolas", "DejaVu Sans Mono", "monospace"]
WAITING = 32  # drawings in the queue; who comes then is told that the page is busy


def make(folder: Path, shelf: Shelf, found: list[Entry]) -> gr.Blocks:
    """The page; `folder` takes uploads and drawings."""
    visitors = Visitors(folder)
    with gr.Blocks(title="pixelzoo", analytics_enabled=False, delete_cache=(600, 3600)) as page:
        gr.Markdown("# pixelzoo\nGenerative models of pictures and clips, to draw with.")
        if not found:
            gr.Markdown("No model has weights here. `zoo plugins` says which plugins are installed.")
            return page
        chosen = gr.State(None)
        with gr.Tabs(selected="models") as tabs:
            with gr.Tab("Models", id="models"):
                gallery = gr.Gallery(
                    [(_cover(entry, folder), entry.name) for entry in found],
                    show_label=False, columns=4, height="auto",
                    allow_preview=False, elem_classes="tiles", elem_id="models", buttons=[], interactive=False,
                )  # fmt: skip
                pick = gr.Dropdown([entry.name for entry in found], value=found[0].name, label="Model", elem_id="pick")
                open_it = gr.Button("Open", variant="primary", elem_id="open")
            with gr.Tab("Draw", id="draw"):

                @gr.render(inputs=chosen)
                def show(name: str | None) -> None:
                    if name is None:
                        gr.Markdown("Choose a model first.")
                    else:
                        opened(name, found, shelf, visitors)

        def take(event: gr.SelectData) -> tuple[str, str, Any]:
            name = found[event.index].name
            return name, name, gr.Tabs(selected="draw")

        gallery.select(take, None, [chosen, pick, tabs], **TIDY)
        open_it.click(lambda name: (name, gr.Tabs(selected="draw")), pick, [chosen, tabs], **TIDY)

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


def launch(
    host: str = "127.0.0.1",
    port: int | None = None,
    device: str = "auto",
    *,
    wait: bool = True,
    shelf: Shelf | None = None,
    found: list[Entry] | None = None,
) -> Any:
    """Serve the page until Ctrl-C; without `wait`, return (page, address) at once.

    The folder of uploads and drawings is removed at the end.
    """
    if wait:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that the folder goes then too
    holder, page = tempfile.TemporaryDirectory(prefix="zoo-demo-"), None
    try:
        folder = Path(holder.name)
        os.environ["GRADIO_TEMP_DIR"] = str(folder / "gradio")
        shelf, found = shelf or Shelf(device), entries() if found is None else found
        page = make(folder, shelf, found)
        theme = gr.themes.Soft(primary_hue="indigo", font=FONT, font_mono=MONO)
        _, address, _ = page.queue(max_size=WAITING).launch(
            server_name=host, server_port=port, share=False, quiet=True, ssr_mode=False, footer_links=[],
            max_file_size="20mb", prevent_thread_lock=True, theme=theme, css=CSS, inbrowser=False,
            enable_monitoring=False, show_error=False,
        )  # fmt: skip
        page.zoo_folder = holder
        shelf.warm(next(iter(found), None))
        if not wait:
            return page, address
        print(f"the page is at {address} (Ctrl-C ends it)", flush=True)
        page.block_thread()
    finally:
        if wait:
            if page is not None:
                page.close(verbose=False)
            holder.cleanup()
    return None
