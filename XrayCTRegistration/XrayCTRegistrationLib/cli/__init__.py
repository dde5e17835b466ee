"""The command line, `xrayct`. Modules of commands import torch and the like only when a command runs, so that --help
is quick."""

from __future__ import annotations

import gc
import logging
import sys
import warnings
from typing import Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperGroup

from ..errors import InputError
from .calibrate import calibrate
from .console import NoteHandler, say
from .demo import demo
from .evaluate import evaluate
from .exit_codes import BAD_INPUT, INTERRUPTED
from .register import register
from .simulate import simulate
from .train import adapt, train

_OBJECTS_BETWEEN_COLLECTIONS = 100_000  # Python's own 700 suit programs that load less


class _Commands(TyperGroup):
    """Runs a command, shows the library's log as notes, and turns errors into one message and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        log = logging.getLogger(__package__.rpartition(".")[0])
        handler, level = NoteHandler(), log.level
        log.addHandler(handler)
        log.setLevel(logging.INFO)
        try:
            with warnings.catch_warnings():
                if not sys.warnoptions:
                    warnings.simplefilter("ignore")  # they speak to programmers: what people must know is logged
                return super().invoke(ctx)
        except InputError as error:
            _say(str(error))
            raise typer.Exit(BAD_INPUT) from None
        except BrokenPipeError:  # the reader of a pipe has left, which is no one's error
            raise
        except OSError as error:
            name = f"{error.filename}: " if error.filename else ""
            _say(f"{name}{error.strerror or error}. Check the path, its permissions and the space on the disk.")
            raise typer.Exit(BAD_INPUT) from None
        except MemoryError:
            _say("There is not enough memory for this. Close other programs, or resample the CT to larger voxels.")
            raise typer.Exit(BAD_INPUT) from None
        except KeyboardInterrupt:
            _say("Interrupted before there was anything to keep. Nothing was written.")
            raise typer.Exit(INTERRUPTED) from None
        finally:
            log.removeHandler(handler)
            log.setLevel(level)


def _print_version(wanted: bool) -> None:
    if wanted:
        from .. import __version__

        typer.echo(f"xrayct {__version__}")
        raise typer.Exit


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Find where a CT stands in one or more X-ray images (rigid 2D/3D registration).\n\n"
    "Files are in patient coordinates as DICOM has them (LPS), lengths in millimetres, angles in degrees. "
    "Start with: xrayct demo",
)


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


for _command in (demo, register, simulate, evaluate, calibrate, train, adapt):
    app.command()(_command)


def main() -> None:
    """Entry point of `xrayct`.

    Python looks for cyclic garbage again and again while modules are loaded, and at the end takes all of them apart:
    together a fifth of a registration, for half a million objects that are needed until the process ends.
    """
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
    try:
        app(prog_name="xrayct")
    finally:
        gc.freeze()


def _say(message: str) -> None:
    say(message, "Error: ", "bold red", Console(stderr=True))
