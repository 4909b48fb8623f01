"""The verb demo."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import click

from zoo.cli.console import PLACE, note
from zoo.errors import OptionError


@click.command()
@click.option("--host", default="127.0.0.1", help="Address to listen at; 0.0.0.0 lets others in. [127.0.0.1]")
@click.option("--port", type=click.IntRange(1, 65535), help="[the first free one from 7860 on]")
@click.option("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps. [auto]")
@click.option("--space", metavar="FOLDER", type=PLACE, help="Write a Hugging Face Space of this page there, and end.")
def demo(host: str, port: int | None, device: str, space: str | None) -> None:
    """A page in the browser: choose a model, draw, compare."""
    if space is not None:
        from zoo_demo.space import write

        write(Path(space))
        click.echo(f"wrote {space}; upload it with: hf upload OWNER/NAME {space} --repo-type space")
        return
    if importlib.util.find_spec("gradio") is None:
        raise OptionError('zoo demo needs pip install "pixelzoo[demo]"')
    from zoo.device import check_device
    from zoo_demo.page import launch

    check_device(device)
    if host not in ("127.0.0.1", "localhost", "::1"):
        note(f"everybody who reaches {host} can use this page")
    launch(host=host, port=port, device=device)
