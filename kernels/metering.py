"""Memory traffic of every kernel over its compulsory minimum, measured in Triton's interpreter.

`TRITON_INTERPRET=1 python -m kernels.metering OP...` prints it as JSON; `measure` starts that process.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import NamedTuple


class Overhead(NamedTuple):
    """Requested bytes, and bytes of the distinct 32-byte sectors, each over what a call cannot do without."""

    requested: float | None
    sectors: float | None


def measure(ops: Sequence[str]) -> dict[str, Overhead]:
    """`op/config` -> overhead of these ops. Raises subprocess.CalledProcessError where a kernel fails."""
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    command = [sys.executable, "-m", "kernels.metering", *ops]
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return {key: Overhead(**value) for key, value in json.loads(done.stdout).items()}


def _meter(ops: Sequence[str]) -> dict[str, Overhead]:
    from kernels.meter import meter
    from kernels.registry import OPS

    overheads = {}
    for op in OPS:
        for case in op.cases():
            if op.name not in ops or not case.metered:
                continue
            with meter() as measured:
                case.launch(*case.inputs(0))
            least = case.work.read + case.work.written
            requested = (measured.bytes_read + measured.bytes_written) / least
            overheads[f"{op.name}/{case.config}"] = Overhead(requested, measured.sector_bytes / least)
    return overheads


if __name__ == "__main__":
    json.dump({key: value._asdict() for key, value in _meter(sys.argv[1:]).items()}, sys.stdout)
