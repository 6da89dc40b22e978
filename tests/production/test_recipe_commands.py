"""Commands of the recipes of images, run as far as they go without a container engine."""

import importlib.util
import json
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from recserve.cli import command
from recserve.commands.serve import Serve
from tests.production.helm import ROOT

pytestmark = pytest.mark.production

CONTAINERS = ROOT / "deploy" / "containers"
RECIPE = CONTAINERS / "cpu.Dockerfile"


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lib folder of what pip could install, and not compile: it leaves no bytecode beside such a file."""
    lib = tmp_path_factory.mktemp("lib")
    site = Path(sysconfig.get_path("purelib"))
    for path in site.rglob("*.py"):
        if not Path(importlib.util.cache_from_source(str(path))).exists():
            copy = lib / "python3.11" / "site-packages" / path.relative_to(site)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
    return lib


def compiled(options: list[str], lib: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "compileall", *options, str(lib)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_no_file_of_a_package_ends_the_build(foreign: Path) -> None:
    (said,) = re.findall(r"python -m compileall (.+) /opt/recserve/lib$", RECIPE.read_text(), re.MULTILINE)
    done = compiled(shlex.split(said), foreign)
    assert done.returncode == 0, done.stdout + done.stderr
    assert compiled(["-q"], foreign).returncode == 1, "torch has mended its file: leave nothing out any more"


def test_the_image_of_the_target_gpu_starts_no_server_by_itself() -> None:
    (said,) = re.findall(r"^CMD (.+)$", (CONTAINERS / "gpu.Dockerfile").read_text(), re.MULTILINE)
    done = subprocess.run(json.loads(said), capture_output=True, text=True, check=False)
    assert done.returncode == 2
    words = done.stderr.partition(": ")[2].split()
    assert isinstance(command(words[1:]), Serve), "what it names instead is a command"
