"""Recipes: the public commands chained, each step run only when something it depends on has changed.

1. A **recipe** (`recipes`) is a plain function from an output folder to a tuple of steps. `quickstart` is one.
2. A **step** (`steps`) is one public command with its options, the files it reads and the files it writes. It runs as a
   subprocess with ``--json``: what it says is streamed to stderr, its last line is its result.
3. `state` remembers in ``<out>/workflow.json`` what a step was made from: command, options, version, and a fingerprint of
   every input. A step whose inputs and outputs are as recorded is skipped; an interrupted one goes on where it can.
4. `report` turns the results into one self-contained page, ``<out>/report.html``; `curve` draws its plots, `page` its frame.
5. `run` is the command: ``python -m workflows.run quickstart``.

Imports: `shards` only. The other packages are reached through their commands, and nothing imports this one.
"""
