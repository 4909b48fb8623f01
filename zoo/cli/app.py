"""The verbs together, and the one place where errors become a line and an exit code.

Exit codes: 0 done; 1 a check failed; 2 an error that the user can mend; 130 interrupted; 141 nobody reads the output.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from zoo import registry
from zoo.cli import console, eval, import_, publish, sample, show, train, weights
from zoo.errors import ZooError, is_shortage, unknown

# Base of all usage errors, which typer doesn't export: of bad values, missing arguments, unknown options.
UsageError: Any = typer.BadParameter.__base__


class Verb(TyperCommand):
    """One verb."""

    def get_help_option(self, ctx: Any) -> Any:
        return _plain(super().get_help_option(ctx))


class Verbs(TyperGroup):
    """The group of all verbs; a misspelt one gets the nearest, in the words of every other unknown name."""

    def get_help_option(self, ctx: Any) -> Any:
        return _plain(super().get_help_option(ctx))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            raise unknown("verb", args[0], self.commands, "(see 'zoo --help')")
        return super().resolve_command(ctx, args)


def _plain(help_option: Any) -> Any:
    """typer converts a default of None with pydantic, whose import costs `zoo list` a third of its time."""
    if help_option is not None and help_option.default is None:
        help_option.default = False
    return help_option


class App(typer.Typer):
    """An app whose verbs are `Verb`s, those of plugins too."""

    def command(self, name: str | None = None, **options: Any) -> Any:
        return super().command(name, **{"cls": Verb, **options})


app = App(
    name="zoo",
    cls=Verbs,
    help="A plugin-based zoo of generative image and video models.",
    epilog="Example: zoo sample pixelcnn --weights mnist -n 64 -o digits.png",
    add_completion=False,
    rich_markup_mode=None,  # so that no start pays for importing rich
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


@app.callback(invoke_without_command=True)
def zoo(
    ctx: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """A plugin-based zoo of generative image and video models."""
    if version:
        from zoo.version import __version__

        typer.echo(f"pixelzoo {__version__}")
        raise typer.Exit(0)
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


VERBS: dict[str, Callable[..., None]] = {
    "list": show.list_models,
    "info": show.info,
    "sample": sample.sample,
    "train": train.train,
    "eval": eval.evaluate,
    "plugins": show.plugins,
    "download": weights.download,
    "import": import_.import_,
    "publish": publish.publish,
    "check": weights.check,
}
for _name, _function in VERBS.items():
    app.command(_name)(_function)
_CORE = tuple(app.registered_commands)


def whole_app() -> typer.Typer:
    """The app with the verbs of all plugins; one of a name that is taken is left out with a warning."""
    app.registered_commands = list(_CORE)
    taken = {command.name: "pixelzoo" for command in _CORE}
    for record in registry.plugins().records:
        theirs = App()
        registry.ask(record, "zoo_commands", app=theirs)
        for command in theirs.registered_commands:
            name = command.name or getattr(command.callback, "__name__", "")
            if name in taken:
                warnings.warn(f"verb '{name}' of {record.origin} is left out: {taken[name]} has it", stacklevel=2)
            else:
                taken[name] = record.origin
                app.registered_commands.append(command)
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code. `--debug` counts wherever it stands."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    end = given.index("--") if "--" in given else len(given)
    debug = "--debug" in given[:end]
    try:
        code = _run([text for text in given[:end] if text != "--debug"] + given[end:])
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        _silence()
        return 141
    except KeyboardInterrupt:
        console.complain("interrupted", debug)
        return 130
    except Exception as error:
        message = _message(error)
        if message is None:
            raise
        if isinstance(error, OSError):
            _silence()
        if debug:
            traceback.print_exc()
        console.complain(f"error: {message}", debug)
        return 2


def _run(arguments: list[str]) -> int:
    command: Any = get_command(whole_app())
    try:
        with command.make_context("zoo", arguments) as context:
            command.invoke(context)
    except typer.Exit as done:
        return done.exit_code
    except typer.Abort:
        raise KeyboardInterrupt from None
    return 0


def _message(error: Exception) -> str | None:
    """What to tell the user in one line, or None for a defect of ours."""
    if isinstance(error, ZooError):
        return str(error)
    if isinstance(error, UsageError):
        return _usage(error)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"can't write the output: {error.strerror}"
    if is_shortage(error):
        return "the device has too little memory; try a smaller --batch-size or model, or --device cpu"
    return None


def _usage(error: Any) -> str:
    """typer's own errors, in our words."""
    context = error.ctx
    verb = context.command_path if context else "zoo"
    name = getattr(error, "option_name", None)
    if context and name and "no such option" in error.format_message().lower():
        known = {text for parameter in context.command.params for text in (*parameter.opts, *parameter.secondary_opts)}
        return str(unknown("option", name, {text for text in known if text.startswith("-")}, f"(see '{verb} --help')"))
    text: str = error.format_message().rstrip(".")
    return f"{text[:1].lower()}{text[1:]} (see '{verb} --help')"


def _silence() -> None:
    """Nobody reads stdout any more (`zoo list | head -1`), or it is full: let the interpreter end without complaint."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
