"""``python -m workflows.run RECIPE``: run the steps of a recipe that have to run, then write its report."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shards.cli import Interrupted, Outcome, new_parser, run

if TYPE_CHECKING:
    from workflows.state import State
    from workflows.steps import Step

COMMAND = "workflows.run"
RUN_LOCK = ".lock"


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command; its flags are frozen by a test."""
    parser = new_parser(
        COMMAND, "Run a recipe: text, data set, pretraining, score, report. Steps that are up to date are skipped."
    )
    parser.add_argument("recipe", nargs="?", metavar="RECIPE", default=argparse.SUPPRESS, help="name of a recipe, see --list")
    parser.add_argument(
        "--out", metavar="DIR", default=argparse.SUPPRESS, help="folder for everything the recipe makes (default: ./RECIPE)"
    )
    parser.add_argument(
        "--force", action="store_true", help="run every step, and replace what an earlier call of this recipe made"
    )
    parser.add_argument("--list", action="store_true", help="list the recipes")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    return run(COMMAND, build_parser(), _body, argv)


def _body(options: argparse.Namespace) -> Outcome:
    from shards.errors import UsageError
    from workflows.recipes import RECIPES, description, find_recipe

    if options.list:
        for name, recipe in sorted(RECIPES.items()):
            print(f"{name:12}  {description(recipe)}")
        return Outcome(figures={"recipes": {name: description(recipe) for name, recipe in sorted(RECIPES.items())}})
    given = vars(options)
    if "recipe" not in given:
        raise UsageError("no recipe named", hint=f"Known: {', '.join(sorted(RECIPES))}")
    name = given["recipe"]
    recipe, out = find_recipe(name), Path(given.get("out", name))
    return execute(name, recipe(out), out, force=options.force)


def execute(name: str, steps: Sequence[Step], out: Path, *, force: bool = False) -> Outcome:
    """Run the steps of recipe `name` that have to run, one after the other, and write the report.

    Raises StepError with the exit code of the first step that fails, StateError, ReportError, LockedError when another
    process works in `out`, Interrupted after a signal.
    """
    from shards.lock import exclusive, lock_path
    from workflows.report import write_report
    from workflows.state import State

    begun = time.monotonic()
    with exclusive(lock_path(out)):
        state = State(out, name)
        print(f"{name}: {len(steps)} steps, everything below {out}/", flush=True)
        ran: dict[str, dict[str, Any]] = {}
        for number, step in enumerate(steps, 1):
            try:
                ran[step.name] = _bring_up_to_date(step, state, f"[{number}/{len(steps)}] {step.name}:", force=force)
            except Interrupted as stop:
                hint = f"{stop.hint}. Finished steps are kept; the same command goes on from there"
                raise Interrupted(stop.exit_code - 128, hint) from None
        report = write_report(name, state, [step.name for step in steps])
    executed = sum(not entry["skipped"] for entry in ran.values())
    elapsed_s = time.monotonic() - begun
    print(f"{executed} steps run, {len(steps) - executed} up to date, {elapsed_s:.0f} s")
    if report.headline:
        print("results: " + ", ".join(f"{name} {value:.4g}" for name, value in report.headline.items()))
    print(f"report {'written to' if report.written else 'unchanged:'} {report.path}", flush=True)
    figures = {"steps": ran, "steps_run": executed, "report_written": report.written, "elapsed_s": round(elapsed_s, 3)}
    return Outcome(fingerprint=report.fingerprint, outputs=(str(report.path),), figures=figures | {"results": report.headline})


def _bring_up_to_date(step: Step, state: State, label: str, *, force: bool) -> dict[str, Any]:
    from workflows.steps import run_step

    identity = state.identity(step)
    reason = "--force" if force else state.reason_to_run(step, identity)
    done = state.done(step.name)
    if reason is None and done is not None:
        print(f"{label} up to date, skipped ({done['elapsed_s']:.1f} s when it ran)", flush=True)
        return {"skipped": True, "elapsed_s": done["elapsed_s"], "fingerprint": done["report"].get("fingerprint")}
    print(f"{label} {step.command_line()}\n    ({reason})", flush=True)
    again = state.started(step.name) is not None
    _clear_run(step, state, identity, force=force)
    state.begin(step, identity)
    result = run_step(step, again=again)
    state.finish(step, identity, result)
    print(f"{label} done in {result.elapsed_s:.1f} s", flush=True)
    return {"skipped": False, "elapsed_s": round(result.elapsed_s, 3), "fingerprint": result.report.get("fingerprint")}


def _clear_run(step: Step, state: State, identity: Mapping[str, Any], *, force: bool) -> None:
    """Remove a training run that this step can neither go on with nor add to; one that this workflow did not make stays."""
    from shards.canonical import read_json_object
    from shards.durable import remove_tree
    from shards.errors import FormatError, NotFoundError
    from shards.lock import exclusive
    from workflows.state import RUN

    folder, before = step.run_folder, state.started(step.name)
    if folder is None or before is None or not folder.is_dir():
        return
    try:
        finished = read_json_object(folder / RUN).get("state") == "finished"
    except (FormatError, NotFoundError):
        finished = False
    if before == identity and not finished and not force:
        return
    print(f"    replacing {folder}, which an earlier call made", flush=True)
    with exclusive(folder / RUN_LOCK):  # refuses while a training process of that run is still alive
        remove_tree(folder)


if __name__ == "__main__":
    raise SystemExit(main())
