"""The folders that somebody added under a name: `$RECSERVE_CACHE/folders.json`, or that in `~/.cache/recserve`."""

import json
import os
import tempfile
from pathlib import Path

from training.data.fetch import default_cache, locked


def register(name: str, folder: Path) -> None:
    """Adds a folder, or replaces the one of that name."""
    _change(name, folder)


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
