"""What a user's state is made of: the history, the encoder that reads it, and how its answer is checked.

Axes: U users with a stored history, k users of one call of the encoder.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np

from serving import manifest
from serving.histories.live import Live
from serving.histories.ragged import unpacked
from serving.histories.reading import AGES, ITEMS, NAMES
from serving.mapped import mapped
from serving.state.record import Key, digest_of
from serving.state.states import Lookup

State = dict[str, np.ndarray]
"""The encoder's outputs for one user, without the batch axis."""

Encode = Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]
"""Inputs [k, ...] by name -> outputs [k, ...] by name; raises EncoderError."""

STATE_FILE = "state.json"
STAMP = "stamp"
_GRAPH = "model."
"""What the files of the encoder's graph begin with, whatever its form."""
_REMEMBERED = 1 << 20
"""Users of whom a process remembers key and digest, at some 300 bytes each, and what no event changes."""


class EncoderError(RuntimeError):
    """The encoder did not answer, or its answer is not a state of this model version."""

    def __init__(self, reason: str, *, is_busy: bool = False) -> None:
        super().__init__(reason)
        self.is_busy = is_busy
        """The encoder has no room or is not loaded: the same request may succeed later."""


class OutputSpec(NamedTuple):
    """An output of the encoder; the shape leaves the batch axis out."""

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class StateSpec:
    """The content of `state.json`."""

    encoder: str
    """Name of the model that computes a state."""
    stamp: int
    """What the encoder's output `stamp` must be: it names the weights."""
    inputs: tuple[str, ...]
    outputs: tuple[OutputSpec, ...]
    encoder_max_batch_size: int = 64
    observer: str | None = None
    """Name of the model that adds one event to a state; None where states are computed anew."""
    tail: int = 0
    """Newest events of a history that it reads."""

    @classmethod
    def read(cls, path: Path) -> Self:
        """Reads `state.json`. Raises ValueError naming the file and what is wrong with it."""
        try:
            fields = json.loads(path.read_text())
            outputs = tuple(OutputSpec(o["name"], o["dtype"], tuple(o["shape"])) for o in fields["outputs"])
            return cls(**{**fields, "inputs": tuple(fields["inputs"]), "outputs": outputs})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path} does not describe a user state ({error!r}): export the model again") from error

    def __post_init__(self) -> None:
        if STAMP not in (output.name for output in self.outputs):
            raise ValueError(f"outputs has no '{STAMP}': without it a state of other weights cannot be told")
        if self.encoder_max_batch_size < 1:
            raise ValueError(f"encoder_max_batch_size is {self.encoder_max_batch_size}, must be at least 1")


class Histories:
    """The stored history of each user, read from the file row by row."""

    def __init__(self, path: Path, inputs: Sequence[str]) -> None:
        """Maps `histories.safetensors`.

        Raises:
            ValueError: the file is damaged, lacks an input, or its rows do not belong to sorted user ids.
        """
        held = mapped(path, "histories")
        if missing := sorted({"user_ids", *inputs} - held.keys()):
            raise ValueError(f"{path} holds no histories (no {missing[0]}): export the model again")
        self.user_ids = held["user_ids"]  # int64 [U]
        arrays = unpacked(held)
        self._arrays = {name: arrays[name] for name in inputs}
        if (self.user_ids[1:] <= self.user_ids[:-1]).any():
            raise ValueError(f"{path}: user_ids are not in strictly ascending order")
        for name, array in self._arrays.items():
            if len(array) != len(self.user_ids):
                raise ValueError(f"{path}: {name} has {len(array)} rows for {len(self.user_ids)} users")

    def of(self, user: int) -> dict[str, np.ndarray] | None:
        """The encoder's inputs of one user, [1, ...] each; None for a user without a history."""
        row = self._row(user)
        return {name: array[row : row + 1] for name, array in self._arrays.items()} if self.has(user) else None

    def has(self, user: int) -> bool:
        """Whether there is a history of the user."""
        row = self._row(user)
        return row < len(self.user_ids) and bool(self.user_ids[row] == user)

    def _row(self, user: int) -> int:
        return int(np.searchsorted(self.user_ids, user))

    def beside_history(self, user: int) -> dict[str, np.ndarray]:
        """As `of`, without the history; zeros for a user who is not there."""
        row, is_known = self._row(user), self.has(user)
        others = {name: array for name, array in self._arrays.items() if name not in (*NAMES, AGES)}
        found = {name: array[row : row + 1] if is_known else array[:0] for name, array in others.items()}
        return {name: rows if is_known else np.zeros((1, *rows.shape[1:]), rows.dtype) for name, rows in found.items()}

    @property
    def longest(self) -> int:
        """Events that the encoder reads of a history."""
        return self._arrays[ITEMS].shape[1]

    @property
    def empty(self) -> dict[str, np.ndarray]:
        """The encoder's inputs of a user without a history, [1, ...] each: zeros, so a length of 0 and unknown ids."""
        none = {name: array[:0] for name, array in self._arrays.items()}
        return {name: np.zeros((1, *rows.shape[1:]), rows.dtype) for name, rows in none.items()}


class Question(NamedTuple):
    """A user whose state is wanted: what to ask the store, and what to ask the encoder if that does not help."""

    lookup: Lookup
    read: Callable[[], dict[str, np.ndarray]]
    history: Live | None = None
    """Where it came since the export."""
    earlier: Callable[[Live], "Question"] | None = None
    """What is asked about the same user with another history; there where `history` is."""

    @property
    def inputs(self) -> dict[str, np.ndarray]:
        """What the encoder reads, [1, ...] each, and maybe more; read now, as a hit in the store does not need it."""
        return self.read()


class Beside(NamedTuple):
    """What an encoder reads of a user beside the history, which no event changes."""

    arrays: dict[str, np.ndarray]
    """[1, ...] each."""
    digest: bytes


class StateSource:
    """One version of a `user_state` model: its description and its histories.

    Two versions with the same weights ask for states under the same keys, and what one wrote is a hit for the other
    where their encoders compute it alike from the very same inputs. So a state's digest stands for the encoder's graph
    and for all inputs; where these are read from events, for the events, for how and how far they are read
    (`Live.digest`) and for what is beside them. Dense ids, which differ from release to release, are in the key, and
    prove nothing.
    """

    def __init__(self, folder: Path, model: str, version: int) -> None:
        """Reads `state.json` and `histories.safetensors` of a version folder, and the encoder's manifest. Raises
        ValueError."""
        self.spec = StateSpec.read(folder / STATE_FILE)
        self.histories = Histories(folder / "histories.safetensors", self.spec.inputs)
        self.model = model
        self.version = version
        makers = (self.spec.encoder, *((self.spec.observer,) if self.spec.observer else ()))
        self._made_by = b"".join(self._graph_of(folder.parent.parent / name / str(version)) for name in makers)
        self._lookups: dict[int, Lookup] = {}
        self._beside: dict[int, Beside] = {}

    def find(self, user: int) -> Question | None:
        """None for a user without a history, about whom nothing is remembered: anybody can invent ids."""
        lookup = self._lookups.get(user) or self._lookup(user)
        if lookup is None:
            return None
        if len(self._lookups) >= _REMEMBERED:
            self._lookups.clear()
        self._lookups[user] = lookup
        return Question(lookup, lambda: self._exported(user))

    def live(self, user: int, raw: int | str, history: Live) -> Question:
        """Of a user whose history came since the export.

        Args:
            user: dense id, 0 for one whom the release does not know.
            raw: the id that the client sends.
            history: its arrays take the place of the exported ones.
        """
        beside, length = self._beside_history(user), self.histories.longest
        own = self._digest(length.to_bytes(4, "big") + history.digest + beside.digest + str(raw).encode())
        # A user whom the release does not know has a number that no dense id is.
        number = user or -1 - int.from_bytes(hashlib.blake2b(str(raw).encode(), digest_size=7).digest(), "big")
        return Question(
            Lookup(Key(self.model, self.spec.stamp, number), own),
            lambda: {**beside.arrays, **history.arrays(length)},
            history,
            lambda other: self.live(user, raw, other),
        )

    def _beside_history(self, user: int) -> Beside:
        found = self._beside.get(user)
        if found is None:
            if len(self._beside) >= _REMEMBERED:
                self._beside.clear()
            arrays = self.histories.beside_history(user)
            found = self._beside[user] = Beside(arrays, digest_of(arrays))
        return found

    def _exported(self, user: int) -> dict[str, np.ndarray]:
        found = self.histories.of(user)
        assert found is not None
        return found

    def question(self, user: int) -> Question:
        """Raises ValueError for a user without a history."""
        found = self.find(user)
        if found is None:
            raise ValueError(
                f"user_id {user}: no history is stored for this user, who is scored with the empty one and gets no "
                f"state; {self.model} version {self.version} has {len(self.histories.user_ids)} users"
            )
        return found

    def _lookup(self, user: int) -> Lookup | None:
        """Reads the whole history for its digest: too long for every request, and a version's histories stay."""
        inputs = self.histories.of(user)
        if inputs is None:
            return None
        return Lookup(Key(self.model, self.spec.stamp, user), self._digest(digest_of(inputs)))

    def _digest(self, read: bytes) -> bytes:
        return hashlib.blake2b(self._made_by + read, digest_size=8).digest()

    def _graph_of(self, folder: Path) -> bytes:
        """16 bytes that change with the graph of a model that makes states, and with what goes in and comes out."""
        files = manifest.read(folder)["files"] if (folder / manifest.MANIFEST_FILE).is_file() else {}
        graph = {name: said for name, said in files.items() if name.startswith(_GRAPH)}
        # Nobody knows what it computes: its states are for this version alone.
        said = [graph or self.version, self.spec.inputs, self.spec.outputs]
        return hashlib.blake2b(json.dumps(said, sort_keys=True).encode(), digest_size=16).digest()

    def compute_empty(self, encode: Encode) -> State:
        """The state of every user without a history. Raises EncoderError as `compute`."""
        outputs = encode(self.histories.empty)
        self._refuse_unfit(outputs, 1)
        return {o.name: outputs[o.name][0] for o in self.spec.outputs}

    def compute(self, questions: Sequence[Question], encode: Encode) -> list[State]:
        """States in the order of `questions` (k of them, at most `encoder_max_batch_size`), by one call.

        Raises:
            EncoderError: no answer, or one that is not k states of this version.
        """
        inputs = {name: np.concatenate([q.inputs[name] for q in questions]) for name in self.spec.inputs}
        return self.states(encode(inputs), len(questions))

    def states(self, outputs: Mapping[str, np.ndarray], number: int) -> list[State]:
        """So many states out of what a model answered. Raises EncoderError as `compute`."""
        self._refuse_unfit(outputs, number)
        return [{o.name: outputs[o.name][k] for o in self.spec.outputs} for k in range(number)]

    def _refuse_unfit(self, outputs: Mapping[str, np.ndarray], num_users: int) -> None:
        for name, dtype, shape in self.spec.outputs:
            array = outputs.get(name)
            if array is None:
                raise EncoderError(f"{self.spec.encoder} answered without '{name}': export the models again, together")
            if array.dtype != dtype or array.shape != (num_users, *shape):
                raise EncoderError(
                    f"{self.spec.encoder} answered {name} as {array.dtype} {list(array.shape)}, not as {dtype} "
                    f"{[num_users, *shape]}: export the models again, together"
                )
        other = outputs[STAMP][outputs[STAMP] != self.spec.stamp]
        if other.size:
            raise EncoderError(
                f"{self.spec.encoder} has stamp {other[0]}, {self.model} version {self.version} needs "
                f"{self.spec.stamp}: the weights of another version answer; publish the models together"
            )
