"""The `modelsum` group: finds the command, and turns every error into a message and an exit code."""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from typing import ClassVar

import click

from modelsum.errors import ModelsumError, UsageError, did_you_mean
from modelsum.raised import fault
from modelsum.version import __version__

INTERRUPTED = 130
#: Set by a shell that asks click how a line could go on.
COMPLETING = "_MODELSUM_COMPLETE"
#: What systems refuse wherever it comes: a name that no file can have, and a disk that has no room.
_OF_THE_USER = (errno.ENAMETOOLONG, errno.ENOSPC)
#: How many characters of a name that is too long are repeated.
_SHOWN = 80


class _Commands(click.Group):
    """Commands by name; a command's file is imported when it is called."""

    modules: ClassVar = (
        *("show", "compare", "diff", "fit", "generate", "measure", "check", "sweep", "list", "cache"),
    )

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.modules)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in self.modules:
            return None
        command: click.Command = importlib.import_module(f"modelsum.cli.{name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        unknown = args and args[0] not in self.modules and not args[0].startswith("-")
        if unknown and not ctx.resilient_parsing:  # as while a shell completes a line
            hint = did_you_mean(args[0], self.modules) or f"Commands are {', '.join(self.modules)}."
            raise click.UsageError(f"no command {args[0]!r}. {hint}", ctx)
        return super().resolve_command(ctx, args)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", prog_name="modelsum")
def group() -> None:
    """What a PyTorch model costs before anyone runs it.

    \b
    modelsum show resnet50 --input 3x224x224
    modelsum compare mobilenet_v2 squeezenet1_0
    modelsum list 'mobilenet*'
    """


def run(arguments: Sequence[str]) -> int:
    """Run one command line; results on stdout, everything else on stderr. Returns the exit code."""
    debug = "--debug" in arguments
    if COMPLETING in os.environ:
        from modelsum.cli import bash

        bash.register()
    try:
        code = group.main(list(arguments), prog_name="modelsum", standalone_mode=False)
    except ModelsumError as error:
        _complain(error.message, error.hint, debug)
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        _complain("interrupted", None, debug)
        return INTERRUPTED
    except BrokenPipeError:
        return 0  # of --help, say; a result that nobody reads any more is seen to in `output`
    except (Exception, SystemExit) as error:
        if isinstance(error, SystemExit) and COMPLETING in os.environ:
            return 0  # click has answered the shell
        if isinstance(error, OSError) and error.errno in _OF_THE_USER:
            _complain(
                ": ".join(filter(None, (error.strerror, str(error.filename or "")[:_SHOWN]))), None, debug
            )
            return UsageError.exit_code
        unforeseen = fault(error)
        _complain(unforeseen.message, unforeseen.hint, debug)
        return unforeseen.exit_code
    return code if isinstance(code, int) else 0


def _complain(message: str, hint: str | None, debug: bool) -> None:
    if debug:
        traceback.print_exc()
    if sys.stdout is not None:
        with contextlib.suppress(OSError):  # what could not be written has been told, or is
            sys.stdout.flush()
    print(f"modelsum: error: {message}", file=sys.stderr)
    if hint:
        print(hint, file=sys.stderr)
