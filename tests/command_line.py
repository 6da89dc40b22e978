"""What the command line really has: commands, and the options of each, out of its registry and its own help."""

import contextlib
import functools
import io
import itertools
import re

from recserve.cli import main, members_of
from recserve.registry import COMMANDS, Group

ITSELF = "MODEL"
"""Stands for what may follow a group that is a command too."""


@functools.cache
def commands_of(*path: str) -> tuple[str, ...]:
    """The words that may follow a group; empty for a command."""
    found = COMMANDS
    for name in path:
        found = members_of(found).get(name) if isinstance(found, Group) else found
    if not isinstance(found, Group):
        return ()
    return (*members_of(found), *([ITSELF] if found.itself else []))


@functools.cache
def options_of(*path: str) -> frozenset[str]:
    """The options of a command, --debug among them, which every command takes."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        main([*path, "--help"])
    return frozenset({"--debug", *re.findall(r"(?<![\w-])--[a-z][\w.-]*", said.getvalue())})


def all_paths(*path: str) -> list[tuple[str, ...]]:
    """Every command."""
    names = commands_of(*path)
    return [found for name in names for found in all_paths(*path, name)] if names else [path]


def unknown(words: str) -> list[str]:
    """What of `recserve WORDS` does not exist: a word of a group, or an option. `a|b` stands for both, and a word in
    capitals for any command of its group."""
    choices = [[word] if word.startswith("-") else word.split("|") for word in words.split()]
    return [fault for one in itertools.product(*choices) for fault in _unknown(list(one))]


def _unknown(words: list[str]) -> list[str]:
    path: tuple[str, ...] = ()
    while words and (names := commands_of(*path)):
        name = words.pop(0)
        if ITSELF in names and name not in names:
            name = ITSELF
        if name.isupper() or re.fullmatch(r"<.*>|\w+_<\w+>", name):
            name = ITSELF if ITSELF in names else names[0]
        if name not in names:
            return [" ".join((*path, name))]
        path += (name,)
    options = [word.partition("=")[0] for word in words if word.startswith("--")]
    return [" ".join((*path, one)) for one in options if one not in options_of(*path)]
