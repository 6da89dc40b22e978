"""Gets a published data set, checks it, and keeps it in one canonical form, whichever source it came from.

The cache is asked first, then the data set's own sources. Every file is used only if its sha256 is the expected one.
"""

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from training.data import (
    amazon_sequences_files,
    gowalla_files,
    hin_amazon_files,
    kuairand_files,
    ml1m_clean_files,
    ml100k_graph_files,
    movielens_files,
)
from training.data.origin import Found, Origin, sha256
from training.interactions import Report, silent

Name = Literal["beauty", "gowalla", "hin-amazon", "kuairand", "ml-100k", "ml-100k-graph", "ml-1m-clean", "sports"]
ORIGINS: dict[str, Origin] = {
    origin.name: origin
    for origin in sorted(
        (
            *amazon_sequences_files.ORIGINS,
            gowalla_files.ORIGIN,
            hin_amazon_files.ORIGIN,
            kuairand_files.ORIGIN,
            ml1m_clean_files.ORIGIN,
            ml100k_graph_files.ORIGIN,
            movielens_files.ORIGIN,
        ),
        key=lambda origin: origin.name,
    )
}


def default_cache() -> Path:
    """`$RECSERVE_CACHE/data`, or `~/.cache/recserve/data`."""
    return Path(os.environ.get("RECSERVE_CACHE") or Path.home() / ".cache" / "recserve") / "data"


def fetch(name: Name, cache: Path | None = None, report: Report = silent) -> Path:
    """The folder with the set's tables as parquet files, and `SOURCE.json`.

    `report` gets one line for each thing a person would want to know: source, licence, a source that did not answer,
    a broken cache. Safe to call from several processes at once. Raises ValueError for an unknown name, a file with
    another sha256, and when no source has the set.
    """
    if name not in ORIGINS:
        raise ValueError(f"data set '{name}' is not known; known: {', '.join(ORIGINS)}")
    origin = ORIGINS[name]
    root = cache or default_cache()
    root.mkdir(parents=True, exist_ok=True)
    folder = root / name
    with locked(root / f".{name}.lock"):
        if _is_intact(origin, folder, report):
            report(f"{name}: from the cache {folder}")
        else:
            _store(origin, _find(origin, report), folder)
            report(f"{name}: stored in {folder}")
    report(origin.licence)
    return folder


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """One process at a time; the others wait."""
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _is_intact(origin: Origin, folder: Path, report: Report) -> bool:
    if not folder.exists():
        return False
    try:
        stored = json.loads((folder / "SOURCE.json").read_text())["stored"]
        broken = [file for file, sha in stored.items() if sha256((folder / file).read_bytes()) != sha]
        broken += [f"{table}.parquet" for table in origin.rows if f"{table}.parquet" not in stored]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        broken = [f"{type(error).__name__}: {error}"]
    if broken:
        report(f"{folder.name}: the cache {folder} is corrupt ({', '.join(broken)}); fetching again")
    return not broken


def _find(origin: Origin, report: Report) -> Found:
    for source in origin.sources:
        if found := source(report):
            report(f"{origin.name}: from {found.source}")
            return found
    raise ValueError(f"{origin.name}: no source answered; {origin.remedy}")


def _store(origin: Origin, found: Found, folder: Path) -> None:
    """Writes beside the folder and renames, so that a reader never sees half a data set."""
    fresh = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        _write(origin, found, fresh)
        # mkdtemp makes it private, while a cache may be shared.
        fresh.chmod(0o755)
        shutil.rmtree(folder, ignore_errors=True)
        fresh.rename(folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _write(origin: Origin, found: Found, folder: Path) -> None:
    stored = {}
    for name, table in origin.parse(found.files).items():
        if len(table) != origin.rows[name]:
            raise ValueError(f"{origin.name}: {len(table)} {name} from {found.source}, expected {origin.rows[name]}")
        path = folder / f"{name}.parquet"
        table.write_parquet(path)
        stored[path.name] = sha256(path.read_bytes())
    source = {
        "source": found.source,
        "files": {name: sha256(content) for name, content in found.files.items()},
        "stored": stored,
        "rows": origin.rows,
        "licence": origin.licence,
        "fetched_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    (folder / "SOURCE.json").write_text(json.dumps(source, indent=2) + "\n")
