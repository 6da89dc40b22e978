"""The program of harness.cpp: the native backend's reading, checking and packing, under the sanitizers."""

import hashlib
import json
import struct
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from google.protobuf import json_format, text_format
from tritonclient.grpc import model_config_pb2 as proto
from tritonclient.utils import serialize_byte_tensor

from serving import native
from tests.conftest import REAL_CACHE
from training.data.fetch import locked

SOURCE = Path(__file__).with_name("harness.cpp")
UNITS = (
    "types",
    "json",
    "words",
    "unsupported",
    "spec",
    "texts",
    "bounds",
    "check",
    "input",
    "packing",
    "backlog",
    "files",
)
"""Of the backend, all that needs neither a server nor ONNX Runtime."""
SANITIZERS = ("-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
TRITON = {"bool": 1, "uint8": 2, "int8": 6, "int32": 8, "int64": 9, "float16": 10, "float32": 11, "float64": 12}
TEXT = 13


def built(library: Path) -> Path:
    """The program, of the object files beside the compiled backend; as it runs in a server."""
    return _once([*native.FLAGS], [], [library.with_name(f"{unit}.o") for unit in UNITS])


def sanitized() -> Path:
    """The program under AddressSanitizer and UBSan, compiled once per content for whoever runs the tests."""
    return _once([*native.FLAGS, *SANITIZERS], [native.SOURCES / f"{unit}.cpp" for unit in UNITS], [])


def _once(flags: Sequence[str], sources: Sequence[Path], objects: Sequence[Path]) -> Path:
    digest = hashlib.sha256(" ".join(map(str, [*flags, *objects])).encode())
    for path in (SOURCE, *sorted(native.SOURCES.iterdir())):
        digest.update(path.read_bytes())
    folder = REAL_CACHE / "native" / f"harness-{digest.hexdigest()[:16]}"
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / "lock"):
        if not (folder / "harness").is_file():
            made = native.compiled([SOURCE, *sources], folder, flags)
            native.linked([*made, *objects], folder / "harness", flags)
    return folder / "harness"


def run(program: Path, *words: object) -> str:
    """What it says; raises where it does not end well, with a sanitizer's report."""
    result = subprocess.run([program, *map(str, words)], capture_output=True, text=True, errors="replace")
    assert result.returncode == 0, result.stderr
    return result.stdout


def write_config(config: str, path: Path) -> Mapping[str, object]:
    """A configuration as tritonserver hands it to a backend, also to a file."""
    message = text_format.Parse(config, proto.ModelConfig())  # pyright: ignore[reportAttributeAccessIssue]
    said = json_format.MessageToDict(message, preserving_proto_field_name=True)
    path.write_text(json.dumps(said))
    return said


def write_requests(names: Iterable[str], requests: Iterable[Mapping[str, np.ndarray]], path: Path) -> None:
    """Requests to a file, with the inputs in the order of the configuration."""
    with path.open("wb") as file:
        for request in requests:
            for array in (request[name] for name in names):
                number = TEXT if array.dtype == object else TRITON[array.dtype.name]
                content = content_of(array)
                file.write(struct.pack(f"<{array.ndim + 3}q", number, array.ndim, *array.shape, len(content)))
                file.write(content)


def content_of(array: np.ndarray) -> bytes:
    """As a client sends it."""
    if array.dtype != object:
        return array.tobytes()
    serialized = serialize_byte_tensor(array)
    return serialized.item() if serialized.size else b""
