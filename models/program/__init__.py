"""An app's rules as TOML: metrics, streaks, points, achievements, leaderboards, emails.

`load_program` and `read_program` return a checked, frozen `Program` or raise one `ProgramError`
with everything that is wrong. `compare_programs` says what a new version changes.
"""

from models.program.changes import Change, compare_programs
from models.program.errors import Problem, ProgramError
from models.program.loading import load_program, read_program
from models.program.schema import Program

__all__ = [
    "Change",
    "Problem",
    "Program",
    "ProgramError",
    "compare_programs",
    "load_program",
    "read_program",
]
