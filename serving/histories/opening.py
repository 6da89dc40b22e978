"""The store of histories that a URL names."""

from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from serving.histories.store import HistoryStore

_FORMS = "lmdb:///absolute/directory or valkey://host:port/0, valkeys:// with TLS"


def folder_beside(repository: Path) -> Path:
    """Where a repository's own store is, once something was loaded or pushed into it: <repository>.histories."""
    resolved = repository.resolve()
    return resolved.with_name(f"{resolved.name}.histories")


def histories_beside(repository: Path) -> str:
    """The URL of a repository's own store."""
    return f"lmdb://{quote(str(folder_beside(repository)))}"


def check_url(url: str) -> None:
    """Raises ValueError as `open_histories` does, and opens nothing."""
    if _is_shared(url):
        from serving.valkey_client import check_url as check_valkey

        check_valkey(url)


def open_histories(url: str, *, create: bool = True) -> HistoryStore:
    """The store under `lmdb:///directory`, `valkey://host:port/database`, or `valkeys://` with TLS.

    `create`: whether a directory that holds none gets one.

    Raises:
        ValueError: there is no store of that kind.
        HistoryStoreError: it cannot be opened.
    """
    # What one store needs, the other need not have installed.
    if _is_shared(url):
        from serving.histories.valkey_store import ValkeyHistories

        return ValkeyHistories(url)
    from serving.histories.lmdb_store import LmdbHistories

    return LmdbHistories(Path(unquote(urlsplit(url).path)), create=create)


def _is_shared(url: str) -> bool:
    """Whether it is a Valkey's, and no directory's. Raises ValueError for neither."""
    scheme, host, path, query, fragment = urlsplit(url)
    if scheme in ("valkey", "valkeys") and host and not fragment:
        return True
    if scheme == "lmdb" and not (host or query or fragment) and path.startswith("/"):
        return False
    raise ValueError(f"'{scheme}:' names no store of histories; write {_FORMS}")
