"""The folders that somebody added under a name: `$RECSERVE_CACHE/folders.json`, or that in `~/.cache/recserve`."""

import json
import os
import tempfile
from pathlib import Path

from training.data.fetch import default_cache, locked
from training.data.folder.problems import SCHEMA_FILE


def register(name: str, folder: Path, *, replace: bool = False) -> None:
    """Adds a folder, with `replace` in place of another one of that name. Raises ValueError as `is_there` does."""
    if not replace:
        is_there(name, folder)
    _change(name, folder)


def is_there(name: str, folder: Path) -> bool:
    """Whether this very folder has the name. Raises ValueError where another one has it that is still there."""
    place = registered().get(name)
    if place is None or not place.is_dir():
        return False
    if not place.samefile(folder):
        raise ValueError(
            f"'{name}' is {place} already; choose another name in {folder / SCHEMA_FILE}, or say --replace"
        )
    return True


def forget(name: str) -> None:
    """Takes a folder out of the list, and leaves its files as they are. Raises ValueError for an unknown name."""
    if name not in registered():
        raise ValueError(f"no own data set is called '{name}'; `recserve data list` shows them")
    _change(name, None)


def registered() -> dict[str, Path]:
    """The absolute path of each, by name."""
    path = _file()
    if not path.is_file():
        return {}
    try:
        return {str(name): Path(folder) for name, folder in json.loads(path.read_text()).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} cannot be read ({error}); remove it and add your folders again") from error


def _file() -> Path:
    return default_cache().parent / "folders.json"


def _change(name: str, folder: Path | None) -> None:
    """Written beside the file and renamed, so that a reader never sees half of it."""
    path = _file()
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.with_suffix(".lock")):
        entries = {known: str(place) for known, place in registered().items() if known != name}
        if folder:
            entries[name] = str(folder.resolve())
        handle, fresh = tempfile.mkstemp(dir=path.parent, prefix=".folders.")
        with os.fdopen(handle, "w") as file:
            json.dump(dict(sorted(entries.items())), file, indent=2)
            file.write("\n")
        Path(fresh).replace(path)
