"""What the zoo sees of its own tools. Free of torch."""

from __future__ import annotations

from zoo import hookimpl


@hookimpl
def zoo_commands(app):
    from zoo_tools import verbs

    for verb in (verbs.doctor, verbs.new, verbs.lock):
        app.add_command(verb)
