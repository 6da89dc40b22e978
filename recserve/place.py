"""Where a command is, and what it is in one line, without importing it."""

from collections.abc import Mapping
from typing import NamedTuple


class Place(NamedTuple):
    """A command that is not imported yet."""

    description: str
    """The first line of its docstring."""
    where: str
    """package.module:Class"""


class Group(NamedTuple):
    """A command that has commands."""

    description: str
    members: "Mapping[str, Place | Group]"
    made: str | None = None
    """package.module:function that gives further members, class by name, for what is registered elsewhere."""
    itself: Place | None = None
    """The command that a word is for which is no member's name."""
