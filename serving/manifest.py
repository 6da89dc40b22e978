"""The manifest of a published version: what each of its files must be, to the bit.

A flipped bit in a row of weights that no golden request touches is a wrong score that nothing else would notice.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

MANIFEST_FILE = "manifest.json"

_REMEDY = "export the model again, or copy the version anew"


def fingerprint(path: Path) -> dict[str, str | int]:
    """What the manifest says of a file: sha256 and size in bytes."""
    with path.open("rb") as file:
        return {"sha256": hashlib.file_digest(file, "sha256").hexdigest(), "bytes": path.stat().st_size}


def write(version: Path, facts: Mapping[str, Any]) -> None:
    """Writes `facts` and the fingerprints of all files that lie in the version's folder."""
    files = {str(path.relative_to(version)): fingerprint(path) for path in _files(version)}
    (version / MANIFEST_FILE).write_text(json.dumps({**facts, "files": files}, indent=2) + "\n")


def read(version: Path) -> dict[str, Any]:
    """The manifest of a version.

    Raises:
        ValueError: there is none, or it is none.
    """
    path = version / MANIFEST_FILE
    try:
        manifest = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} cannot be read ({error}); {_REMEDY}") from error
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
        raise ValueError(f"{path} is not a manifest: it has no object 'files'; {_REMEDY}")
    return manifest


def verify(version: Path) -> None:
    """Compares every file of a version with its manifest, and removes bytecode, which Python would run unasked in place
    of what is listed; a server that loads the version writes it anew.

    Raises:
        ValueError: names the first file that differs, is missing, is not listed, or cannot be removed.
    """
    _remove_bytecode(version)
    listed = read(version)["files"]
    found = {str(path.relative_to(version)): path for path in _files(version)}
    for name in sorted(listed.keys() | found.keys()):
        if name not in found:
            raise ValueError(f"{version / name} is missing, which {MANIFEST_FILE} lists; {_REMEDY}")
        if name not in listed:
            raise ValueError(f"{version / name} is not listed in {MANIFEST_FILE}; remove it, or {_REMEDY}")
        _compare(found[name], listed[name])


def _remove_bytecode(version: Path) -> None:
    for folder in [*version.rglob("__pycache__")]:
        try:
            shutil.rmtree(folder)
        except OSError as error:
            if folder.exists():
                raise ValueError(f"{folder} may hold other code than was published; remove it ({error})") from error


def _compare(path: Path, expected: Any) -> None:
    try:
        actual = fingerprint(path)
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}); {_REMEDY}") from error
    if actual != expected:
        raise ValueError(
            f"{path} is not what was published: its sha256 or size differs from {MANIFEST_FILE}; {_REMEDY}"
        )


def _files(version: Path) -> Iterator[Path]:
    """All files but the manifest and what tools leave behind."""
    for path in sorted(version.rglob("*")):
        parts = path.relative_to(version).parts
        hidden = any(part.startswith(".") or part == "__pycache__" for part in parts)
        if not path.is_dir() and not hidden and parts != (MANIFEST_FILE,):
            yield path
