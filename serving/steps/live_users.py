"""What steps share that read the histories of users: whose they are, and where they are now."""

from collections.abc import Mapping, Set
from pathlib import Path

import numpy as np

from recserve_client import texts
from serving.histories.examples import example_of
from serving.histories.live import OUTCOMES, LiveHistories, RawUser
from serving.histories.reading import NAMES, Reading
from serving.ids import IdMaps
from serving.steps.step import Host
from serving.watch import families

USER_ID, CANDIDATES, EXCLUDED = "user_id", "candidates", "excluded"


def open_live(host: Host, folder: Path, ids: IdMaps, names: Set[str], *, follows: bool = False) -> LiveHistories | None:
    """The histories of a version folder's users; None where the step reads none (`names` are what it reads) and nothing
    of it `follows` from them, or where there is no store."""
    reading = Reading.of(folder, ids.of(CANDIDATES) or ids.of(EXCLUDED)) if follows or {*NAMES} <= names else None
    histories = None if reading is None else host.histories()
    if reading is None or histories is None:
        return None
    return LiveHistories(histories, reading, host.counter(families.HISTORY_READS, folder.parent.name, OUTCOMES))


def raw_users(user_id: np.ndarray) -> list[RawUser]:
    """The users of a request, as its client names them; what is no text is nobody."""
    if user_id.dtype != object:
        return user_id.reshape(-1).tolist()
    try:
        return texts.decoded(user_id).reshape(-1).tolist()
    except UnicodeDecodeError:
        return [""] * user_id.size


def dense_users(ids: IdMaps, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What came from a client, with dense ids; those of the users of golden requests say theirs."""
    dense = ids.dense(tensors)
    examples = [example_of(user) for user in raw_users(tensors[USER_ID])]
    if any(one is not None for one in examples):
        given = dense[USER_ID].reshape(-1).tolist()
        both = [own if one is None else one for own, one in zip(given, examples, strict=True)]
        dense[USER_ID] = np.array(both, np.int64).reshape(dense[USER_ID].shape)
    return dense
