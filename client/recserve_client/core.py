"""What a client does, whatever way it waits: steps that say what to send or how long to pause, and take the answers.

`Client` and `AsyncClient` perform the steps; nothing here does input or output, or knows gRPC.
"""

import math
import threading
import time
import uuid
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from recserve_client import outcomes, protocol, retries, tensors
from recserve_client.described import Description, ModelMetadata
from recserve_client.endpoints import Endpoints
from recserve_client.errors import (
    DeadlineExceeded,
    InvalidRequest,
    NotAllowed,
    ServerUnavailable,
    ServingError,
    StaleState,
)
from recserve_client.headers import REQUEST_ID, bounded, checked, checked_value, with_user
from recserve_client.outcomes import Failed, Outcome, Overdue, TooManyOverdue
from recserve_client.protocol import Method, messages
from recserve_client.statuses import Again, Verdict, verdict

DESCRIPTION_LIFE_S = 5.0
"""How long what a server said of a model is believed."""


class Send(NamedTuple):
    """A call to one server. The answer is the reply, or an `Outcome`, which is raised."""

    url: str
    method: Method
    request: Any
    headers: Sequence[tuple[str, str]]
    seconds: float
    """How long to wait."""


class Pause(NamedTuple):
    """Nothing for a while."""

    seconds: float


Result = TypeVar("Result")
Steps = Generator[Send | Pause, Any, Result]


class Ask(NamedTuple):
    """What holds for all calls that one question takes."""

    request_id: str
    headers: Sequence[tuple[str, str]]
    deadline_s: float
    end: float
    """When the caller stops waiting, by the monotonic clock."""
    retried: bool = True
    """Whether it may be sent again: it changes nothing that a second time would change again."""


class Answer(NamedTuple):
    """Of one inference."""

    outputs: dict[str, np.ndarray]
    version: str
    """Of the model that answered."""


class Counters(NamedTuple):
    """What a client did since it was made."""

    calls: int
    """Sent for the first time."""
    retries: int
    """Sent again."""
    withheld: int
    """Retries that the budget did not allow."""
    overdue: int
    """Given up at the caller's deadline."""


class Core:
    """State that all calls of a client share: servers, retries, what models were said to be. Shared by threads."""

    def __init__(self, urls: Sequence[str], deadline_s: float, headers: Mapping[str, str], most_retries: int) -> None:
        """Raises ValueError for no server, and for a wrong number of retries, and InvalidRequest for the rest."""
        if not urls or not all(isinstance(url, str) and url for url in urls):
            raise ValueError(f"urls are {list(urls)}; give host:port of one server or more")
        if most_retries < 0:
            raise ValueError(f"retries is {most_retries}; it must be at least 0")
        self.endpoints = Endpoints(tuple(dict.fromkeys(urls)))
        self._deadline_s, self._headers, self._most = deadline_s, checked(headers), most_retries
        self._budget = retries.Budget()
        self._lock = threading.Lock()
        self._counts = dict.fromkeys(Counters._fields, 0)
        self._descriptions: dict[str, tuple[float, Description]] = {}

    @property
    def counters(self) -> Counters:
        """So far."""
        with self._lock:
            return Counters(**self._counts)

    def ask(
        self,
        deadline_s: float | None = None,
        request_id: str | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        retried: bool = True,
    ) -> Ask:
        """What the caller said, with the client's own where nothing was. Raises InvalidRequest."""
        deadline = self._deadline_s if deadline_s is None else deadline_s
        if not 0 <= deadline < math.inf:
            raise InvalidRequest(f"deadline_s is {deadline}; give seconds, 0 or more")
        own = str(uuid.uuid4()) if request_id is None else checked_value("request_id", request_id)
        merged = {**self._headers, **checked(headers or {}), REQUEST_ID: own}
        return Ask(own, bounded(merged), deadline, time.monotonic() + deadline, retried)

    def infer(self, model: str, version: str, inputs: Mapping[str, Any], ask: Ask) -> Steps[Answer]:
        """One inference, which says whose it is. Raises StaleState for NaN in an output, and any other ServingError."""
        request = tensors.infer_request(model, version, inputs, ask.request_id)
        ask = ask._replace(headers=with_user(ask.headers, inputs))
        reply = yield from self.exchange(protocol.MODEL_INFER, request, ask)
        outputs = tensors.outputs(reply)
        _refuse_nan(model, outputs)
        return Answer(outputs, reply.model_version)

    def server_ready(self, ask: Ask) -> Steps[bool]:
        """Whether one of the servers is ready. Raises NotAllowed where none is and one does not say it to everybody."""
        request, urls = messages["ServerReadyRequest"](), self.endpoints.urls
        refusal: NotAllowed | None = None
        for number, url in enumerate(urls):
            send = self._sent(url, protocol.SERVER_READY, request, ask)
            try:
                # One that hangs leaves time for the others.
                reply = yield send._replace(seconds=send.seconds / (len(urls) - number))
            except Failed as failure:
                error = verdict(failure.code, failure.details, url).error
                refusal = error if isinstance(error, NotAllowed) else refusal
            except Outcome:
                continue
            else:
                if reply.ready:
                    return True
        if refusal is not None:
            raise refusal
        return False

    def model_ready(self, model: str, ask: Ask) -> Steps[bool]:
        """Whether the server that is asked is willing to run it."""
        request = messages["ModelReadyRequest"](name=model)
        return (yield from self.exchange(protocol.MODEL_READY, request, ask)).ready

    def metadata(self, model: str, ask: Ask) -> Steps[ModelMetadata]:
        """Versions and tensors."""
        request = messages["ModelMetadataRequest"](name=model)
        return ModelMetadata.of((yield from self.exchange(protocol.MODEL_METADATA, request, ask)))

    def describe(self, model: str, ask: Ask) -> Steps[Description]:
        """What a model is, as a server said not longer than `DESCRIPTION_LIFE_S` ago."""
        if not isinstance(model, str):
            raise InvalidRequest(f"model is {model!r}; give the name of a served model")
        until, known = self._descriptions.get(model, (0.0, None))
        if known is not None and time.monotonic() < until:
            return known
        request = messages["ModelConfigRequest"](name=model)
        found = Description.of((yield from self.exchange(protocol.MODEL_CONFIG, request, ask)).config)
        self._descriptions[model] = time.monotonic() + DESCRIPTION_LIFE_S, found
        return found

    def informed(
        self, model: str, build: Callable[[Description], Mapping[str, Any]], ask: Ask
    ) -> Steps[tuple[Description, Answer]]:
        """An inference whose inputs follow from what the model is, which is found out anew where it was refused."""
        known = yield from self.describe(model, ask)
        try:
            return known, (yield from self.infer(model, "", build(known), ask))
        except InvalidRequest:
            self._descriptions.pop(model, None)
            if known == (new := (yield from self.describe(model, ask))):
                raise
        return new, (yield from self.infer(model, "", build(new), ask))

    def exchange(self, method: Method, request: Any, ask: Ask) -> Steps[Any]:
        """The reply to one call, which is sent again where that is safe, may help, and the budget allows it."""
        tried: list[str] = []
        self._budget.earn()
        while True:
            url = self.endpoints.choose(tried)
            self._count("retries" if tried else "calls")
            tried.append(url)
            try:
                reply = yield self._sent(url, method, request, ask)
            except Outcome as failure:
                found = self._verdict(failure, url, ask)
                pause = self._pause_s(found, tried, ask)
                if pause is None:
                    raise found.error from failure
            else:
                self.endpoints.well(url)
                return reply
            if pause:
                yield Pause(pause)

    def _sent(self, url: str, method: Method, request: Any, ask: Ask) -> Send:
        return Send(url, method, request, ask.headers, max(0.0, ask.end - time.monotonic()))

    def _verdict(self, failure: Outcome, url: str, ask: Ask) -> Verdict:
        match failure:
            case Failed(code=code, details=details):
                found = verdict(code, details, url)
                if found.again is Again.ELSEWHERE:
                    self.endpoints.failed(url)
                return found
            case Overdue():
                self.endpoints.failed(url)
                self._count("overdue")
                return Verdict(
                    DeadlineExceeded(
                        f"{url}: no answer within {ask.deadline_s:g} s; give the call a longer deadline_s or the "
                        "server less load"
                    )
                )
            case TooManyOverdue():
                self.endpoints.failed(url)
                return Verdict(
                    ServerUnavailable(
                        f"{url}: {outcomes.MAX_OVERDUE} calls passed their deadline and are still under way, so no "
                        "other is sent; the server hangs, or is too slow for this load"
                    ),
                    Again.ELSEWHERE,
                )
            case _:
                return Verdict(ServerUnavailable(f"{url}: this client was closed; make a new Client"))

    def _pause_s(self, found: Verdict, tried: Sequence[str], ask: Ask) -> float | None:
        """Seconds until the call is sent again; None where it is not, and then its error says why."""
        number = len(tried) - 1
        if found.again is Again.NO or not ask.retried or not self._most:
            return None
        if number >= self._most:
            found.error.say_more(f"asked {len(tried)} times")
            return None
        is_elsewhere = found.again is Again.ELSEWHERE and {*tried} != {*self.endpoints.urls}
        pause = 0.0 if is_elsewhere else retries.pause_s(number)
        if time.monotonic() + pause >= ask.end:
            return None
        if not self._budget.spend():
            self._count("withheld")
            found.error.say_more(f"not asked again: more than {retries.SHARE:.0%} of the requests were of late")
            return None
        return pause

    def _count(self, name: str) -> None:
        with self._lock:
            self._counts[name] += 1


def with_id(steps: Steps[Result], ask: Ask) -> Steps[Result]:
    """The same; what they raise says of which request it is."""
    try:
        return (yield from steps)
    except ServingError as error:
        error.request_id = ask.request_id
        raise


def _refuse_nan(model: str, outputs: Mapping[str, np.ndarray]) -> None:
    for name, array in outputs.items():
        if np.issubdtype(array.dtype, np.floating) and np.isnan(array).any():
            raise StaleState(
                f"{model}: output '{name}' holds NaN: a float input is not a number, or, where the model reads a "
                "user's state, that is of another model version; check the inputs, or rebuild it (recserve state build)"
            )
