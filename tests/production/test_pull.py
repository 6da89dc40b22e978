"""`recserve releases pull` over S3's own protocol: moto's server, the command as an operator calls it."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import obstore
import pytest
from obstore.store import S3Store

from loadtest.served import Served, until
from serving import manifest, releases
from tests.production import moto

pytestmark = pytest.mark.production

SECRET = "wJalrXUtnFEMI-K7MDENG-bPxRfiCYEXAMPLEKEY"
KEY = "AKIAIOSFODNN7EXAMPLE"
BUCKET = "models"
MIB = 2**20


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with moto.server(tmp_path_factory.mktemp("moto") / "log") as url:
        yield url


class Bucket:
    """An empty one, whom the commands of the test reach by their environment."""

    def __init__(self, endpoint: str) -> None:
        self.environment = {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
        }
        self._endpoint = endpoint
        self._asked("POST", "moto-api/reset")
        self._asked("PUT", BUCKET)
        self._store = S3Store(
            BUCKET,
            endpoint=endpoint,
            region="us-east-1",
            access_key_id=KEY,
            secret_access_key=SECRET,
            client_options={"allow_http": True},
        )

    def _asked(self, method: str, path: str, body: bytes = b"") -> None:
        urlopen(Request(f"{self._endpoint}/{path}", data=body, method=method)).close()

    def put_as(self, encoded_key: str) -> None:
        """An object under a key that no client of ours would write."""
        self._asked("PUT", f"{BUCKET}/{encoded_key}", b"evil")

    def remove(self) -> None:
        """The bucket itself."""
        for page in obstore.list(self._store):
            obstore.delete(self._store, [one["path"] for one in page])
        self._asked("DELETE", BUCKET)

    def upload(self, repository: Path) -> None:
        for path in sorted(repository.rglob("*")):
            if path.is_file():
                obstore.put(self._store, f"shop/{path.relative_to(repository)}", path)

    def pull(self, repository: Path, *options: str, **environment: str) -> subprocess.Popen[str]:
        words = ["-m", "recserve", "releases", "pull", f"s3://{BUCKET}/shop", "--repository", str(repository), *options]
        return subprocess.Popen(
            [sys.executable, *words],
            env={**os.environ, **self.environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture
def bucket(endpoint: str) -> Bucket:
    return Bucket(endpoint)


def large(repository: Path, size: int) -> int:
    """A release of one model with one file of this size; returns its bytes without the manifest."""
    version = repository / "large" / "1"
    version.mkdir(parents=True)
    with (version / "weights.bin").open("wb") as file:
        for _ in range(size // MIB):
            file.write(os.urandom(MIB))
    (repository / "large" / "config.pbtxt").write_text('name: "large"\nbackend: "onnxruntime"\n')
    manifest.write(version, {"release": ["large"], "whole": "large"})
    return size


def test_a_server_that_follows_takes_a_pulled_release_over(bucket: Bucket, two_releases: Path, tmp_path: Path) -> None:
    (name,) = releases.names(two_releases)
    releases.change(two_releases, name, lambda now: now.back_at(1, "rolled back"))
    bucket.upload(two_releases)
    repository = tmp_path / "here"
    process = bucket.pull(repository, "--json")
    out, _ = process.communicate()
    assert process.returncode == 0
    assert json.loads(out)["served"] == {name: 1}
    with Served(repository, "--follow", "--state", tmp_path / "state") as serve:
        assert serve.address
        releases.change(two_releases, name, lambda now: now.at(2, "promoted"))
        bucket.upload(two_releases)
        assert bucket.pull(repository).wait() == 0
        serve.says(f"serving {name} 2")
        with serve.client() as client:
            assert client.metadata(name).versions[-1] == "2"


def test_a_pull_that_is_killed_goes_on_and_needs_little_memory(bucket: Bucket, tmp_path: Path) -> None:
    total = large(tmp_path / "source", 48 * MIB)
    bucket.upload(tmp_path / "source")
    repository = tmp_path / "here"
    staged = tmp_path / ".here.pulling" / "files" / "large" / "1" / "weights.bin"
    process = bucket.pull(repository)
    until(lambda: staged.is_file() and staged.stat().st_size > MIB)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    begun = staged.stat().st_size
    assert 0 < begun < total, "it was killed on the way"
    assert not (repository / "large").exists()
    process = bucket.pull(repository, "--json")
    out, _ = process.communicate()
    assert process.returncode == 0
    said = json.loads(out)
    assert said["kept_bytes"] == begun
    assert said["fetched_bytes"] == total - begun
    manifest.verify(repository / "large" / "1")


def test_memory_does_not_grow_with_the_files(bucket: Bucket, tmp_path: Path) -> None:
    peaks = []
    for number, size in enumerate((MIB, 64 * MIB)):
        large(tmp_path / f"source-{number}", size)
        bucket.upload(tmp_path / f"source-{number}")
        script = (
            "import resource, sys; from recserve.cli import main; code = main(sys.argv[1:]); "
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss); sys.exit(code)"
        )
        words = ["releases", "pull", f"s3://{BUCKET}/shop", "--repository", str(tmp_path / f"here-{number}")]
        done = subprocess.run(
            [sys.executable, "-c", script, *words],
            env={**os.environ, **bucket.environment},
            capture_output=True,
            text=True,
            check=True,
        )
        peaks.append(int(done.stdout.split()[-1]) // 1024)
    assert peaks[1] - peaks[0] < 40, f"MiB at most: {peaks}"


def test_a_key_that_leads_out_of_the_folder_is_refused(bucket: Bucket, tmp_path: Path) -> None:
    large(tmp_path / "source", MIB)
    bucket.upload(tmp_path / "source")
    bucket.put_as("shop/%2e%2e/evil")
    process = bucket.pull(tmp_path / "here")
    _, err = process.communicate()
    assert process.returncode == 2
    assert err.count("\n") == 1
    assert ".." in err
    assert not list(tmp_path.rglob("evil"))
    assert not (tmp_path / "here" / "large").exists()


FAULTS = {
    "no bucket": ({}, "has no bucket models"),
    "nobody there": (
        {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"},
        "http://127.0.0.1:9 does not answer: see AWS_ENDPOINT_URL",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_store_that_refuses_or_is_away_is_one_line_without_credentials(
    fault: str, bucket: Bucket, tmp_path: Path
) -> None:
    environment, remedy = FAULTS[fault]
    if fault == "no bucket":
        bucket.remove()
    for debug in ((), ("--debug",)):
        process = bucket.pull(tmp_path / "here", *debug, **environment)
        out, err = process.communicate()
        assert process.returncode != 0
        assert re.search(rf"s3://models/shop: .*{remedy}", err)
        assert not [secret for secret in (SECRET, KEY) if secret in out + err]
        if not debug:
            assert process.returncode == 2
            assert err.count("\n") == 1


def test_an_endpoint_without_a_scheme_is_one_line_that_names_the_variable(bucket: Bucket, tmp_path: Path) -> None:
    for text in ("minio:9000", "127.0.0.1:9000", "nonsense"):
        process = bucket.pull(tmp_path / "here", AWS_ENDPOINT_URL=text)
        _, err = process.communicate()
        assert process.returncode == 2
        assert err.count("\n") == 1
        assert f"AWS_ENDPOINT_URL is '{text}'" in err
