"""The step `user_state`: user id -> the user's state, from the store, or else from the encoder."""

import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np

from serving.configs import read_config
from serving.histories.examples import example_of
from serving.histories.live import Live, RawUser
from serving.ids import IdMaps, mapped_ids
from serving.state.observing import Observing
from serving.state.source import Encode, EncoderError, Question, State, StateSource
from serving.state.states import Entry, Read, States
from serving.steps.live_users import dense_users, open_live, raw_users
from serving.steps.state_counters import NO_HISTORY, Counters
from serving.steps.step import Host, NotAnsweredError, Refusal, Tensors
from serving.steps.unknown import Unknown

_ANY_INT64 = (-(2**63), 2**63 - 1)


class Request(NamedTuple):
    """What one client asks."""

    user_id: np.ndarray
    """int64 [1, 1]"""
    candidates: np.ndarray
    """int64 [1, n]"""
    live: Question | None = None
    """Of a user whose history came since the export."""


Who = int | Question
"""A user by dense id, or one whose history came since the export."""


class Bounds(NamedTuple):
    """What a request's candidates and user must keep to; None for no limit."""

    minimum: int = 0
    maximum: int | None = None
    max_elements: int | None = None
    users: tuple[int, int] = _ANY_INT64
    """The smallest and the largest user id."""

    @classmethod
    def of(cls, parameters: Mapping[str, str]) -> Self:
        """From the parameters of `config.pbtxt`."""
        maximum, max_elements = parameters.get("maximum.candidates"), parameters.get("max_elements.candidates")
        return cls(
            int(parameters.get("minimum.candidates", "0")),
            None if maximum is None else int(maximum),
            None if max_elements is None else int(max_elements),
            (
                int(parameters.get("minimum.user_id", _ANY_INT64[0])),
                int(parameters.get("maximum.user_id", _ANY_INT64[1])),
            ),
        )

    def user_of(self, request: Request) -> int:
        """The user who asks. Raises ValueError naming the field and the value that is wrong."""
        if request.user_id.shape != (1, 1):
            raise ValueError(f"user_id has shape {list(request.user_id.shape)}: send one user per request, [1, 1]")
        candidates = request.candidates.reshape(-1)
        if candidates.size == 0:
            raise ValueError("candidates is empty: send at least one item id")
        if self.max_elements is not None and candidates.size > self.max_elements:
            raise ValueError(
                f"candidates has {candidates.size} elements, at most {self.max_elements} are allowed: split the request"
            )
        is_wrong = candidates < self.minimum
        if self.maximum is not None:
            is_wrong |= candidates > self.maximum
        if is_wrong.any():
            position = int(is_wrong.argmax())
            legal = f"at least {self.minimum}" + ("" if self.maximum is None else f" and at most {self.maximum}")
            raise ValueError(f"candidates[{position}] is {candidates[position]}: an item id must be {legal}")
        user = int(request.user_id[0, 0])
        if not self.users[0] <= user <= self.users[1]:
            raise ValueError(f"user_id is {user}: it must be {self.users[0]} to {self.users[1]}")
        return user


class UserState:
    """Answers dynamic batches of requests: one read transaction, then at most one call of the encoder per
    `encoder_max_batch_size` users that the store could not answer for, then one write transaction. Where states take
    single events, these are added to what the store has of a user's history."""

    def __init__(
        self,
        source: StateSource,
        store: States,
        bounds: Bounds,
        encode: Encode,
        counters: Counters,
        observe: Encode | None = None,
    ) -> None:
        self._source = source
        self._store = store
        self._bounds = bounds
        self._encode = encode
        self._counters = counters
        self._observing = None if observe is None else Observing(source, store, observe, counters.observed)
        self._empty: State | None = None

    def resolve(self, requests: Sequence[Request]) -> list[State | Refusal]:
        """One answer per request, in order; a request that is wrong is refused alone."""
        asked = [self._user_of(request) for request in requests]
        found = {one: self._question(one) for one in asked if not isinstance(one, Refusal)}
        questions = {one: question for one, question in found.items() if question is not None}
        states = self._states(questions) if questions else {}
        if unknown := [one for one in found if one not in questions]:
            self._counters.read(NO_HISTORY, len(unknown))
            states |= dict.fromkeys(unknown, self._of_nobody())
        return [one if isinstance(one, Refusal) else states[one] for one in asked]

    def _question(self, who: Who) -> Question | None:
        return self._source.find(who) if isinstance(who, int) else who

    def _user_of(self, request: Request) -> Who | Refusal:
        try:
            user = self._bounds.user_of(request)
        except ValueError as error:
            return Refusal(str(error), "INVALID_ARG")
        return request.live or user

    def _of_nobody(self) -> State | Refusal:
        """The state of the empty history, which all users without one share; the store would fill with invented ids."""
        if self._empty is None:
            try:
                self._empty = self._source.compute_empty(self._encode)
            except EncoderError as error:
                return _refused(error)
        return self._empty

    def _states(self, questions: dict[Who, Question]) -> dict[Who, State | Refusal]:
        states: dict[Who, State | Refusal] = {}
        stale: dict[Who, Question] = {}
        reads = self._store.get_many([question.lookup for question in questions.values()])
        if reads is None:
            self._counters.read("store_error", len(questions))
        else:
            for user, read in zip(questions, reads, strict=True):
                self._counters.read(read.outcome, 1)
                if read.arrays is not None:
                    states[user] = read.arrays
                elif read.outcome == "stale":
                    stale[user] = questions[user]
            self._count_ages(reads)
        states |= self._observed(stale)
        missing = {user: question for user, question in questions.items() if user not in states}
        return states | self._computed(missing) if missing else states

    def _observed(self, stale: dict[Who, Question]) -> dict[Who, State]:
        """Those that the events since have been added to, written to the store."""
        if not stale or self._observing is None:
            return {}
        try:
            states = self._observing.states(stale)
        except EncoderError:
            # The encoder answers for all of them, or says why not.
            return {}
        self._write([Entry(stale[user].lookup, state) for user, state in states.items()])
        return states

    def _count_ages(self, reads: Sequence[Read]) -> None:
        # Clocks of several machines differ: nothing is younger than nothing.
        ages_s = [max(0.0, time.time() - read.time_ms / 1000) for read in reads if read.arrays and read.time_ms]
        if ages_s:
            self._counters.ages.add(ages_s)

    def _computed(self, questions: dict[Who, Question]) -> dict[Who, State | Refusal]:
        """Asks the encoder, and writes to the store what it answered."""
        states: dict[Who, State | Refusal] = {}
        entries = []
        users, size = list(questions), self._source.spec.encoder_max_batch_size
        for chunk in (users[start : start + size] for start in range(0, len(users), size)):
            try:
                computed = self._source.compute([questions[user] for user in chunk], self._encode)
            except EncoderError as error:
                states |= dict.fromkeys(chunk, _refused(error))
                continue
            states |= zip(chunk, computed, strict=True)
            entries += [Entry(questions[user].lookup, state) for user, state in zip(chunk, computed, strict=True)]
        self._write(entries)
        return states

    def _write(self, entries: list[Entry]) -> None:
        if not entries:
            return
        outcome, evicted = self._store.put_many(entries)
        self._counters.written(outcome, len(entries))
        if evicted:
            self._counters.evicted(evicted)


def _refused(error: EncoderError) -> Refusal:
    return Refusal(str(error), "UNAVAILABLE" if error.is_busy else "INTERNAL")


class StateStep:
    """`UserState` over a version folder: its files, its store, its counters, its encoder; and histories as they are."""

    def __init__(self, host: Host, folder: Path) -> None:
        """Reads the folder. Raises ValueError for a damaged one."""
        self._host = host
        self._version = int(folder.name)
        model = folder.parent.name
        self._source = StateSource(folder, model, self._version)
        read = read_config(folder.parent, "cpu").parameters
        parameters = {name: value.string_value for name, value in read.items()}
        bounds = Bounds.of(parameters)
        self._ids = IdMaps.load(folder, mapped_ids(parameters))
        self._live = open_live(host, folder, self._ids, set(self._source.spec.inputs))
        self._states = host.states(model)
        self._unknown = Unknown.of(host, model)
        spec = self._source.spec
        self._user_state = UserState(
            self._source,
            self._states,
            bounds,
            partial(self._ask, spec.encoder),
            Counters.of(host, model),
            partial(self._ask, spec.observer) if spec.observer else None,
        )

    def answer(self, requests: Sequence[Mapping[str, np.ndarray]]) -> list[State | Refusal]:
        """The state [1, ...] of each request's user, in order, or why there is none."""
        live, questions = self._live_of(requests), dict[RawUser, Question]()
        asked = [self._asked(request, live, questions) for request in requests]
        states = iter(self._user_state.resolve([one for one in asked if isinstance(one, Request)]))
        found = [one if isinstance(one, Refusal) else next(states) for one in asked]
        answered = [one for one, state in zip(asked, found, strict=True) if not isinstance(state, Refusal)]
        self._count_unknown([one for one in answered if isinstance(one, Request)])
        # Arrays of their own: rows of an encoder's batch share one.
        return [
            one if isinstance(one, Refusal) else {name: np.array(row[np.newaxis]) for name, row in one.items()}
            for one in found
        ]

    def close(self) -> None:
        """Closes the stores."""
        self._states.close()
        if self._live is not None:
            self._live.close()

    def _live_of(self, requests: Sequence[Mapping[str, np.ndarray]]) -> dict[RawUser, Live]:
        if self._live is None:
            return {}
        users = [user for request in requests for user in raw_users(request["user_id"])]
        return self._live.of([*dict.fromkeys(user for user in users if example_of(user) is None)])

    def _asked(
        self, tensors: Mapping[str, np.ndarray], live: Mapping[RawUser, Live], questions: dict[RawUser, Question]
    ) -> Request | Refusal:
        """With dense ids, and the one question about a live user."""
        try:
            self._ids.check(tensors)
        except ValueError as error:
            return Refusal(str(error), "INVALID_ARG")
        dense = dense_users(self._ids, tensors)
        raw = next(iter(raw_users(tensors["user_id"])), "")
        if raw in live and raw not in questions:
            user = int(dense["user_id"].reshape(-1)[0])
            questions[raw] = self._source.live(user, raw, live[raw])
        return Request(dense["user_id"], dense["candidates"], questions.get(raw))

    def _count_unknown(self, answered: Sequence[Request]) -> None:
        known = self._source.histories
        strangers = [one for one in answered if not known.has(int(one.user_id.item()))]
        self._unknown.add(len(answered), len(strangers), [one.candidates for one in answered])

    def _ask(self, model: str, inputs: Tensors) -> Tensors:
        """At the version of this model: they are published together."""
        outputs = [output.name for output in self._source.spec.outputs]
        try:
            return self._host.ask(model, self._version, inputs, outputs)
        except NotAnsweredError as error:
            raise EncoderError(str(error), is_busy=error.is_busy) from error
