"""Both clients against the real server: what they answer, under load, past deadlines, and when a server is killed."""

import asyncio
import itertools
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from recserve_client import AsyncClient, Client, DeadlineExceeded, InvalidRequest, ModelUnavailable, Ranked
from serving import golden
from serving.golden import Golden
from serving.server import ServerOptions, TritonServer
from tests.client import clean
from tests.pages import blocks

pytestmark = [pytest.mark.slow(40), pytest.mark.triton_server]
DATASET = "planted-clicks"
TOGETHER = 16


@pytest.fixture(scope="module")
def goldens(repository: Path) -> list[Golden]:
    """Requests of the release and their answers, one a user."""
    found = golden.read(repository / "lrea" / "1" / "golden.safetensors")
    return [one for one in found if one.inputs["candidates"].size]


def expected(one: Golden) -> list[tuple[float, int]]:
    """Scores and items, best first."""
    scores, items = one.outputs["scores"][0].tolist(), one.inputs["candidates"][0].tolist()
    return sorted(zip(scores, items, strict=True), key=lambda pair: -pair[0])


def assert_right(ranked: Ranked, one: Golden) -> None:
    """Scores of an ensemble are the golden ones to 1e-5, so close ones may change places."""
    scores, items = zip(*expected(one), strict=True)
    np.testing.assert_allclose(ranked.scores, scores, rtol=1e-5, atol=1e-5)
    assert sorted(ranked.items) == sorted(items)  # pyright: ignore[reportArgumentType]
    assert ranked.version == "1"


def words(one: Golden) -> tuple[int, list[int]]:
    return one.inputs["user_id"].item(), one.inputs["candidates"][0].tolist()


@pytest.fixture(scope="module")
def client(lrea_server: TritonServer) -> Iterator[Client]:
    with Client(lrea_server.url, deadline_s=30.0) as one:
        yield one


def test_ranking_is_the_inference_in_order(client: Client, goldens: list[Golden]) -> None:
    assert client.describe("lrea").dataset == DATASET
    for one in goldens:
        ranked = client.rank(*words(one), model="lrea", dataset=DATASET)
        assert_right(ranked, one)
        alone = client.infer("lrea", one.inputs)["scores"][0]
        assert ranked.scores == tuple(sorted(alone.tolist(), reverse=True))


def test_a_model_of_another_data_set_task_or_release_is_refused(client: Client) -> None:
    with pytest.raises(InvalidRequest, match=f"model 'lrea' is of data set {DATASET}, not of ml-100k"):
        client.rank(1, [1], model="lrea", dataset="ml-100k")
    with pytest.raises(InvalidRequest, match="'lrea_scorer' is a part of 'lrea'; ask 'lrea'"):
        client.rank(1, [1], model="lrea_scorer")
    with pytest.raises(InvalidRequest, match="is of the task click, not of next_item"):
        client.generate([1], model="lrea")
    with pytest.raises(ModelUnavailable, match=r"'lrea9' is not found.*request mine"):
        client.rank(1, [1], model="lrea9", request_id="mine")
    with pytest.raises(InvalidRequest, match=r"lrea: user_id: 'anna' is a str; the model takes ids of int64"):
        client.rank("anna", [1], model="lrea")


def test_many_threads_are_answered_as_alone(client: Client, goldens: list[Golden]) -> None:
    asked = list(itertools.islice(itertools.cycle(goldens), 20 * TOGETHER))
    with ThreadPoolExecutor(TOGETHER) as pool:
        for one, ranked in zip(asked, pool.map(lambda one: client.rank(*words(one), model="lrea"), asked), strict=True):
            assert_right(ranked, one)


def test_many_tasks_are_answered_as_alone(lrea_server: TritonServer, goldens: list[Golden]) -> None:
    async def ask() -> None:
        async with AsyncClient(lrea_server.url, deadline_s=30.0) as one:
            assert await one.server_ready()
            assert await one.model_ready("lrea")
            assert (await one.metadata("lrea")).versions == ("1",)
            assert (await one.describe("lrea")).task == "click"
            asked = list(itertools.islice(itertools.cycle(goldens), 20 * TOGETHER))
            calls = (one.rank(*words(golden), model="lrea", dataset=DATASET) for golden in asked)
            for golden, ranked in zip(asked, await asyncio.gather(*calls), strict=True):
                assert_right(ranked, golden)
            alone = await one.infer("lrea", goldens[0].inputs)
            np.testing.assert_allclose(alone["scores"], goldens[0].outputs["scores"], rtol=1e-5, atol=1e-5)

    asyncio.run(ask())


def test_short_deadlines_and_cancelled_tasks_do_not_hurt_the_server(
    lrea_server: TritonServer, client: Client, goldens: list[Golden]
) -> None:
    async def impatient() -> int:
        missed = 0
        async with AsyncClient(lrea_server.url) as one:
            for number in range(300):
                tasks = [
                    asyncio.create_task(one.infer("lrea", golden.inputs, deadline_s=0.001 * (number % 3)))
                    for golden in goldens[:4]
                ]
                await asyncio.sleep(0.0005 * (number % 4))
                for task in tasks[::2]:
                    task.cancel()
                done = await asyncio.gather(*tasks, return_exceptions=True)
                missed += sum(isinstance(outcome, DeadlineExceeded | asyncio.CancelledError) for outcome in done)
        return missed

    assert asyncio.run(impatient()) > 100
    assert lrea_server.fault is None
    assert_right(client.rank(*words(goldens[0]), model="lrea"), goldens[0])


def test_a_killed_server_fails_no_request_where_there_is_another(
    repository: Path, lrea_server: TritonServer, goldens: list[Golden], tmp_path: Path
) -> None:
    stop = threading.Event()

    def ask(client: Client) -> int:
        count = 0
        while not stop.is_set():
            one = goldens[count % len(goldens)]
            assert_right(client.rank(*words(one), model="lrea"), one)
            count += 1
        return count

    async def ask_all(urls: list[str]) -> int:
        async with AsyncClient(urls, deadline_s=30.0) as one:
            count = 0
            while not stop.is_set():
                batch = [goldens[(count + number) % len(goldens)] for number in range(4)]
                for golden, ranked in zip(
                    batch, await asyncio.gather(*(one.rank(*words(each), model="lrea") for each in batch)), strict=True
                ):
                    assert_right(ranked, golden)
                count += 4
            return count

    options = ServerOptions(state=tmp_path / "state", log=tmp_path / "log", check_golden=False)
    with TritonServer(repository, options) as second, ThreadPoolExecutor(6) as pool:
        urls = [second.url, lrea_server.url]
        with Client(urls, deadline_s=30.0) as client:
            asking = [*(pool.submit(ask, client) for _ in range(4)), pool.submit(asyncio.run, ask_all(urls))]
            time.sleep(1.0)
            second.process.kill()
            time.sleep(1.5)
            stop.set()
            counts = [one.result() for one in asking]
            assert min(counts) > 20
            assert client.counters.retries > 0
            assert client.counters.withheld == 0


INSTALLED = """
import importlib, json, sys
before = {*sys.modules}
from recserve_client import Client
loaded = sorted({name.partition(".")[0] for name in {*sys.modules} - before})
absent = []
for name in ("torch", "tritonclient", "polars", "serving", "training"):
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        absent.append(name)
url, asked = json.load(sys.stdin)
with Client(url, deadline_s=30.0) as client:
    ranked = [client.rank(user, items, model="lrea", dataset="planted-clicks") for user, items in asked]
json.dump([loaded, absent, [[one.items, one.scores] for one in ranked]], sys.stdout)
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with the wheel alone."""
    folder = tmp_path_factory.mktemp("installed")
    return clean.environment(folder / "environment", clean.built(folder))


def run_alone(python: Path, code: str, stdin: str = "") -> str:
    done = subprocess.run(
        [python, "-I", "-c", code], input=stdin, capture_output=True, text=True, timeout=60, check=False, env={}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_alone_ranks(python: Path, client: Client, goldens: list[Golden]) -> None:
    asked = [words(one) for one in goldens]
    loaded, absent, ranked = json.loads(run_alone(python, INSTALLED, json.dumps([client.urls[0], asked])))
    assert {"grpc", "numpy", "google"} <= {*loaded}
    assert not {"scipy", "pandas", "polars", "torch", "tritonclient", "recserve", "serving"} & {*loaded}
    assert absent == ["torch", "tritonclient", "polars", "serving", "training"]
    for (items, scores), request in zip(ranked, asked, strict=True):
        alone = client.rank(*request, model="lrea")
        assert (tuple(items), tuple(scores)) == (alone.items, alone.scores)


def test_the_wheel_has_types_and_its_ids_load_no_grpc(python: Path) -> None:
    code = (
        "import sys, importlib.resources as files, recserve_client.texts as texts\n"
        "print(files.files('recserve_client').joinpath('py.typed').is_file(), 'grpc' in sys.modules)"
    )
    assert run_alone(python, code).split() == ["True", "False"]


GEVENT = """
import grpc.experimental.gevent
grpc.experimental.gevent.init_gevent()
import json, sys, gevent
from gevent import monkey
monkey.patch_all()
from recserve_client import Client
url, asked = json.load(sys.stdin)
with Client(url, deadline_s=30.0) as client:
    jobs = [gevent.spawn(client.rank, user, items, model="lrea") for user, items in asked]
    gevent.joinall(jobs, raise_error=True)
print(json.dumps([[one.value.items, one.value.scores] for one in jobs]), flush=True)
"""


def test_greenlets_are_answered_as_threads_are(client: Client, goldens: list[Golden]) -> None:
    asked = [words(one) for one in goldens] * 3
    done = subprocess.run(
        [sys.executable, "-c", GEVENT],
        input=json.dumps([client.urls[0], asked]),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    for (items, scores), request in zip(json.loads(done.stdout), asked, strict=True):
        alone = client.rank(*request, model="lrea")
        assert sorted(items) == sorted(alone.items)
        np.testing.assert_allclose(scores, alone.scores, rtol=1e-5, atol=1e-5)


def shown() -> list[str]:
    """The blocks of the client's page that ask the model of these tests."""
    return [one.text for one in blocks("client/README.md") if one.kind == "python" and '"lrea"' in one.text]


@pytest.mark.parametrize("block", shown())
def test_the_client_s_page_runs_as_written(block: str, client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    exec(block.replace("127.0.0.1:8001", client.urls[0]).replace("ml-100k", DATASET), {})
    assert re.search(r"\((?:50|181|313), ", capsys.readouterr().out)
