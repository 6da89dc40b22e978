"""Clients that misbehave, with gRPC alone: `python -m loadtest.rude URL POOL SECONDS SEED` prints what it did as JSON.

None of it is what our client does: short deadlines on the wire, cancelled calls, channels and processes that end with
calls under way, requests that are empty, huge, or no requests at all.
"""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from loadtest.cores import split, started_on
from loadtest.pool import Pool, Tensors
from recserve_client.channels import unary
from recserve_client.protocol import MODEL_INFER, messages
from recserve_client.tensors import infer_request

_IN_FLIGHT = 100
_HUGE = 2_000_000
"""Candidates; 16 MB."""
_LIMITS = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]


class Rude:
    """One misbehaving client: a way to be rude per method, each of which returns how many calls it made."""

    def __init__(self, url: str, pool: Pool, seed: int) -> None:
        self._url = url
        self._pool = pool
        self._choice = random.Random(seed)  # noqa: S311 - no secret

    def deadlines(self) -> int:
        """Deadlines of 0 to 3 ms on the wire."""
        with grpc.insecure_channel(self._url) as channel:
            ask = unary(channel, MODEL_INFER)
            for _ in range(50):
                with suppress(grpc.RpcError):
                    ask(self._request(), timeout=self._choice.uniform(0.0, 0.003))
        return 50

    def cancels(self) -> int:
        """Calls that are cancelled a moment after they were sent."""
        with grpc.insecure_channel(self._url) as channel:
            ask = unary(channel, MODEL_INFER)
            for _ in range(50):
                future = ask.future(self._request())
                time.sleep(self._choice.uniform(0.0, 0.003))
                future.cancel()
        return 50

    def closes(self) -> int:
        """Channels that are closed with calls under way."""
        for _ in range(10):
            channel = grpc.insecure_channel(self._url)
            ask = unary(channel, MODEL_INFER)
            futures = [ask.future(self._request()) for _ in range(5)]
            time.sleep(self._choice.uniform(0.0, 0.005))
            channel.close()
            del futures
        return 50

    def dies(self) -> int:
        """A process that is killed with calls under way."""
        words = [sys.executable, "-m", "loadtest.rude", self._url, "-", str(_IN_FLIGHT), "0"]
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(self._request().SerializeToString())
            process.stdin.close()
            process.stdout.read(1)
            process.kill()
        return _IN_FLIGHT

    def empties(self) -> int:
        """Inputs of length 0, in every combination that one request has."""
        asked = [
            self._like(lambda name, array, chosen=chosen: array[:, :0] if name in chosen else array)
            for chosen in self._subsets()
        ]
        return self._ask_all([*asked, messages["ModelInferRequest"](model_name=self._pool.model)])

    def huge(self) -> int:
        """Far more than one request may carry."""
        return self._ask_all([self._like(lambda _, array: np.resize(array, (1, _HUGE)))])

    def garbage(self) -> int:
        """Ids out of any vocabulary, other types and shapes, bytes that do not fit, models that are not there."""
        extreme = self._choice.choice([-1, -(2**63), 2**63 - 1, 2**31])
        cut = self._request()
        cut.raw_input_contents[0] = cut.raw_input_contents[0][:-1]
        return self._ask_all(
            [
                self._like(lambda _, array: np.full_like(array, extreme)),
                self._like(lambda _, array: array.astype(np.float64)),
                self._like(lambda _, array: array[0]),
                self._like(lambda _, array: array.repeat(3, axis=0)),
                infer_request("no_such_model", "", {"x": [1]}),
                infer_request(self._pool.model, "999", self._inputs()),
                cut,
            ]
        )

    def run(self, seconds: float) -> dict[str, int]:
        """One way after the other, in random order; calls by way."""
        ways: dict[str, Callable[[], int]] = {name: getattr(self, name) for name in WAYS}
        end, counts = time.monotonic() + seconds, Counter(dict.fromkeys(ways, 0))
        while time.monotonic() < end:
            name = self._choice.choice(list(ways))
            # The server may be away, killed by the last one.
            with suppress(grpc.RpcError, OSError):
                counts[name] += ways[name]()
        return dict(counts)

    def _ask_all(self, requests: list[Any]) -> int:
        with grpc.insecure_channel(self._url, _LIMITS) as channel:
            ask = unary(channel, MODEL_INFER)
            for request in requests:
                with suppress(grpc.RpcError):
                    ask(request)
        return len(requests)

    def _subsets(self) -> list[set[str]]:
        names = list(self._inputs())
        return [{name for place, name in enumerate(names) if bits >> place & 1} for bits in range(1, 2 ** len(names))]

    def _inputs(self) -> Tensors:
        return self._choice.choice(self._pool.requests).inputs

    def _request(self) -> Any:
        return infer_request(self._pool.model, "", self._inputs())

    def _like(self, change: Callable[[str, np.ndarray], np.ndarray]) -> Any:
        changed = {name: change(name, array) for name, array in self._inputs().items()}
        return infer_request(self._pool.model, "", changed)


WAYS = ("deadlines", "cancels", "closes", "dies", "empties", "huge", "garbage")


def _hang(url: str, in_flight: int) -> None:
    """Sends one request many times, says so, and waits to be killed."""
    request = messages["ModelInferRequest"].FromString(sys.stdin.buffer.read())
    channel = grpc.insecure_channel(url)
    ask = unary(channel, MODEL_INFER)
    futures = [ask.future(request) for _ in range(in_flight)]
    sys.stdout.write("." * bool(futures))
    sys.stdout.flush()
    threading.Event().wait(10.0)
    os.kill(os.getpid(), signal.SIGKILL)


def started(url: str, pool: Path, seconds: float, number: int, seed: int) -> list[subprocess.Popen[str]]:
    """So many processes of them, on the load's cores."""
    words = [sys.executable, "-m", "loadtest.rude", url, str(pool), str(seconds)]
    with started_on(split().load):
        return [
            subprocess.Popen([*words, str(seed + place)], stdout=subprocess.PIPE, text=True) for place in range(number)
        ]


def ended(processes: Sequence[subprocess.Popen[str]]) -> dict[str, int]:
    """Waits for them; calls by way, of all."""
    done = [json.loads(one.communicate(timeout=300.0)[0]) for one in processes]
    return dict(sum((Counter(one) for one in done), Counter()))


def main() -> None:
    url, pool, number, seed = sys.argv[1:]
    if pool == "-":
        _hang(url, int(number))
    sys.stdout.write(json.dumps(Rude(url, Pool.load(Path(pool)), int(seed)).run(float(number))))
    sys.stdout.flush()
    # The channels are closed; nothing is waited for.
    os._exit(0)


if __name__ == "__main__":
    main()
