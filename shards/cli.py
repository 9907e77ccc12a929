"""How every command starts, reports and fails.

A command is a parser and a body. The body gets the parsed options, prints what a person wants to read, and returns an
`Outcome`. With ``--json`` everything printed goes to stderr (at the level of file descriptors, so that libraries and child
processes are caught too) and stdout gets one object as its only and last line. Errors of the project's own tree become one
line and their exit code; ``--debug`` adds the traceback.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from shards import __version__
from shards.errors import WordloomError

EXIT_INTERRUPTED = 128 + signal.SIGINT
EXIT_TERMINATED = 128 + signal.SIGTERM


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a command has to say for itself; becomes the object printed by ``--json``."""

    fingerprint: str | None = None
    outputs: tuple[str, ...] = ()
    figures: Mapping[str, Any] = field(default_factory=dict)
    exit_code: int = 0


class Interrupted(BaseException):
    """A signal that the command answered in order: it saved what there was to save.

    Raised from signal handlers too, so it is no `Exception`: like KeyboardInterrupt it must pass by every handler on its way.
    `hint` tells how to go on; `exit_code` is 128 + the signal's number.
    """

    def __init__(self, signal_number: int, hint: str) -> None:
        self.exit_code, self.hint = 128 + signal_number, hint
        super().__init__(hint)


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, like every other error of the project."""

    def error(self, message: str) -> NoReturn:
        print(f"error: {message}. See: {self.prog} --help", file=sys.stderr)
        raise SystemExit(2)


def new_parser(command: str, description: str) -> Parser:
    """Return a parser for ``python -m <command>`` that knows --json and --debug."""
    parser = Parser(
        prog=f"python -m {command}", description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,  # a flag is read the same wherever arguments are looked at, and a new one breaks no command
    )  # fmt: skip
    parser.add_argument(
        "--json", action="store_true", help="print one summary object as the last line of stdout, all else on stderr"
    )
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def run(
    command: str,
    parser: argparse.ArgumentParser,
    body: Callable[[argparse.Namespace], Outcome],
    argv: Sequence[str] | None = None,
) -> int:
    """Parse, run and report; return the exit code. Raises SystemExit only for --help and unusable options."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    wants_json = "--json" in arguments
    real_stdout = _send_stdout_to_stderr() if wants_json else None
    report: dict[str, Any] = {
        "command": command,
        "version": __version__,
        "ok": False,
        "fingerprint": None,
        "outputs": [],
        "figures": {},
    }
    try:
        code = _attempt(parser, body, arguments, report)
    finally:
        if real_stdout is not None:
            sys.stdout.flush()
            os.dup2(real_stdout, 1)
            os.close(real_stdout)
    if wants_json:
        print(json.dumps(report, ensure_ascii=False, allow_nan=False), flush=True)
    return code


def _send_stdout_to_stderr() -> int:
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    return kept


def _attempt(
    parser: argparse.ArgumentParser,
    body: Callable[[argparse.Namespace], Outcome],
    arguments: list[str],
    report: dict[str, Any],
) -> int:
    debug = "--debug" in arguments

    def fail(text: str, code: int) -> int:
        if debug:
            traceback.print_exc()
        print(text, file=sys.stderr, flush=True)
        report["error"] = text
        return code

    try:
        outcome = body(parser.parse_args(arguments))
    except WordloomError as error:
        return fail(f"error: {error}", error.exit_code)
    except Interrupted as stop:
        return fail(f"stopped: {stop.hint}", stop.exit_code)
    except KeyboardInterrupt:
        return fail("stopped: interrupted before anything was committed", EXIT_INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the reader is gone: nothing more to say, and no noise at exit
        return 0
    except OSError as error:
        return fail(f"error: {error.strerror or error}: {error.filename or 'unnamed file'}", 9)
    except Exception as error:  # a mistake of ours: one line, but say that it is one and how to see more
        where = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{os.path.basename(where.filename)}:{where.lineno}"
        return fail(f"internal error: {type(error).__name__}: {error} (at {place}). Run again with --debug and report it", 1)
    report.update(
        ok=outcome.exit_code == 0,
        fingerprint=outcome.fingerprint,
        outputs=list(outcome.outputs),
        figures=dict(outcome.figures),
    )
    return outcome.exit_code
