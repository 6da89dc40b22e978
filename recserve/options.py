"""Options of a command: the fields of its dataclass, with their types, defaults and docstrings; argparse reads them.

A field `max_epochs` is the option --max-epochs, one that is marked `Positional` stands without a name, and the fields
of a dataclass in a field `config` are --config.<field>. The string below a field is its help.
"""

import argparse
import ast
import dataclasses
import difflib
import inspect
import shutil
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, NoReturn, TypeVar, Union, get_args, get_origin, get_type_hints

Made = TypeVar("Made")
Value = TypeVar("Value")

_POSITIONAL = "positional"
Positional = Annotated[Value, _POSITIONAL]
"""`Positional[Path]` marks a field that is given without the name of an option."""

_NAMES: dict[type, str] = {int: "INT", float: "FLOAT", str: "TEXT", Path: "PATH"}
_WANTED: dict[type, str] = {int: "a whole number", float: "a number", str: "text", Path: "a path"}
_HELP_COLUMN = 36

_Values = dict[tuple[str, ...], Any]
"""Path of fields -> value."""


class Kind(NamedTuple):
    """What a field takes."""

    scalar: type
    choices: tuple[str, ...] = ()
    """All that may be said, where a type names them."""
    number: int | Literal["*"] | None = None
    """How many values a tuple has, "*" for any number; None for one value and no tuple."""

    def of(self, value: Any) -> Any:
        """What argparse read, as the field has it."""
        return value if self.number is None else tuple(value)


class Option(NamedTuple):
    """One field on the command line."""

    path: tuple[str, ...]
    """Names of the fields that lead to it."""
    kind: Kind
    positional: bool
    default: Any
    """`dataclasses.MISSING` where it must be given."""
    help: str

    @property
    def name(self) -> str:
        """As the user writes it; a switch that is on by default is turned off by --no-<field>."""
        if self.positional:
            return self.path[-1].upper()
        *before, last = (part.replace("_", "-") for part in self.path)
        off = self.kind.scalar is bool and self.default is True
        return f"--{'.'.join((*before, f'no-{last}' if off else last))}"

    @property
    def metavar(self) -> str:
        """What stands for the value in help texts."""
        return f"{{{','.join(self.kind.choices)}}}" if self.kind.choices else _NAMES[self.kind.scalar]

    @property
    def text(self) -> str:
        """Help, with what holds where the option is left out."""
        if self.default is dataclasses.MISSING:
            chosen = f" (one of {', '.join(self.kind.choices)})" if self.positional and self.kind.choices else ""
            return f"{self.help}{chosen} (required)"
        if self.default is None or self.default == () or self.kind.scalar is bool:
            return self.help
        values = self.default if isinstance(self.default, tuple) else (self.default,)
        return f"{self.help} (default: {' '.join(map(str, values))})"


def parse(made: type[Made], words: Sequence[str], program: str) -> Made:
    """An instance of a dataclass from the words behind `program`.

    Raises ValueError naming the option and what to do, and SystemExit after --help.
    """
    options = options_of(made)
    parser = _parser(made, options, program)
    try:
        given, unknown = parser.parse_known_intermixed_args(words)
    except argparse.ArgumentError as error:
        raise ValueError(f"{error.argument_name}: {error.message}; see {program} --help") from error
    if unknown:
        raise ValueError(f"{_unknown(unknown, options)}; see {program} --help")
    values = {
        option.path: option.kind.of(value) for option in options if (value := getattr(given, _key(option))) is not None
    }
    missing = [option for option in options if option.default is dataclasses.MISSING and option.path not in values]
    if missing:
        named = ", ".join(one.name if one.positional else f"{one.name} {one.metavar}" for one in missing)
        raise ValueError(f"Missing from {program}: {named}; see {program} --help")
    return _build(made, values)


def options_of(made: type, start: Any = None, path: tuple[str, ...] = ()) -> list[Option]:
    """All options of a dataclass, those of dataclasses in its fields last; `start`: an instance that has the defaults.

    Raises TypeError for a type that no option can hold.
    """
    hints, helps = get_type_hints(made, include_extras=True), _helps(made)
    own: list[Option] = []
    nested: list[Option] = []
    for field in dataclasses.fields(made):
        hint, place = hints[field.name], (*path, field.name)
        default = _default(field) if start is None else getattr(start, field.name)
        if dataclasses.is_dataclass(hint):
            assert isinstance(hint, type)
            nested += options_of(hint, default, place)
            continue
        positional = get_origin(hint) is Annotated and _POSITIONAL in hint.__metadata__
        kind = _kind(get_args(hint)[0] if positional else hint, ".".join(place))
        own.append(Option(place, kind, positional, default, helps.get(field.name, "")))
    return own + nested


def positionals(made: type) -> str:
    """What stands without a name, for a line of usage."""
    return " ".join(option.name for option in options_of(made) if option.positional)


class Named(NamedTuple):
    """A path that was given."""

    option: str
    path: Path


def naming(made: Any, path: Path) -> Named | None:
    """The option by which a file or folder was named, the one above it, or one within it; None for none of them."""
    found = [
        Named(option.name, value)
        for option in options_of(type(made))
        if len(option.path) == 1 and isinstance(value := getattr(made, option.path[0]), Path)
    ]
    above = [one for one in found if path.is_relative_to(one.path)]
    # Of a folder that cannot be made, the system names the first one above it that is not there.
    below = [one for one in found if one.path.is_relative_to(path)]
    return max(above or below, key=lambda one: len(one.path.parts), default=None)


def near(word: str, known: Sequence[str]) -> str:
    """`; did you mean ...?` where something known is close to a word, else nothing."""
    found = difflib.get_close_matches(word, known, n=3)
    return f"; did you mean {' or '.join(found)}?" if found else ""


def paragraphs(text: str) -> str:
    """A docstring, filled to the width of the terminal."""
    width = min(shutil.get_terminal_size().columns, 120) - 2
    parts = (" ".join(part.split()) for part in text.split("\n\n"))
    return "\n\n".join(textwrap.fill(part, width, break_on_hyphens=False) for part in parts)


def _default(field: "dataclasses.Field[Any]") -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _kind(hint: Any, where: str) -> Kind:
    """Raises TypeError for a type that no option can hold."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        (hint,) = [one for one in arguments if one is not NoneType]
        return _kind(hint, where)
    if origin is Literal:
        return Kind(str, tuple(arguments))
    if origin is tuple:
        scalar = _kind(arguments[0], where)
        return scalar._replace(number="*" if arguments[-1] is Ellipsis else len(arguments))
    if hint not in (bool, *_NAMES):
        raise TypeError(f"{where}: no option can hold {hint}")
    return Kind(hint)


def _helps(made: type) -> dict[str, str]:
    """Field -> the string below it, over the class and those that it extends."""
    found: dict[str, str] = {}
    for one in reversed(made.__mro__):
        try:
            (tree,) = ast.parse(textwrap.dedent(inspect.getsource(one))).body
        except (OSError, TypeError):  # a built-in class, or one that make_dataclass made, which has no source
            continue
        assert isinstance(tree, ast.ClassDef)
        for field, below in zip(tree.body, tree.body[1:], strict=False):
            match field, below:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    found[name] = " ".join(text.split())
    return found


class _Parser(argparse.ArgumentParser):
    """Raises ValueError where argparse would print its usage and exit."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message}; see {self.prog} --help")


def _parser(made: type, options: Sequence[Option], program: str) -> argparse.ArgumentParser:
    positional = positionals(made)
    parser = _Parser(
        program,
        usage=f"{program} {positional}{' ' * bool(positional)}[options]",
        description=paragraphs(inspect.getdoc(made) or ""),
        formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, max_help_position=_HELP_COLUMN),
        add_help=False,
        allow_abbrev=False,
        exit_on_error=False,
    )
    arguments, named = parser.add_argument_group("arguments"), parser.add_argument_group("options")
    named.add_argument("-h", "--help", action="help", help="This text.")
    nested: dict[str, argparse._ArgumentGroup] = {}
    for option in options:
        if len(option.path) > 1 and option.path[0] not in nested:
            nested[option.path[0]] = parser.add_argument_group(option.path[0])
        group = nested[option.path[0]] if len(option.path) > 1 else arguments if option.positional else named
        _add(group, option)
    return parser


def _add(group: "argparse._ArgumentGroup", option: Option) -> None:
    text = option.text.replace("%", "%%")
    if option.kind.scalar is bool:
        value = option.default is not True
        group.add_argument(option.name, dest=_key(option), action="store_const", const=value, help=text)
        return
    convert, choices = _converter(option.kind.scalar), option.kind.choices or None
    if option.positional:
        # argparse may not demand it: `parse` does, as it does for options.
        number = "*" if option.kind.number else "?"
        group.add_argument(_key(option), metavar=option.name, nargs=number, type=convert, choices=choices, help=text)
        return
    group.add_argument(
        option.name,
        dest=_key(option),
        metavar=option.metavar,
        nargs=option.kind.number,
        type=convert,
        choices=choices,
        help=text,
    )


def _key(option: Option) -> str:
    return ".".join(option.path)


def _converter(scalar: type) -> Callable[[str], Any]:
    def convert(text: str) -> Any:
        try:
            return scalar(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"'{text}' is not {_WANTED[scalar]}") from error

    return convert


def _unknown(words: Sequence[str], options: Sequence[Option]) -> str:
    word = next((word for word in words if word.startswith("-")), words[0]).partition("=")[0]
    if not word.startswith("-"):
        return f"nothing is expected where '{word}' stands"
    return f"there is no option {word}{near(word, [option.name for option in options if not option.positional])}"


def _build(made: type[Made], values: _Values) -> Made:
    """Of the values given; the rest are the defaults, of a dataclass in a field those of its default there."""
    own, nested = _apart(values)
    defaults = {field.name: _default(field) for field in dataclasses.fields(made)}  # pyright: ignore[reportArgumentType]
    return made(**own, **{name: _changed(defaults[name], inner) for name, inner in nested.items()})


def _changed(start: Any, values: _Values) -> Any:
    own, nested = _apart(values)
    changed = {name: _changed(getattr(start, name), inner) for name, inner in nested.items()}
    return dataclasses.replace(start, **own, **changed)


def _apart(values: _Values) -> tuple[dict[str, Any], dict[str, _Values]]:
    """Values of own fields, and those of dataclasses in fields."""
    own = {
        path[0]: tuple(value) if isinstance(value, list) else value for path, value in values.items() if not path[1:]
    }
    nested: dict[str, _Values] = {}
    for (name, *rest), value in values.items():
        if rest:
            nested.setdefault(name, {})[tuple(rest)] = value
    return own, nested
