"""Files out of a .rar archive, by the program `bsdtar` (libarchive), which reads that format under a free licence."""

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

PROGRAM = "bsdtar"
REMEDY = f"install {PROGRAM} (Debian and Ubuntu: apt-get install libarchive-tools; Fedora: dnf install bsdtar)"


def unpacked(archive: bytes, names: Sequence[str]) -> dict[str, bytes]:
    """The files with these names in the archive. Raises ValueError without the program, and for an archive that it
    cannot read or that lacks one of them."""
    program = shutil.which(PROGRAM)
    if program is None:
        raise ValueError(f"the published file is a .rar archive, and {PROGRAM} is not here to unpack it: {REMEDY}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "archive.rar"
        path.write_bytes(archive)
        ran = subprocess.run([program, "-xf", path, "-C", folder, *names], capture_output=True, check=False)
        if ran.returncode:
            raise ValueError(f"{PROGRAM} could not unpack the archive: {ran.stderr.decode(errors='replace').strip()}")
        return {name: (Path(folder) / name).read_bytes() for name in names}
