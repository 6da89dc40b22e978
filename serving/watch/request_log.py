"""The sampled log of requests: some are written with their answers, by a thread beside the hot path.

It is off unless asked for. It never fails a request and never makes one wait: what the thread cannot keep up with is
dropped and counted. Its folder is bounded: the oldest files make room.
"""

import json
import os
import queue
import random
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, NamedTuple, Self

import numpy as np

from recserve_client import texts
from serving.watch import families
from serving.watch.prometheus import Prometheus
from serving.watch.pseudonyms import USER_ID, hashed, is_of_example, key_of, make_key
from serving.watch.records import SUFFIX, encoded

VARIABLE = "RECSERVE_REQUEST_LOG"
"""Environment variable that tells a model's process of the log, as JSON; empty for none."""
OUTCOMES = ("written", "dropped", "failed")
_WAITING = 256
"""Records that wait to be written."""
_FILES = 16
"""At least so many make up the folder's bound."""

Tensors = Mapping[str, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class LogOptions:
    """Which requests are logged, and where."""

    folder: Path
    rate: float = 0.01
    """Share of the requests, each drawn for itself."""
    mib: int = 256
    """Bound of the folder; each process may be beyond it by one file, a sixteenth of it."""
    ids: Literal["hashed", "raw"] = "hashed"
    """How users are named."""

    def __post_init__(self) -> None:
        """Raises ValueError naming the option of recserve serve."""
        if not 0 < self.rate <= 1:
            raise ValueError(f"--request-log-rate is {self.rate:g}; it must be above 0 and at most 1")
        if self.mib < 1:
            raise ValueError(f"--request-log-mib is {self.mib}; it must be 1 or more")

    def prepare(self) -> None:
        """Makes folder and key. Raises ValueError where nothing can be written there."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            make_key(self.folder)
        except OSError as error:
            raise ValueError(f"--request-log {self.folder}: {error.strerror}; name a folder to write in") from error
        key_of(self.folder)


def environment(options: LogOptions | None) -> dict[str, str]:
    """What tells the processes of a server."""
    said = None if options is None else asdict(options) | {"folder": str(options.folder.resolve())}
    return {VARIABLE: json.dumps(said) if said else ""}


class _Drawn(NamedTuple):
    inputs: Tensors
    outputs: Tensors
    time: str


class RequestLog:
    """Of one version of a model, in one process."""

    def __init__(
        self, prometheus: Prometheus, model: str, version: str, options: LogOptions, warn: Callable[[str], None]
    ) -> None:
        self._options = options
        self._facts = {"model": model, "version": version, "ids": options.ids}
        self._folder = options.folder / model
        self._key = key_of(options.folder) if options.ids == "hashed" else None
        self._warn: Callable[[str], None] | None = warn
        self._count = {one: prometheus.counter(families.LOG_RECORDS, model, one) for one in OUTCOMES}
        self._random = random.Random()  # noqa: S311 - no secret
        self._file: Path | None = None
        self._waiting: queue.Queue[_Drawn | None] = queue.Queue(_WAITING)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @classmethod
    def of_environment(
        cls, prometheus: Prometheus, model: str, version: str, warn: Callable[[str], None]
    ) -> Self | None:
        """As the server was told to; None where nothing is logged."""
        text = os.environ.get(VARIABLE)
        if not text:
            return None
        said = json.loads(text)
        return cls(prometheus, model, version, LogOptions(**said | {"folder": Path(said["folder"])}), warn)

    def add(self, inputs: Tensors, outputs: Tensors) -> None:
        """Draws whether this request is logged; returns at once. Golden requests of users are no traffic."""
        if self._random.random() >= self._options.rate or is_of_example(inputs.get(USER_ID)):
            return
        # The server takes the memory of its tensors back with the answer.
        drawn = _Drawn(_copies(inputs), _copies(outputs), datetime.now(UTC).isoformat(timespec="milliseconds"))
        try:
            self._waiting.put_nowait(drawn)
        except queue.Full:
            self._count["dropped"](1)

    def close(self) -> None:
        """Writes what waits."""
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (drawn := self._waiting.get()) is not None:
            try:
                self._write(drawn)
            except Exception as error:  # whatever it is, requests go on
                self._count["failed"](1)
                if self._warn is not None:
                    self._warn(f"the log of requests cannot be written: {error}; this is said once")
                    self._warn = None
            else:
                self._count["written"](1)

    def _write(self, drawn: _Drawn) -> None:
        inputs, outputs = _read(drawn.inputs), _read(drawn.outputs)
        if self._options.ids == "hashed" and USER_ID in inputs:
            if self._key is None:
                raise ValueError(f"{self._options.folder} has no key")
            inputs[USER_ID] = hashed(self._key, inputs[USER_ID])
        record = encoded(inputs, outputs, self._facts | {"time": drawn.time})
        descriptor = os.open(self._current(len(record)), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "ab") as file:
            file.write(record)

    def _current(self, more: int) -> Path:
        """The file to append to; a new one where the last is full or gone, after which the oldest make room."""
        bound = self._options.mib * 2**20
        with suppress(FileNotFoundError):
            if self._file is not None and self._file.stat().st_size + more <= bound // _FILES:
                return self._file
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._file = self._folder / f"{time.time_ns()}-{os.getpid()}{SUFFIX}"
        _make_room(self._options.folder, bound - bound // _FILES)
        return self._file


def _make_room(folder: Path, bound: int) -> None:
    """Removes the oldest files beyond a bound in bytes."""
    sizes: dict[Path, int] = {}
    for path in folder.glob(f"*/*{SUFFIX}"):
        with suppress(FileNotFoundError):  # another process made room too
            sizes[path] = path.stat().st_size
    total = sum(sizes.values())
    for path in sorted(sizes, key=lambda one: one.name):
        if total <= bound:
            return
        path.unlink(missing_ok=True)
        total -= sizes[path]


def _read(tensors: Tensors) -> dict[str, np.ndarray]:
    """With text for the bytes that the server hands over."""
    return {name: texts.decoded(array) if array.dtype == object else array for name, array in tensors.items()}


def _copies(tensors: Tensors) -> dict[str, np.ndarray]:
    return {name: array.copy() for name, array in tensors.items()}
