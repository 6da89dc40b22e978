"""User states ahead of time: computes those that a repository's users still lack, and shows one."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from serving.state import open_store
from serving.state.record import Key
from serving.state.source import STATE_FILE, Encode, State, StateSource, StateSpec
from serving.state.states import Entry, Outcome
from serving.state.users import Users
from serving.steps import USER_STATE, kind_of
from serving.versions import served_version, versions


class Shown(NamedTuple):
    """What the store knows of one user."""

    user: int | str
    """As a client names the user."""
    key: Key
    outcome: Outcome
    time_ms: int | None
    """When the state was written, Unix time in milliseconds; None for a miss and for a corrupt one."""
    state: State | None
    """There for a hit and for nothing else."""


def latest(repository: Path, model: str | None = None) -> StateSource:
    """The newest version of the repository's user-state model; `model` names it where there are several.

    Raises:
        ValueError: there is none, or there are several and none is named.
    """
    models = [name for name in models_with_states(repository) if model in (None, name)]
    if len(models) != 1:
        wanted = f"user-state model '{model}'" if model else "user-state model"
        several = f"{len(models)} models with user states ({', '.join(models)}): name one with --model"
        raise ValueError(f"{repository} has {several if models else f'no {wanted}: export one first'}")
    newest = served_version(repository / models[0])
    return StateSource(newest, models[0], int(newest.name))


def models_with_states(repository: Path) -> list[str]:
    """The models of a repository that read users' states."""
    return sorted(path.parent.name for path in repository.glob("*/config.pbtxt") if kind_of(path.parent) == USER_STATE)


def stamps(model: Path) -> dict[int, int]:
    """The stamp of each version in the folder of a user-state model. Raises ValueError."""
    return {number: StateSpec.read(model / str(number) / STATE_FILE).stamp for number in versions(model)}


class Built(NamedTuple):
    """What came of building."""

    written: int
    """States; 0 when all were up to date."""
    histories: dict[str, int]
    """Users by where their histories came from: `live`, `exported`, or `error` where those that were exported are read
    because the store cannot be."""


def build(
    repository: Path,
    state: str,
    encode: Encode,
    progress: Callable[[int, int], None],
    *,
    model: str | None = None,
    histories: str | None = None,
) -> Built:
    """Computes and stores the state of every user of the release whose stored one is missing, stale or corrupt.

    Args:
        repository: the model repository.
        state: URL of the store, the server's RECSERVE_STATE; the server may be running.
        encode: the encoder of the same version, [k, ...] by name to [k, ...] by name.
        progress: called with (users done, users) after each batch.
        model: the user-state model, where the repository has several.
        histories: URL of the histories as they are now, <repository>.histories by default.

    Raises:
        ValueError: the repository has no such model.
        EncoderError: the encoder is of another version.
        StateStoreError: the store cannot be used, or is full.
    """
    source = latest(repository, model)
    size, number = source.spec.encoder_max_batch_size, len(source.histories.user_ids)
    written = 0
    with closing(open_store(state)) as store, closing(Users(repository, source, histories)) as users:
        every = users.raw(source.histories.user_ids)
        for start in range(0, number, size):
            questions = users.questions(every[start : start + size])
            reads = store.get_many([question.lookup for question in questions])
            wanted = [question for question, read in zip(questions, reads, strict=True) if read.outcome != "hit"]
            if wanted:
                states = source.compute(wanted, encode)
                store.put_many([Entry(q.lookup, computed) for q, computed in zip(wanted, states, strict=True)])
            written += len(wanted)
            progress(start + len(questions), number)
        return Built(written, dict(users.counts))


def show(
    repository: Path, state: str, user: int | str, *, model: str | None = None, histories: str | None = None
) -> Shown:
    """What the store holds for one user, by the id that a client sends, judged as the server would judge it.

    Raises:
        ValueError: the repository has no such model, or no history of this user.
        StateStoreError: there is no store, or it cannot be read.
    """
    source = latest(repository, model)
    with closing(Users(repository, source, histories)) as users:
        raw = users.named(user)
        lookup = users.questions([raw])[0].lookup
    with closing(open_store(state, readonly=True)) as store:
        read = store.get_many([lookup])[0]
    return Shown(raw, lookup.key, read.outcome, read.time_ms, read.arrays)
