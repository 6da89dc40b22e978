"""The command line: `recserve COMMAND ...`; `--help` after any command says more.

Only the module of the chosen command is imported: `recserve --help` reads nothing but names.
"""

import importlib
import os
import signal
import sys
import textwrap
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from loadtest.failure import MeasurementError
from recserve.commands.command import Command
from recserve.options import naming, near, parse, positionals
from recserve.place import Group, Place
from recserve.registry import COMMANDS
from recserve_client.errors import ServingError
from serving.startup import StartupError

USE_ERROR = 2
SERVER_ERROR = 1
_HELP = ("-h", "--help")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code: 2 for an error of use, 1 for a server or a load that fails.

    Either is one line on standard error; --debug shows the traceback instead.
    """
    if threading.current_thread() is threading.main_thread():
        # As Ctrl-C does: what was started, a server or a load, is stopped before this process ends.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    made: Command | None = None
    try:
        made = command([word for word in words if word != "--debug"])
        return made.run()
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        if debug or not isinstance(error, _expected()):
            raise
        complain(" ".join(told(error, made).split()) or type(error).__name__)
        return SERVER_ERROR if isinstance(error, StartupError | MeasurementError) else USE_ERROR


def told(error: Exception, made: Command | None) -> str:
    """What went wrong; of a file or folder that the system refuses, by which option it was named."""
    if not isinstance(error, OSError) or error.filename is None or made is None:
        return str(error)
    path = Path(os.fsdecode(error.filename))
    if (named := naming(made, path)) is None:
        return str(error)
    inside = "" if named.path == path else f" ({path})"
    return f"{named.option} {named.path}: {error.strerror}{inside}; name another place"


def complain(text: str) -> None:
    """Prints an error as one line."""
    Console(stderr=True, soft_wrap=True).print(f"[red]error:[/] {escape(text)}", highlight=False)


def command(words: Sequence[str]) -> Command:
    """The command that the words name, with its options.

    Raises ValueError for words that are wrong, and SystemExit where --help was asked for.
    """
    found: Group | Place | type[Command] = COMMANDS
    program, rest = "recserve", list(words)
    while isinstance(found, Group):
        word = rest.pop(0) if rest else None
        members = found.members if word in found.members else members_of(found)
        if word in _HELP:
            _list(program, found, members)
            if found.itself and not positionals(class_of(found.itself)):
                Console().print()
                parse(class_of(found.itself), [_HELP[0]], program)
            raise SystemExit(0)
        if found.itself and word is not None and word not in members:
            return parse(class_of(found.itself), [word, *rest], program)
        if word is None or word not in members:
            raise ValueError(f"{_no_member(program, word, list(members))}; see {program} --help")
        found, program = members[word], f"{program} {word}"
    return parse(class_of(found), rest, program)


def members_of(group: Group) -> Mapping[str, Group | Place | type[Command]]:
    """The commands of a group by name; imports what those are made from that no name here lists."""
    made = _load(group.made)() if group.made else {}
    return {**made, **group.members}


def class_of(found: Place | type[Command]) -> type[Command]:
    """Imports a command where it is not yet."""
    return _load(found.where) if isinstance(found, Place) else found


def _expected() -> tuple[type[Exception], ...]:
    """What a user can cause; anything else is our fault and shows its traceback. Imported once something is raised."""
    from serving.histories.store import HistoryStoreError
    from serving.state.source import EncoderError
    from serving.state.states import StateStoreError

    return ValueError, OSError, ServingError, HistoryStoreError, StateStoreError, EncoderError, MeasurementError


def _load(where: str) -> Any:
    module, _, name = where.partition(":")
    return getattr(importlib.import_module(module), name)


def _no_member(program: str, word: str | None, names: list[str]) -> str:
    if word is None or word.startswith("-"):
        got = "nothing" if word is None else f"'{word}'"
        return f"{program} needs one of {', '.join(names)}; it got {got}"
    listed = f"; there are {', '.join(names)}"
    return f"{program} has no command '{word}'{near(word, names) or listed}"


def _list(program: str, group: Group, members: Mapping[str, Group | Place | type[Command]]) -> None:
    console = Console()
    console.print(f"usage: {program} COMMAND [options]", highlight=False, markup=False)
    if group.itself:
        one = class_of(group.itself)
        words = " ".join(filter(None, (program, positionals(one), "[options]")))
        console.print(f"       {words}", highlight=False, markup=False)
    console.print(f"\n{group.description}\n", highlight=False, markup=False)
    width = max(map(len, members))
    for name, one in members.items():
        line = f"  {name:{width}}  {description_of(one)}"
        filled = textwrap.fill(line, console.width, subsequent_indent=" " * (width + 4), break_on_hyphens=False)
        console.print(filled, highlight=False, markup=False)
    console.print(f"\n{program} COMMAND --help lists its options.", highlight=False, markup=False)


def description_of(one: Group | Place | type[Command]) -> str:
    """One line on a command or a group."""
    return (one.__doc__ or "").partition("\n")[0] if isinstance(one, type) else one.description
