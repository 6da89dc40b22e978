"""The port that tells kubelets and balancers whether a server is ready."""

import os
import re
import signal
import threading
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from loadtest.served import Served, until
from serving.ready_port import ReadyPort

X = np.array([[1.0, -2.0, 0.5]], np.float32)


def status(url: str) -> int | None:
    """None where nobody listens."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except urllib.error.URLError:
        return None


def test_it_tells_what_holds_now_and_closes_with_its_owner() -> None:
    is_ready = threading.Event()
    with ReadyPort("127.0.0.1", 0, is_ready.is_set) as port:
        assert status(port.url) == 503
        is_ready.set()
        assert status(port.url) == 200
        is_ready.clear()
        assert status(port.url) == 503
        number = int(re.findall(r":(\d+)/", port.url)[0])
        with pytest.raises(ValueError, match=rf"--ready-port {number} cannot be opened on 127.0.0.1: .*in use"):
            ReadyPort("127.0.0.1", number, is_ready.is_set)
    assert status(port.url) is None


def test_a_number_that_is_no_port_is_refused() -> None:
    with pytest.raises(ValueError, match="--ready-port 70000 cannot be opened"):
        ReadyPort("127.0.0.1", 70000, lambda: True)


@pytest.mark.triton_server
def test_serve_tells_when_it_falls_when_it_is_back_and_when_it_drains(small_repository: Path) -> None:
    with Served(small_repository, "--ready-port", 0, "--drain-s", 600) as serve:
        until(lambda: "readiness is told at" in serve.said)
        url = re.findall(r"http://\S+/ready", serve.said)[0]
        assert status(url) == 503, "models are not even loaded"
        assert serve.address
        assert status(url) == 200
        os.kill(serve.server, signal.SIGKILL)
        until(lambda: status(url) == 503)
        serve.says("restart 1: ready again")
        until(lambda: status(url) == 200)
        serve.process.send_signal(signal.SIGTERM)
        until(lambda: status(url) == 503)
        with serve.client() as client:
            assert (client.infer("scaled", {"x": X})["y"] == 2 * X + 1).all(), "it goes on answering"
        assert serve.ends(signal.SIGTERM) == 0
        assert status(url) is None
