"""What can go wrong in a workflow; each class owns the exit code of the command that meets it.

shards.errors.WordloomError
└── WorkflowError        40   anything below
    ├── StateError       41   a workflow.json that is damaged, or that belongs to another recipe
    ├── ReportError      42   a file the report is made from does not hold what its step wrote
    └── StepError        43   a step failed; the exit code is the step's own where it has one
"""

from __future__ import annotations

from shards.errors import WordloomError


class WorkflowError(WordloomError):
    exit_code = 40


class StateError(WorkflowError):
    exit_code = 41


class ReportError(WorkflowError):
    exit_code = 42


class StepError(WorkflowError):
    exit_code = 43

    def ending_with(self, code: int) -> StepError:
        """Return this error with the exit code of the command that failed."""
        self.exit_code = code
        return self
