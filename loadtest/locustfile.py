"""Locust's users: `locust -f loadtest/locustfile.py --host 127.0.0.1:8001 --repository my_models --model NAME`.

Without --rate each user sends its next request when the last was answered (closed loop);
with it each user sends at Poisson times whatever the server does (open loop), and a request's latency
counts from the moment at which it was meant to be sent. With --seconds the load ends that long after its first
request, however long reading the traffic and connecting took; --run-time counts them in.
"""

import grpc.experimental.gevent

grpc.experimental.gevent.init_gevent()  # before the first channel

import gc  # noqa: E402
import os  # noqa: E402
import random  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any, ClassVar  # noqa: E402

import gevent  # noqa: E402
from gevent.pool import Group  # noqa: E402
from gevent.queue import Queue  # noqa: E402
from locust import User, events, task  # noqa: E402
from locust.runners import MasterRunner, WorkerRunner  # noqa: E402

from loadtest.arrivals import poisson  # noqa: E402
from loadtest.pool import Pool, Request  # noqa: E402
from loadtest.records import OK, WRONG, Records  # noqa: E402
from loadtest.transports import Connection, transport  # noqa: E402

CONNECTIONS = 64
"""Of an open-loop user, opened before its first request: as many requests of one worker are under way at once."""

BEGAN = "began"
"""Message of each process to the one that ends the load: its first request is due."""

_rows: list[tuple[float, float, float, int, str]] = []


class WrongAnswer(Exception):
    """An answer that differs from what the pool says."""


@events.init_command_line_parser.add_listener
def _(parser: Any) -> None:
    parser.add_argument("--repository", default="model_repository", help="model repository that is served")
    parser.add_argument("--model", default="", help="model of the repository that is asked what its task asks")
    parser.add_argument("--pool-file", default="", help="requests with their answers; answers are then compared")
    parser.add_argument("--transport", default="recserve", help="how to talk to the server: recserve, or a peer's name")
    parser.add_argument("--tls", default="", help="folder with ca.crt, and client.crt and client.key where asked for")
    parser.add_argument("--headers", default="", help="file of headers of each request, name: value in each line")
    parser.add_argument(
        "--rate", type=float, default=0.0, help="open loop: requests per second of each user, Poisson; 0 = closed"
    )
    parser.add_argument(
        "--seconds", type=float, default=0.0, help="length of the load from its first request on; 0 = until --run-time"
    )
    parser.add_argument("--seed", type=int, default=0, help="everything random follows from it")
    parser.add_argument(
        "--records", default="", help="folder for one file of records per worker", include_in_web_ui=False
    )


@events.init.add_listener
def _(environment: Any, runner: Any, **_: Any) -> None:
    options, ends = environment.parsed_options, []

    def began(**_: Any) -> None:
        if options.seconds and not ends:
            ends.append(gevent.spawn_later(options.seconds, runner.quit))

    if isinstance(runner, WorkerRunner):
        return  # its options come with the order to start
    runner.register_message(BEGAN, began)
    if not isinstance(runner, MasterRunner):
        try:
            Asking.read(options)
        except Exception as error:
            sys.exit(f"the traffic could not be read: {type(error).__name__}: {error}")


@events.test_start.add_listener
def _(**_: Any) -> None:
    # Full collections over all that was loaded and recorded would stop every user for tens of milliseconds.
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 1_000_000)


@events.quitting.add_listener
def _(environment: Any, **_: Any) -> None:
    folder = environment.parsed_options.records
    if folder and _rows:
        Records.of(_rows).save(Path(folder) / f"{os.getpid()}.npz")


@events.quit.add_listener
def _(exit_code: int, **_: Any) -> None:
    # gRPC's threads under gevent now and then keep the interpreter from ending by itself.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)


def drawn(options: Any) -> Pool:
    """The traffic of a model of the repository, with no answers to compare with."""
    # With a file of requests nobody needs it, and torch would take seconds of each process.
    from loadtest.scenario import Scenario

    inputs = Scenario(options.model).requests(Path(options.repository), options.seed)
    return Pool(options.model, [Request(one, ()) for one in inputs])


def _traffic(options: Any) -> Pool:
    return Pool.load(Path(options.pool_file)) if options.pool_file else drawn(options)


class Asking(User):
    """Sends a model's requests, and compares the answers."""

    pools: ClassVar[list[Pool]] = []
    """Of this process: one, once it is read or made."""

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        options = environment.parsed_options
        worker = getattr(environment.runner, "worker_index", 0)
        self.choice = random.Random(f"{options.seed}/{worker}/{id(self)}")  # noqa: S311 - no secret
        self.connect = transport(options.transport, options.tls, options.headers)
        self.free: Queue[Connection] = Queue()
        self.in_flight = Group()
        self.pool = self.read(options)
        self.arrivals = poisson(options.rate, self.choice.getrandbits(32)) if options.rate else None
        self.began = 0.0

    def on_start(self) -> None:
        """Opens the connections; arrivals count from here."""
        for _ in range(1 if self.arrivals is None else CONNECTIONS):
            self.free.put(self.connect(self.host or ""))
        gc.freeze()  # the pool
        self.began = time.time()
        self.environment.runner.send_message(BEGAN)

    @classmethod
    def read(cls, options: Any) -> Pool:
        """This process's traffic; read in a thread, so that a worker's heartbeat goes on."""
        if not cls.pools:
            cls.pools.append(gevent.get_hub().threadpool.apply(_traffic, (options,)))
        return cls.pools[0]

    @task
    def send(self) -> None:
        """One request; in an open loop it is sent when it is due, and its answer is not waited for."""
        if self.arrivals is None:
            self._exchange(time.time())
            return
        due = self.began + next(self.arrivals)
        gevent.sleep(max(0.0, due - time.time()))
        self.in_flight.spawn(self._exchange, due)

    def on_stop(self) -> None:
        """Waits for answers under way."""
        self.in_flight.join(timeout=5)
        while not self.free.empty():
            self.free.get().close()

    def _exchange(self, intended: float) -> None:
        request = self.choice.choice(self.pool.requests)
        sent = time.time()
        error = self._ask(request)
        now = time.time()
        latency, lag = 1e3 * (now - intended), 1e3 * (sent - intended)
        outcome = OK if error is None else WRONG if isinstance(error, WrongAnswer) else type(error).__name__
        _rows.append((intended, latency, lag, request.size, outcome))
        events.request.fire(
            request_type=self.environment.parsed_options.transport,
            name=self.pool.model,
            response_time=latency,
            response_length=request.size,
            exception=error,
        )

    def _ask(self, request: Request) -> Exception | None:
        connection = self.free.get()
        try:
            answer = connection.infer(self.pool.model, request.inputs)
        except Exception as error:  # every failure is counted under its name
            return error
        finally:
            self.free.put(connection)
        return None if request.is_right(answer) else WrongAnswer(f"{self.pool.model} gave another answer than alone")
