import os
import socket
import subprocess
import sys
import sysconfig
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from recserve_client.errors import InvalidRequest, ModelUnavailable, ServerUnavailable
from serving import golden, shared_memory
from serving.admin import Admin, messages
from serving.command import Container, container_command
from serving.server import ServerOptions, TritonServer
from serving.startup import StartupError
from tests.serving import models

LOOPBACK, MAPPED_LOOPBACK = "0100007F", "0000000000000000FFFF00000100007F"
"""127.0.0.1 and ::ffff:127.0.0.1 as the kernel prints them."""
X = np.array([[1.0, -2.0, 0.5]], np.float32)


def assert_answers(client: Admin) -> None:
    np.testing.assert_array_equal(client.infer("scaled", {"x": X})["y"], 2 * X + 1)


def shared_files() -> set[str]:
    """Shared-memory files of the servers that this process started."""
    return {path.name for path in shared_memory.DIRECTORY.glob(f"recserve_{os.getpid()}_*")}


@pytest.mark.triton_server
def test_a_stopped_server_leaves_no_process_and_no_shared_memory(small_repository: Path) -> None:
    before = shared_files()
    with TritonServer(small_repository) as server:
        group = server.process.pid
        assert shared_files() > before
        with server.client() as client:
            assert_answers(client)
    assert shared_files() == before
    with pytest.raises(ProcessLookupError):
        os.killpg(group, 0)
    server.stop()
    assert server.fault is None


@pytest.mark.triton_server
def test_a_server_can_be_started_again_on_the_port_where_it_ran(small_repository: Path) -> None:
    with TritonServer(small_repository) as server:
        port = int(server.url.rpartition(":")[2])
        key = server.admin_key
    again = TritonServer(small_repository, ServerOptions(grpc_port=port))
    with again, again.client() as client:
        assert again.url == f"127.0.0.1:{port}"
        assert again.admin_key != key
        assert_answers(client)


@pytest.mark.triton_server
def test_two_servers_run_side_by_side_and_one_stops_without_the_other(
    server: TritonServer, client: Admin, small_repository: Path
) -> None:
    with TritonServer(small_repository) as second, second.client() as second_client:
        assert second.url != server.url
        assert_answers(second_client)
        assert_answers(client)
    assert_answers(client)
    with pytest.raises(ServerUnavailable), Admin(second.url) as late:
        late.infer("scaled", {"x": X})


@pytest.mark.triton_server
def test_starting_a_running_server_is_an_error(server: TritonServer) -> None:
    with pytest.raises(RuntimeError, match="running already"):
        server.start()


@pytest.mark.triton_server
def test_only_loopback_addresses_are_bound(server: TritonServer) -> None:
    listening = {
        line.split()[1] for table in ("tcp", "tcp6") for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
    }
    ports = {int(server.url.rpartition(":")[2]), int(server.metrics_url.split(":")[2].partition("/")[0])}
    for port in ports:
        found = {address for address in listening if address.endswith(f":{port:04X}")}
        assert {address.partition(":")[0] for address in found} <= {LOOPBACK, MAPPED_LOOPBACK}
        assert found


@pytest.mark.triton_server
def test_metrics_are_for_prometheus(server: TritonServer, client: Admin) -> None:
    assert_answers(client)
    with urllib.request.urlopen(server.metrics_url) as reply:
        assert 'nv_inference_request_success{model="scaled"' in reply.read().decode()


@pytest.mark.triton_server
def test_the_shared_memory_api_is_off_even_with_the_admin_key(client: Admin) -> None:
    region = messages.SystemSharedMemoryRegisterRequest(name="region", key="/some_key", byte_size=64)
    with pytest.raises(InvalidRequest, match=r"restricted.*switched off"):
        client.call("SystemSharedMemoryRegister", region)
    with pytest.raises(InvalidRequest, match=r"restricted.*switched off"):
        client.call("SystemSharedMemoryStatus", messages.SystemSharedMemoryStatusRequest())


@pytest.mark.triton_server
def test_the_log_keeps_no_key(server: TritonServer) -> None:
    log = server.log.read_text()
    assert "Started GRPCInferenceService" in log
    assert server.admin_key not in log


@pytest.mark.triton_server
def test_models_cannot_be_unloaded_unless_the_server_was_started_for_it(client: Admin) -> None:
    with pytest.raises(InvalidRequest, match="model_control='explicit'"):
        client.unload("scaled")
    assert_answers(client)


@pytest.mark.triton_server
def test_explicit_control_loads_and_unloads_with_the_admin_key(small_repository: Path) -> None:
    server = TritonServer(small_repository, ServerOptions(model_control="explicit"))
    with server, server.client() as client:
        assert client.model_names() == ["scaled"]
        client.unload("scaled")
        with pytest.raises(ModelUnavailable):
            client.infer("scaled", {"x": X})
        client.load("scaled")
        assert_answers(client)
        assert server.fault is None


@pytest.mark.triton_server
def test_a_model_that_answers_its_golden_wrongly_is_never_ready(tmp_path: Path) -> None:
    models.publish_scaled(tmp_path / "repository", factor=2.25)
    before = shared_files()
    server = TritonServer(tmp_path / "repository")
    with pytest.raises(StartupError) as refusal:
        server.start()
    text = str(refusal.value)
    assert text.startswith(
        "scaled: golden request 0: output 'y' at [0, 0] is off by 0.25 (relative 0.25, allowed 1e-05)"
    )
    assert "numpy<2" in text
    with pytest.raises(RuntimeError, match="not running"):
        _ = server.process
    assert shared_files() == before


@pytest.mark.triton_server
def test_a_golden_request_that_is_refused_is_never_ready(small_repository: Path) -> None:
    wrong = golden.Golden(inputs={"x": X[:, :2]}, outputs={"y": X})
    golden.write(small_repository / "scaled" / "1" / "golden.safetensors", [wrong])
    models.seal(small_repository / "scaled" / "1")
    with pytest.raises(StartupError, match=r"scaled: golden request 0 failed: .*unexpected shape"):
        TritonServer(small_repository).start()


@pytest.mark.triton_server
def test_a_model_without_goldens_is_never_ready_unless_asked_for(small_repository: Path) -> None:
    (small_repository / "scaled" / "1" / "golden.safetensors").unlink()
    models.seal(small_repository / "scaled" / "1")
    with pytest.raises(StartupError, match=r"scaled: .*golden\.safetensors is missing"):
        TritonServer(small_repository).start()
    server = TritonServer(small_repository, ServerOptions(check_golden=False))
    with server, server.client() as client:
        assert_answers(client)


@pytest.mark.triton_server
def test_a_model_that_does_not_load_ends_the_start_with_the_reason(small_repository: Path) -> None:
    (small_repository / "scaled" / "1" / "model.onnx").write_bytes(b"not an onnx file")
    models.seal(small_repository / "scaled" / "1")
    with pytest.raises(StartupError, match=r"failed to load 'scaled' version 1: .*Protobuf parsing failed"):
        TritonServer(small_repository).start()


@pytest.mark.triton_server
def test_a_server_that_is_not_ready_in_time_is_stopped(small_repository: Path) -> None:
    server = TritonServer(small_repository, ServerOptions(ready_timeout_s=0.0))
    with pytest.raises(StartupError, match="not ready after 0 s"):
        server.start()
    with pytest.raises(RuntimeError, match="not running"):
        _ = server.process


def test_a_repository_without_models_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no model; make one with recserve export"):
        TritonServer(tmp_path).start()


@pytest.mark.parametrize("which", ["grpc_port", "metrics_port"])
def test_a_port_that_is_taken_is_named(small_repository: Path, which: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        options = ServerOptions(grpc_port=port) if which == "grpc_port" else ServerOptions(metrics_port=port)
        with pytest.raises(StartupError, match=f"port {port} on 127.0.0.1: Address already in use; name another"):
            TritonServer(small_repository, options).start()


@pytest.mark.parametrize("port", [-1, 65536, 80000])
def test_a_number_that_is_no_port_is_refused(port: int) -> None:
    with pytest.raises(ValueError, match=f"grpc_port is {port}; a port is between 1 and 65535"):
        ServerOptions(grpc_port=port)
    with pytest.raises(ValueError, match=f"metrics_port is {port}"):
        ServerOptions(metrics_port=port)
    with pytest.raises(ValueError, match="are both 9331; give each its own"):
        ServerOptions(grpc_port=9331, metrics_port=9331)


def test_the_state_lies_beside_the_repository_unless_told_otherwise(tmp_path: Path) -> None:
    assert TritonServer(tmp_path / "models").state == f"lmdb://{tmp_path}/models.state"
    assert TritonServer(tmp_path / "models", ServerOptions(state=tmp_path / "s")).state == f"lmdb://{tmp_path}/s"
    shared = "valkey://host:6379/0?ttl_s=60"
    assert TritonServer(tmp_path / "models", ServerOptions(state=shared)).state == shared


def _imported(docker: list[str], root: Path) -> str:
    """What comes of importing what answers requests, where there is nothing of ours but what is mounted."""
    root.mkdir()
    for flag in (flag for flag in docker if flag.startswith("--volume=")):
        outside, inside, *_ = flag.removeprefix("--volume=").split(":")
        if inside.startswith("/recserve/"):
            (root / Path(inside).name).symlink_to(outside)
    packages = sysconfig.get_paths()["purelib"]
    steps = ", ".join(f"serving.steps.{name}" for name in ("user_state", "user_events", "user_rows", "path_sampler"))
    code = f"import sys; sys.path += [{str(root)!r}, {packages!r}]; import {steps}; print('imported')"
    found = subprocess.run([sys.executable, "-S", "-I", "-c", code], capture_output=True, text=True, cwd=root)
    return found.stdout + found.stderr


def test_the_container_serves_the_same_repository_with_the_same_restrictions(tmp_path: Path) -> None:
    served = Container(
        repository=tmp_path / "models",
        state=f"lmdb://{tmp_path}/state",
        histories=f"lmdb://{tmp_path}/histories",
        image="tritonserver:test",
    )
    command = container_command(served, admin_key="secret")
    image = command.index("tritonserver:test")
    docker, flags = command[:image], command[image + 2 :]
    assert command[image + 1] == "tritonserver"
    assert f"--volume={tmp_path}/models:/models:ro" in docker
    assert f"--volume={tmp_path}/state:/state" in docker
    assert f"--volume={tmp_path}/histories:/histories" in docker
    assert {"--env=RECSERVE_STATE=lmdb:///state", "--env=RECSERVE_HISTORIES=lmdb:///histories"} <= set(docker)
    mounted = {flag.split(":")[1] for flag in docker if flag.startswith("--volume=")}
    assert {"/recserve/serving", "/recserve/kernels", "/opt/tritonserver/backends/recserve"} <= mounted
    assert _imported(docker, tmp_path / "container") == "imported\n"
    assert {flag for flag in docker if flag.startswith("--publish")} == {
        "--publish=127.0.0.1:8001:8001",
        "--publish=127.0.0.1:8002:8002",
    }
    assert {"--model-repository=/models", "--allow-http=0", "--model-control-mode=none"} <= set(flags)
    restricted = [flag for flag in flags if flag.startswith("--grpc-restricted-protocol=")]
    assert any("model-repository" in flag and flag.endswith(":admin-key=secret") for flag in restricted)
    assert any("shared-memory" in flag and "secret" not in flag for flag in restricted)
    assert not any(flag.startswith("--model-config-name") for flag in flags)


def test_the_server_needs_nothing_of_pytriton_itself() -> None:
    code = "import sys, serving.server; sys.exit('pytriton' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
