"""Sections of `schema.toml`, read key by key; what is wrong is told, with what was probably meant."""

from difflib import get_close_matches
from typing import Any

from training.data.folder.problems import SCHEMA_FILE, Problems, shown


def near(name: str, known: tuple[str, ...] | list[str]) -> str:
    """What was probably meant, or else all that is known."""
    if found := get_close_matches(name, known, n=1):
        return f"did you mean '{found[0]}'?"
    return f"there are: {', '.join(known)}"


class Section:
    """A table of the TOML file, read key by key."""

    def __init__(self, place: str, values: Any, problems: Problems) -> None:
        self.place, self.problems = place, problems
        self.values: dict[str, Any] = values if isinstance(values, dict) else {}
        if not isinstance(values, dict):
            problems.error(SCHEMA_FILE, f"'{place}' is {shown(values)}; make it a section [{place}]")

    def refuse(self, key: str, what: str) -> None:
        """Tells what is wrong with a key."""
        where = f"[{self.place}] " if self.place else ""
        self.problems.error(SCHEMA_FILE, f"{where}{key} {what}")

    def known(self, keys: tuple[str, ...]) -> None:
        """Tells keys that there are not."""
        for key in self.values:
            if key not in keys:
                self.refuse(key, f"is not known; {near(key, keys)}")

    def text(self, key: str, required: bool = False) -> str | None:
        """A text that is not empty; None where there is none, told where it must be there."""
        value = self.values.get(key)
        if value is None:
            if required:
                self.refuse(key, "is missing; add it")
        elif not isinstance(value, str) or not value:
            self.refuse(key, f"is {shown(value)}; give it a text in quotes")
        else:
            return value
        return None

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts, empty where there is none."""
        values = self.values.get(key, [])
        if isinstance(values, list) and all(isinstance(one, str) for one in values) and len(set(values)) == len(values):
            return tuple(values)
        self.refuse(key, f"is {shown(values)}; give it a list of texts, each once")
        return ()

    def separator(self) -> str | None:
        """One ASCII character; None where there is none."""
        value = self.text("separator")
        if value and len(value.encode()) > 1:
            self.refuse("separator", f"is {shown(value)}; give it one ASCII character")
            return None
        return value

    def section(self, key: str) -> "Section":
        """A section inside, told where it is not there."""
        if key not in self.values:
            self.refuse(key, f"is missing; add a section [{key}]")
        return Section(f"{self.place}.{key}" if self.place else key, self.values.get(key, {}), self.problems)
