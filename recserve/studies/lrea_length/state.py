"""What a user's state costs: to build from the whole history, to bring up to date by one event, to write, to read.

One new event moves every older one a position on, and W_dn, W_up weigh by position: trained, they leave nothing of the
old sums to keep, so an append computes the state anew. A correct update in O(R D) exists in two forms that are not
served so: the segment pooling that W_dn starts with (each segment's mean gains the event that enters it and loses the
one that leaves), and the adaptive variant (its softmax over the events is a sum of numerators and one of denominators,
and G a sum of outer products: an event adds a term to each). G and 1^T diag(m) W_up depend on the number of events
alone in the static form and could be read from a table.
"""

from collections.abc import Callable, Mapping

import numpy as np

from recserve.studies.lrea_length.lab import Case, Lab, Questions, Tensors
from recserve.studies.lrea_length.models import USERS, name_of
from serving.backends import packing
from serving.state_source import StateSource
from serving.state_store import Entry, StateStore

STEPS = ("build", "append", "write", "read")


def steps(lab: Lab, store: StateStore) -> dict[Case, Callable[[int], object]]:
    """The steps at every length as timed calls; `store` is one of this benchmark's own, on the same disk."""
    cases: dict[Case, Callable[[int], object]] = {}
    for questions in lab.questions:
        for step, call in _steps(lab, questions, store).items():
            cases[Case(step, "state", questions.length)] = call
    return dict(sorted(cases.items(), key=lambda entry: STEPS.index(entry[0].way)))


def state_bytes(questions: Questions) -> int:
    """Of one user's arrays, in fp32."""
    state = questions.requests["absorbed"][0]
    return sum(array.nbytes for name, array in state.items() if name != "candidates")


def _steps(lab: Lab, questions: Questions, store: StateStore) -> dict[str, Callable[[int], object]]:
    name = name_of("user_state", questions.length)
    encoder = lab.direct[name_of("lrea_user_encoder", questions.length)]
    source = StateSource(lab.repository / name / "1", name, 1)
    users = [int(user) for user in source.histories.user_ids]
    histories = [source.question(user).inputs for user in users]
    feeds = [packing.pack(encoder.spec, [history]) for history in histories]
    outputs = [output.name for output in encoder.spec.outputs]

    def encode(feed: Mapping[str, np.ndarray]) -> Tensors:
        return dict(zip(outputs, map(np.asarray, encoder.session.run(outputs, feed)), strict=True))

    states = [{key: rows[0] for key, rows in encode(feed).items()} for feed in feeds]
    entries = [Entry(source.question(user).lookup, state) for user, state in zip(users, states, strict=True)]
    store.put_many(entries)

    def append(number: int) -> Tensors:
        return encode(packing.pack(encoder.spec, [with_event(histories[number % USERS], number)]))

    return {
        "build": lambda number: encode(feeds[number % USERS]),
        "append": append,
        "write": lambda number: store.put_many([entries[number % USERS]]),
        # As the server's step does: the history's digest, then the store.
        "read": lambda number: store.get_many([source.question(users[number % USERS]).lookup]),
    }


def with_event(history: Mapping[str, np.ndarray], item: int) -> Tensors:
    """The history after one more event, rated 5; one of full length loses its oldest."""
    items, ratings, length = (history[name] for name in ("history_items", "history_ratings", "history_length"))
    moved = {
        "history_items": np.concatenate([np.full((1, 1), item, items.dtype), items[:, :-1]], axis=1),
        "history_ratings": np.concatenate([np.full((1, 1), 5, ratings.dtype), ratings[:, :-1]], axis=1),
        "history_length": np.minimum(length + 1, items.shape[1]),
    }
    return {**history, **moved}
