"""Clients that ask one model all the time, from threads of this process, and keep every answer."""

import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from recserve_client import Client
from recserve_client.errors import ServingError
from serving import golden
from serving.versions import served_version

_PAUSE_S = 0.005
"""Between two requests of a client: the server, not the clients, shall have the machine."""


class Crowd:
    """What the clients saw so far."""

    def __init__(self, model: str, requests: Sequence[Mapping[str, np.ndarray]]) -> None:
        self.model = model
        self.requests = requests
        self.errors: list[ServingError] = []
        self.answers: list[tuple[int, bytes]] = []
        """Number of the request, and the bits of all its outputs."""

    def ask(self, url: str, first: int, stop: threading.Event) -> None:
        with Client(url, deadline_s=30.0) as client:
            number = first
            while not stop.is_set():
                number = (number + 1) % len(self.requests)
                try:
                    answer = client.infer(self.model, self.requests[number])
                except ServingError as error:
                    self.errors.append(error)
                else:
                    self.answers.append((number, bits(answer)))
                stop.wait(_PAUSE_S)

    def given_by(self, known: Mapping[int, Sequence[bytes]]) -> Counter[int | None]:
        """How many answers each release gave (version -> bits of its answer to each request), and None for neither."""
        found = {(number, one): version for version, answers in known.items() for number, one in enumerate(answers)}
        return Counter(found.get(answer) for answer in self.answers)


def bits(answer: Mapping[str, np.ndarray]) -> bytes:
    return b"".join(np.ascontiguousarray(answer[name]).tobytes() for name in sorted(answer))


def requests_of(model: Path) -> list[Mapping[str, np.ndarray]]:
    """The golden requests of the version that is served."""
    return [one.inputs for one in golden.read(served_version(model) / "golden.safetensors")]


def answers(client: Client, model: str, requests: Sequence[Mapping[str, np.ndarray]], version: int) -> list[bytes]:
    return [bits(client.infer(model, request, version=str(version))) for request in requests]


@contextmanager
def crowd(url: str, model: Path, clients: int = 8) -> Iterator[Crowd]:
    """Clients that ask until the end, each from a thread of its own."""
    one, stop = Crowd(model.name, requests_of(model)), threading.Event()
    threads = [threading.Thread(target=one.ask, args=(url, first, stop)) for first in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield one
    finally:
        stop.set()
        for thread in threads:
            thread.join()
