"""What the zoo sees of the demo page. Free of torch and of Gradio."""

from __future__ import annotations

from zoo import hookimpl


@hookimpl
def zoo_commands(app):
    from zoo_demo import verb

    app.add_command(verb.demo)
