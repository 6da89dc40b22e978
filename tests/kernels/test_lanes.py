"""Starts the lanes that need a process of their own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent


@pytest.mark.slow(160)
@pytest.mark.parametrize(("lane", "interpret"), [("interpreter", "1"), ("compile", "0")])
def test_the_lane_passes(lane: str, interpret: str) -> None:
    environment = os.environ | {"RECSERVE_LANE": lane, "TRITON_INTERPRET": interpret}
    command = [sys.executable, "-m", "pytest", str(FOLDER / lane), "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=FOLDER.parents[1], timeout=600)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
