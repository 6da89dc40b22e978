"""The backend of saved programs: buckets and padding of its CUDA graphs, programs in process, and in the server."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from google.protobuf import json_format
from torch import Tensor, nn

from export.artifacts import Source
from export.goldens import make_goldens
from export.model_config import model_config
from export.repository import publish
from recserve_client.errors import InvalidRequest
from serving import runtime
from serving.admin import Admin
from serving.backends import packing
from serving.backends.onnxruntime.model_spec import CPU_KINDS, ModelSpec
from serving.backends.packing import Request
from serving.backends.recserve import graphs
from serving.backends.recserve.graphs import Bucket
from serving.backends.recserve.program import Program, load_program
from serving.golden import Golden
from serving.server import TritonServer
from tests.export.hot_models import BIAS, WIDTH, hot_release
from tests.serving.patience import shared

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hot") / "repository"
    publish(folder, hot_release(), Source(kind="factory", name="tests.export.hot_models:hot_release"))
    return folder


@pytest.fixture(scope="module")
def spec() -> ModelSpec:
    return parsed("cpu", CPU_KINDS)


@pytest.fixture(scope="module")
def program(repository: Path, spec: ModelSpec) -> Program:
    return Program(repository / "hot_kernel" / "1" / "model.pt2", spec, CPU)


@pytest.fixture(scope="module")
def goldens() -> list[Golden]:
    return make_goldens(hot_release()[1])


@pytest.fixture(scope="module")
def served(repository: Path) -> Iterator[Admin]:
    with TritonServer(repository) as server, Admin(server.url, deadline_s=30.0, admin_key=server.admin_key) as client:
        yield client


def parsed(target: str, kinds: tuple[str, ...]) -> ModelSpec:
    config = model_config(hot_release()[1], "gpu" if target == "gpu" else "cpu")
    return ModelSpec.parse(json_format.MessageToDict(config, preserving_proto_field_name=True), kinds)


def feeds_of(spec: ModelSpec, counts: list[int]) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    requests: list[Request] = [
        {
            "candidates": random.integers(0, 50, size=(1, count)),
            "product": random.normal(size=(1, WIDTH, WIDTH)).astype(np.float32),
            "bias": random.normal(size=(1, WIDTH)).astype(np.float32),
        }
        for count in counts
    ]
    return packing.pack(spec, requests)


@pytest.mark.parametrize(
    ("counts", "bucket"),
    [
        ([0], Bucket(2, 64)),
        ([64], Bucket(2, 64)),
        ([60, 5], Bucket(3, 128)),
        ([1] * 5, Bucket(9, 64)),
        ([4096] * 16, Bucket(17, 65536)),
    ],
)
def test_a_run_goes_to_the_next_powers_of_two_with_one_row_for_the_padding(
    spec: ModelSpec, counts: list[int], bucket: Bucket
) -> None:
    assert graphs.bucket_of(spec, feeds_of(spec, counts)) == bucket


def test_a_run_that_is_too_long_has_no_bucket(spec: ModelSpec) -> None:
    assert graphs.bucket_of(spec, feeds_of(spec, [4096] * 16 + [1])) is None


def test_padding_belongs_to_requests_behind_all_others(spec: ModelSpec) -> None:
    feeds = feeds_of(spec, [3, 0, 2])
    padded = graphs.pad(spec, feeds, Bucket(5, 64))
    np.testing.assert_array_equal(padded["candidate_offsets"], np.array([3, 3, 5, 5, 64], np.int32))
    assert padded["candidate_offsets"].dtype == np.int32
    np.testing.assert_array_equal(padded["candidates"][:5], feeds["candidates"])
    assert not padded["candidates"][5:].any()
    assert padded["product"].shape == (5, WIDTH, WIDTH)
    np.testing.assert_array_equal(padded["bias"][:3], feeds["bias"])
    assert not padded["bias"][3:].any()


@pytest.mark.parametrize("counts", [[0], [64], [3, 0, 2], [60, 5], [1] * 16])
def test_a_padded_run_answers_what_the_run_itself_answers(spec: ModelSpec, program: Program, counts: list[int]) -> None:
    feeds = feeds_of(spec, counts)
    bucket = graphs.bucket_of(spec, feeds)
    assert bucket is not None
    answer = graphs.cut(spec, feeds, program(graphs.pad(spec, feeds, bucket)))
    assert answer["scores"].shape == (sum(counts),)
    np.testing.assert_allclose(answer["scores"], program(feeds)["scores"], rtol=0, atol=1e-5)


class Plain(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 2


class Waiting(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        longest = cast(int, x.max().long().item())
        return torch.zeros(longest) + x.sum()


class Filtering(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x[x > 0]


@pytest.mark.parametrize(("module", "expected"), [(Plain(), True), (Waiting(), False), (Filtering(), False)])
def test_a_program_that_waits_for_values_is_not_captured(module: nn.Module, *, expected: bool) -> None:
    assert graphs.capturable(torch.export.export(module, (torch.ones(3),))) is expected


def test_the_hot_program_can_be_captured(repository: Path) -> None:
    assert graphs.capturable(load_program(repository / "hot_kernel" / "1" / "model.pt2")[0])


def test_requests_of_one_run_get_their_golden_answers(spec: ModelSpec, program: Program, goldens: list[Golden]) -> None:
    answers = packing.answer(spec, [golden.inputs for golden in goldens], program)
    for golden, answer in zip(goldens, answers, strict=True):
        np.testing.assert_allclose(answer["scores"], golden.outputs["scores"], rtol=0, atol=1e-5)


def test_an_instance_on_a_gpu_is_ours_to_run_and_not_the_stand_ins() -> None:
    assert parsed("gpu", (*CPU_KINDS, "KIND_GPU")).filename == "model.pt2"
    with pytest.raises(ValueError, match=r"instance_group\.kind KIND_GPU is not supported"):
        parsed("gpu", CPU_KINDS)


def _cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1000])


def _somebody_elses(path: Path) -> None:
    torch.export.save(torch.export.export(Plain(), (torch.ones(3),)), path)


@pytest.mark.parametrize("damage", [_cut_short, _somebody_elses, Path.unlink])
def test_a_file_that_is_no_program_of_ours_is_refused_by_name(
    repository: Path, tmp_path: Path, spec: ModelSpec, damage: Callable[[Path], None]
) -> None:
    path = tmp_path / "model.pt2"
    path.write_bytes((repository / "hot_kernel" / "1" / "model.pt2").read_bytes())
    damage(path)
    with pytest.raises(ValueError, match=r"model\.pt2 is not a program that can be run: .*; export the model again"):
        Program(path, spec, CPU)


def test_a_configuration_of_another_model_is_refused(repository: Path, spec: ModelSpec) -> None:
    fewer = tuple(field for field in spec.inputs if field.name != BIAS.name)
    other = ModelSpec(**{**vars(spec), "inputs": fewer})
    with pytest.raises(ValueError, match=r"hot_kernel: the configuration has inputs .* export the model again"):
        Program(repository / "hot_kernel" / "1" / "model.pt2", other, CPU)


def test_a_program_is_read_without_training_and_without_onnx_runtime(repository: Path) -> None:
    code = (
        "import sys; from pathlib import Path; import serving.backends.packing; "
        "from serving.backends.recserve.program import load_program; "
        f"load_program(Path({str(repository / 'hot_kernel' / '1' / 'model.pt2')!r})); "
        "loaded = {name.partition('.')[0] for name in sys.modules}; "
        "assert not loaded & {'training', 'export', 'recserve', 'onnxruntime'}"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_backend_lies_in_the_servers_backend_directory() -> None:
    assert (runtime.backend_directory(runtime.BACKENDS) / "recserve" / "model.py").is_file()


@pytest.mark.triton_server
def test_concurrent_requests_share_runs_and_get_the_goldens_answers(served: Admin, goldens: list[Golden]) -> None:
    asked = goldens * 8

    def ask() -> int:
        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(lambda golden: served.infer("hot_kernel", golden.inputs), asked))
        for golden, answer in zip(asked, answers, strict=True):
            np.testing.assert_allclose(answer["scores"], golden.outputs["scores"], rtol=0, atol=1e-5)
        return len(asked)

    assert shared(served, "hot_kernel", ask)


@pytest.mark.triton_server
def test_an_id_below_the_models_bound_is_refused_by_name(served: Admin, goldens: list[Golden]) -> None:
    request = {**goldens[0].inputs, "candidates": np.array([[3, -7]])}
    with pytest.raises(InvalidRequest, match="hot_kernel: input 'candidates': -7 is below -1; send -1 or more"):
        served.infer("hot_kernel", request)
