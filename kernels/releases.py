"""Releases of Triton that the kernels are held to, each tried in processes of its own.

`python -m kernels.releases test` runs the compile and the interpreter lane under each of them, `record` writes the
budgets and the manifest of each. Releases named after the verb are taken instead of all.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

from kernels.progress import say

RELEASES = ("3.6.0", "3.7.1", "3.9.0")
"""That of torch 2.11, that of torch 2.13, which we require, and the newest that was tried."""
_ROOT = Path(__file__).parents[1]
_LANES = {"compile": "0", "interpreter": "1"}
"""Lane -> TRITON_INTERPRET."""


def target(release: str) -> Path:
    """Folder that holds this release, below $RECSERVE_CACHE or ~/.cache/recserve."""
    cache = Path(os.environ.get("RECSERVE_CACHE") or Path.home() / ".cache" / "recserve")
    return cache / "triton" / release


def install(release: str) -> Path:
    """The folder of a release, installed unless it is there; raises ValueError where pip fails."""
    folder = target(release)
    if not folder.is_dir():
        # Installed elsewhere and renamed, so that a run that was stopped leaves no half of a release.
        unfinished = folder.with_name(f"{release}.{os.getpid()}")
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        # A constraint on the release that torch requires must not refuse the others.
        environment = os.environ | {"PIP_CONSTRAINT": os.devnull}
        say(f"triton {release}: installing into {folder}")
        done = subprocess.run([*pip, "--target", unfinished, f"triton=={release}"], check=False, env=environment)
        if done.returncode:
            raise ValueError(f"triton {release} cannot be installed into {folder}: see pip's words above")
        unfinished.rename(folder)
    return folder


def run(release: str, command: list[str], environment: dict[str, str]) -> bool:
    """Whether a Python command succeeds in the root of the checkout with this release in front of the installed one."""
    path = os.pathsep.join([str(install(release)), *filter(None, [os.environ.get("PYTHONPATH")])])
    started = time.monotonic()
    say(f"triton {release}: {' '.join(command)}")
    environment = os.environ | environment | {"PYTHONPATH": path}
    done = subprocess.run([sys.executable, *command], cwd=_ROOT, env=environment, check=False)
    outcome = "passed" if done.returncode == 0 else "FAILED"
    say(f"triton {release}: {outcome} after {time.monotonic() - started:.0f} s")
    return done.returncode == 0


def test(release: str) -> bool:
    """Whether both lanes pass under a release."""
    passed = [
        run(
            release,
            ["-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider", f"tests/kernels/{lane}"],
            {"RECSERVE_LANE": lane, "TRITON_INTERPRET": interpret, "OMP_NUM_THREADS": "1"},
        )
        for lane, interpret in _LANES.items()
    ]
    return all(passed)


def record(release: str) -> bool:
    """Whether the budgets and the manifest of a release could be written."""
    return run(release, ["-m", "kernels.budgets"], {"TRITON_INTERPRET": "0"})


def main(arguments: list[str]) -> int:
    """0 where everything passed, 1 where something failed, 2 for another verb than `test` or `record`."""
    verbs = {"test": test, "record": record}
    verb, *releases = arguments or [""]
    if verb not in verbs:
        say(f"verb must be one of {', '.join(verbs)}, not '{verb}'")
        return 2
    passed = {release: verbs[verb](release) for release in releases or RELEASES}
    for release, good in passed.items():
        say(f"triton {release}: {'passed' if good else 'FAILED'}")
    return 0 if all(passed.values()) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
