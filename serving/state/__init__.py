"""User states: what they are made of, and the store that keeps them."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from serving.state.states import Store

_SCHEME = "lmdb"


def url_of(path: Path) -> str:
    """What `open_store` takes for a store in this directory."""
    return f"{_SCHEME}:{path.resolve().as_uri().removeprefix('file:')}"


def open_store(url: str) -> Store:
    """The store that a URL names: `lmdb:///directory`.

    Raises:
        ValueError: there is no store of that kind.
        StateStoreError: it cannot be opened; see `StateStore`.
    """
    scheme, host, path, query, fragment = urlsplit(url)
    if scheme != _SCHEME or host or query or fragment or not path.startswith("/"):
        raise ValueError(f"'{url}' names no state store that can be opened; write lmdb:///absolute/directory")
    from serving.state.store import StateStore  # what imports this package without using a store needs no lmdb

    return StateStore(Path(unquote(path)))
