"""What a log of requests says of traffic, beside the reference of a release: scores, sizes, ids unknown to it."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from export import logged
from export.logged import Logged
from serving.watch.pseudonyms import USER_ID, key_of
from serving.watch.reference import Binned, Reference, counted, drift, scores_of, shares

QUANTILES = (0.01, 0.1, 0.5, 0.9, 0.99)


class Compared(NamedTuple):
    """One distribution, then and now, over the same bins."""

    edges: tuple[float, ...]
    expected: tuple[float, ...]
    """Shares of the reference."""
    actual: tuple[float, ...]
    """Shares of the log."""
    drift: float
    """The population stability index."""
    quantiles: tuple[float, ...]
    """Of the log, at `QUANTILES`."""


class Report(NamedTuple):
    """Of the requests that one release answered."""

    model: str
    version: int
    requests: int
    first: str
    last: str
    """ISO 8601, UTC."""
    users: int | None
    """Different ones; None where requests do not say."""
    source: str
    """Of the reference: example or log."""
    reference_requests: int
    scores: Compared
    sizes: Compared
    not_finite: int
    """Scores that are NaN or infinite."""
    unknown: dict[str, float]
    """Input -> share of its ids that the release does not know."""
    reference_unknown: dict[str, float]


def report(repository: Path, name: str, version: int, log: Path) -> Report:
    """Raises ValueError where the log has no request that this release answered, or the release has no reference."""
    everything = logged.read(log, name)
    reference = Reference.read(repository / name / str(version))
    if reference is None:
        raise ValueError(
            f"{name} {version} has no reference: it answers no scores, or was exported before there were any"
        )
    asked = [one for one in everything if one.version == version]
    if not asked:
        others = sorted({one.version for one in everything})
        raise ValueError(f"{log} has no answer of {name} {version}; it has those of versions {others}")
    of = logged.ids_of(repository, name, version)
    named = logged.named(asked, log, of(USER_ID)) if key_of(log) is not None else asked
    joined = np.concatenate([one.outputs[reference.output].reshape(-1) for one in asked])
    scores, not_finite = scores_of(joined.astype(np.float64))
    sizes = np.array([max(array.size for array in one.inputs.values()) for one in asked], np.float64)
    times = sorted(one.time for one in asked)
    return Report(
        model=name,
        version=version,
        requests=len(asked),
        first=times[0],
        last=times[-1],
        users=_users(asked),
        source=reference.source,
        reference_requests=reference.requests,
        scores=compared(reference.scores, scores),
        sizes=compared(reference.sizes, sizes),
        not_finite=not_finite,
        unknown=logged.unknown_shares(named, of),
        reference_unknown=dict(reference.unknown),
    )


def compared(reference: Binned, sample: np.ndarray) -> Compared:
    """A sample [N] in the bins of a reference."""
    now = shares(counted(np.array(reference.edges), sample))
    found = np.quantile(sample, QUANTILES) if sample.size else np.full(len(QUANTILES), np.nan)
    return Compared(
        reference.edges,
        tuple(reference.shares.tolist()),
        tuple(now.tolist()),
        drift(reference.shares, now),
        tuple(found.tolist()),
    )


def _users(asked: Sequence[Logged]) -> int | None:
    ids = [one.inputs[USER_ID].reshape(-1).tolist() for one in asked if USER_ID in one.inputs]
    return len({user for users in ids for user in users}) if ids else None
