"""The native backend's reading, checking and packing without a server, against the Python form's in this process."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from serving.backends import packing
from serving.backends.onnxruntime.model_spec import ModelSpec
from serving.configs import read_config
from tests.serving.native import harness
from tests.serving.native.conftest import needs_compiler

pytestmark = pytest.mark.slow(15)
TEXTS = (b"", b"a", "é€".encode(), b"12345678", b"123456789", b"\xff", b"a\0", b"\xed\xa0\x80")
NUMBERS = (0, 1, 5, 5, 5, -5, -6, 100, 101, 127, 0.1, 1e-5, 99.97, 1e16, 16777217, 1 / 3, np.nan, np.inf, -np.inf)


@pytest.fixture(scope="module")
def program(library: Path) -> Path:
    """The harness as the backend is compiled."""
    return harness.built(library)


@pytest.fixture(scope="module")
def configs(tiny: Path) -> Mapping[str, str]:
    """The configuration of each model of graphs.py."""
    return {path.name: str(read_config(path, "cpu")) for path in sorted(tiny.iterdir())}


def drawn(spec: ModelSpec, random: np.random.Generator) -> dict[str, np.ndarray]:
    """A request, most often a good one."""
    rows = 1 if spec.ragged or not spec.max_batch_size else int(random.integers(1, 3))
    length = int(random.integers(0, 7))
    request = {}
    for field in spec.inputs:
        fixed = {"places": 1 if field.name == "large" else 3, "faulty": 3, "types": 2, "shaped": 4, "lookup": 1}
        own = fixed.get(spec.name, length + int(random.integers(0, 9) == 0))
        shape = (rows, own) if spec.max_batch_size else (own,)
        request[field.name] = filled(field.dtype, shape, random)
    return request


def filled(dtype: np.dtype, shape: tuple[int, ...], random: np.random.Generator) -> np.ndarray:
    odd = random.integers(0, 4) == 0
    size = int(np.prod(shape))
    if dtype.kind == "O":
        array = np.empty(size, object)
        array[:] = [TEXTS[one] for one in random.integers(0, len(TEXTS) if odd else 4, size)]
        return array.reshape(shape)
    values = random.choice(NUMBERS, size) if odd else random.integers(0, 6, size).astype(float)
    if dtype.kind != "f":
        values = np.nan_to_num(values, nan=1, posinf=100, neginf=0).clip(0 if dtype.kind == "u" else -9, 127)
    with np.errstate(over="ignore"):
        return values.astype(dtype).reshape(shape)


def expected(spec: ModelSpec, request: Mapping[str, np.ndarray]) -> str:
    """The line that the harness is to print."""
    try:
        with np.errstate(all="ignore"):
            packing.check(spec, request)
    except ValueError as error:
        return str(error)
    feeds = packing.pack(spec, [request]).values()
    return "".join(f"{feed.dtype}{feed.shape}{harness.content_of(feed).hex()} " for feed in feeds)


@pytest.mark.parametrize(
    "model", ["agreeing", "counts", "cut", "faulty", "lookup", "places", "shaped", "types", "unbatched"]
)
def test_what_is_refused_and_what_is_packed_is_the_same(
    program: Path, configs: Mapping[str, str], tmp_path: Path, model: str
) -> None:
    spec = ModelSpec.parse(harness.write_config(configs[model], tmp_path / "config.json"))
    random = np.random.default_rng(0)
    requests = [drawn(spec, random) for _ in range(300)]
    harness.write_requests([field.name for field in spec.inputs], requests, tmp_path / "requests")
    lines = harness.run(program, "replay", tmp_path / "config.json", tmp_path / "requests").splitlines()
    wanted = [expected(spec, request) for request in requests]
    assert lines == wanted
    assert 30 < sum(line.startswith(model) for line in wanted) < 300 or model in (
        "shaped",
        "faulty",
        "lookup",
        "counts",
    )


def test_the_queue_is_bounded_as_by_the_python_form(program: Path, configs: Mapping[str, str], tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    harness.write_config(configs["cut"], path)
    said = harness.run(program, "queue", path, 100, 17, 8, 1).splitlines()
    assert said == ["0" * 7 + "1" * 7 + "001", "the queue is full: a request would wait for more than 250 ms"]
    assert harness.run(program, "queue", path, 10_000, 100, 7, 1).startswith("0" * 100)
    assert harness.run(program, "queue", path, 45, 100, 8, 1).startswith("0" * 100)


@pytest.mark.long
def test_no_request_and_no_configuration_breaks_it(configs: Mapping[str, str], tmp_path: Path) -> None:
    """200,000 requests and 40,000 broken configurations and more, under AddressSanitizer and UBSan."""
    needs_compiler()
    program = harness.sanitized()
    for number, (model, config) in enumerate(configs.items()):
        harness.write_config(config, tmp_path / "config.json")
        said = harness.run(program, "fuzz", tmp_path / "config.json", number, 200_000 // len(configs) + 1)
        asked, passed, malformed = (int(part.split()[0]) for part in said.split(", "))
        assert asked > 200_000 / len(configs), model
        assert 0.01 * asked < passed, model
        assert malformed, model
