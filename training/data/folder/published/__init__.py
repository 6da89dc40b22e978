"""Files in a form that others publish, as tables of events: `[events] format = "..."`, or by their ending."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import polars as pl

from training.data.folder import sessions
from training.data.folder.problems import Problems
from training.data.folder.published import pykt, robomission


class Form(NamedTuple):
    """One of them."""

    columns: tuple[str, ...]
    """Of the table."""
    read: Callable[[Path, Problems], pl.DataFrame | None]
    """The table; None, with the problem told, where the file is not in this form."""
    typed: bool
    """Whether its columns have types; else everything is text."""


SESSIONS = Form(sessions.COLUMNS, sessions.sessions, typed=True)
FORMS = {
    "pykt": Form(pykt.COLUMNS, pykt.answers, typed=False),
    "robomission": Form(robomission.COLUMNS, robomission.attempts, typed=False),
}


def proposed(folder: Path, name: str) -> str | None:
    """A schema for the files of a folder that are in such a form; None where there are none."""
    return next((found for one in (sessions, pykt, robomission) if (found := one.proposed(folder, name))), None)
