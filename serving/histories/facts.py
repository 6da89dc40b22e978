"""What the store of histories knows of a data set, so that an event of it can be judged: what its ids are."""

import json
from dataclasses import dataclass
from typing import Literal

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from serving import flat_texts
from serving.histories.keys import facts_key
from serving.histories.value import DamagedError, opened, sealed
from serving.ids import IdMap

_MAGIC = b"RSHF"
_SAID = "said"


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Of one data set."""

    dataset: str
    users: Literal["int64", "string"]
    """Kind of the users' raw ids."""
    items: IdMap
    """The items that an event may be about."""
    ticks: int | None
    """Ticks of the events' times a second; None where they are no times but an order."""
    most: int
    """Events of one user that are kept."""

    def encode(self) -> bytes:
        """The value of the data set's key."""
        arrays = {} if self.items.is_identity else flat_texts.flattened({"items": self.items.ids})
        said = {"users": self.users, "ticks": self.ticks, "most": self.most, "items": len(self.items.ids)}
        encoded = np.frombuffer(json.dumps(said).encode(), np.uint8)
        plain = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        return sealed(facts_key(self.dataset), _MAGIC, 0, len(self.items.ids), save({**plain, _SAID: encoded}))

    @classmethod
    def decode(cls, dataset: str, value: bytes) -> "Facts":
        """The inverse of `encode`. Raises DamagedError."""
        body = opened(facts_key(dataset), _MAGIC, value).body
        try:
            arrays = load(bytes(body))
            said = json.loads(arrays.pop(_SAID).tobytes())
            number = said.pop("items")
            ids = flat_texts.restored(arrays)["items"] if arrays else np.arange(1, number + 1)
            return cls(dataset=dataset, items=IdMap(ids=ids), **said)
        except (SafetensorError, ValueError, KeyError, TypeError) as error:
            raise DamagedError(f"it holds no facts ({error})") from error
