"""User states ahead of time: computes those that a repository's users still lack, and shows one."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from serving.readiness import latest_version
from serving.state.record import Key
from serving.state.source import Encode, State, StateSource
from serving.state.states import Entry, Outcome
from serving.state.store import StateStore
from serving.steps import USER_STATE, kind_of


class Shown(NamedTuple):
    """What the store knows of one user."""

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
    newest = latest_version(repository / models[0])
    return StateSource(newest, models[0], int(newest.name))


def models_with_states(repository: Path) -> list[str]:
    """The models of a repository that read users' states."""
    return sorted(path.parent.name for path in repository.glob("*/config.pbtxt") if kind_of(path.parent) == USER_STATE)


def build(
    repository: Path,
    state: Path,
    encode: Encode,
    progress: Callable[[int, int], None],
    *,
    model: str | None = None,
) -> int:
    """Computes and stores the state of every user whose stored one is missing, stale or corrupt.

    Args:
        repository: the model repository.
        state: directory of the store, the server's RECSERVE_STATE; the server may be running.
        encode: the encoder of the same version, [k, ...] by name to [k, ...] by name.
        progress: called with (users done, users) after each batch.
        model: the user-state model, where the repository has several.

    Returns: how many states were written; 0 when all were up to date.

    Raises:
        ValueError: the repository has no such model.
        EncoderError: the encoder is of another version.
        StateStoreError: the store cannot be used, or is full.
    """
    source = latest(repository, model)
    users = [int(user) for user in source.histories.user_ids]
    size = source.spec.encoder_max_batch_size
    num_written = 0
    with StateStore(state) as store:
        for start in range(0, len(users), size):
            questions = [source.question(user) for user in users[start : start + size]]
            reads = store.get_many([question.lookup for question in questions])
            wanted = [question for question, read in zip(questions, reads, strict=True) if read.outcome != "hit"]
            if wanted:
                states = source.compute(wanted, encode)
                store.put_many([Entry(q.lookup, computed) for q, computed in zip(wanted, states, strict=True)])
            num_written += len(wanted)
            progress(start + len(questions), len(users))
    return num_written


def show(repository: Path, state: Path, user: int, *, model: str | None = None) -> Shown:
    """What the store holds for one user, judged as the server would judge it.

    Raises:
        ValueError: the repository has no such model, or no history of this user.
        StateStoreError: there is no store, or it cannot be read.
    """
    lookup = latest(repository, model).question(user).lookup
    with StateStore(state, readonly=True) as store:
        read = store.get_many([lookup])[0]
    return Shown(lookup.key, read.outcome, read.time_ms, read.arrays)
