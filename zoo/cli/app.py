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
from collections.abc import Sequence
from typing import Any

import click

from zoo import registry
from zoo.cli import cache, console, eval, import_, publish, sample, show, train, weights
from zoo.errors import ZooError, is_shortage, unknown

COMPLETE = "_ZOO_COMPLETE"  # set by a shell that wants to know what could come next
# A disk that is full, a limit on the size of files, a terminal that is gone, a stream that can't be written.
UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)

# Places that a user named and may not use: of somebody else, on a disk that can't be written, with a name that is none.
UNUSABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.ENOTDIR)

VERBS: dict[str, click.Command] = {
    "list": show.list_models,
    "info": show.info,
    "sample": sample.sample,
    "train": train.train,
    "eval": eval.evaluate,
    "datasets": show.datasets,
    "plugins": show.plugins,
    "download": weights.download,
    "cache": cache.cache,
    "import": import_.import_,
    "publish": publish.publish,
    "check": weights.check,
}


class Verbs(click.Group):
    """All verbs in the order of their lists; a misspelt one gets the nearest, in the words of other unknown names."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            raise unknown("verb", args[0], self.commands, "(see 'zoo --help')")
        return super().resolve_command(ctx, args)


@click.group(
    "zoo",
    cls=Verbs,
    invoke_without_command=True,
    epilog="Example: zoo sample pixelcnn --weights mnist -n 64 -o digits.png. "
    f'Completion in bash (likewise zsh, fish): eval "$({COMPLETE}=bash_source zoo)"',
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option("--version", is_flag=True, help="Print the version.")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def _zoo(ctx: click.Context, version: bool, debug: bool) -> None:
    """A plugin-based zoo of generative image and video models."""
    if version:
        from zoo.version import __version__

        click.echo(f"pixelzoo {__version__}")
    elif ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


@click.command("help")
@click.argument("verb", required=False)
@click.pass_context
def _help(ctx: click.Context, verb: str | None) -> None:
    """What a verb does, and its options."""
    assert ctx.parent is not None
    if verb is None:
        click.echo(ctx.parent.get_help())
        return
    app: Any = ctx.parent.command
    name, command, _ = app.resolve_command(ctx.parent, [verb])
    with click.Context(command, info_name=name, parent=ctx.parent) as context:
        click.echo(command.get_help(context))


def whole_app() -> click.Group:
    """The core's verbs and those of all plugins; one of a name that is taken is left out with a warning."""
    _zoo.commands = {**VERBS, "help": _help}
    taken = dict.fromkeys(_zoo.commands, "pixelzoo")
    for record in registry.plugins().records:
        theirs = click.Group()
        registry.ask(record, "zoo_commands", app=theirs)
        for name, command in theirs.commands.items():
            if name in taken:
                warnings.warn(f"verb '{name}' of {record.origin} is left out: {taken[name]} has it", stacklevel=2)
            else:
                taken[name] = record.origin
                _zoo.commands[name] = command
    return _zoo


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code. `--debug` counts wherever it stands."""
    _open_streams()
    given = list(sys.argv[1:] if arguments is None else arguments)
    end = given.index("--") if "--" in given else len(given)
    debug = "--debug" in given[:end]
    before, warnings.formatwarning = warnings.formatwarning, _warning
    try:
        code = _run([text for text in given[:end] if text != "--debug"] + given[end:])
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        _silence()
        return 141
    except KeyboardInterrupt:
        console.complain("interrupted")
        return 130
    except Exception as error:
        message = _message(error)
        if message is None:
            raise
        if isinstance(error, OSError) and error.errno in UNWRITABLE:
            _silence()
        if debug:
            traceback.print_exc()
        console.complain(f"error: {message}")
        return 2
    finally:
        warnings.formatwarning = before


def _warning(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> str:
    """What a user can mend as one line; others as Python shows them, with their place."""
    if category is UserWarning:
        return f"warning: {message}\n"
    return _USUAL(message, category, *where, **more)


_USUAL = warnings.formatwarning


def _run(arguments: list[str]) -> int:
    app = whole_app()
    if COMPLETE in os.environ:
        from click.shell_completion import shell_complete

        return shell_complete(app, {}, "zoo", COMPLETE, os.environ[COMPLETE])
    try:
        with app.make_context("zoo", arguments) as context:
            app.invoke(context)
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.Abort:
        raise KeyboardInterrupt from None
    return 0


def _message(error: Exception) -> str | None:
    """What to tell the user in one line, or None for a defect of ours."""
    if isinstance(error, ZooError):
        return str(error)
    if isinstance(error, click.UsageError):
        return _usage(error)
    if isinstance(error, OSError) and error.errno in UNWRITABLE:
        return f"can't write the output: {error.strerror}"
    if isinstance(error, OSError) and error.errno in UNUSABLE and error.filename:
        return f"can't use '{error.filename}': {error.strerror}"
    if is_shortage(error):
        return "the device has too little memory; try a smaller --batch-size or model, or --device cpu"
    return None


def _usage(error: click.UsageError) -> str:
    """click's own errors, in our words."""
    context = error.ctx
    verb = context.command_path if context else "zoo"
    if context and isinstance(error, click.NoSuchOption):
        known = {text for parameter in context.command.params for text in (*parameter.opts, *parameter.secondary_opts)}
        flags = {text for text in known if text.startswith("-")}
        return str(unknown("option", error.option_name, flags, f"(see '{verb} --help')"))
    text = error.format_message().rstrip(".")
    return f"{text[:1].lower()}{text[1:]} (see '{verb} --help')"


def _open_streams() -> None:
    """Streams that are closed (`zoo list >&-`) take everything, as /dev/null does."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115


def _silence() -> None:
    """Nobody reads stdout any more (`zoo list | head -1`), or it is full: let the interpreter end without complaint."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
