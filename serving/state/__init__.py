"""User states: what they are made of, and the stores that keep them."""

from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from serving.state.states import Store

_FORMS = "lmdb:///absolute/directory?max_bytes=N or valkey://host:port/0?ttl_s=N, valkeys:// with TLS"


def url_of(place: str | Path) -> str:
    """What `open_store` takes: a URL as it is, and that of a store in a directory."""
    if isinstance(place, str) and "://" in place:
        return place
    return f"lmdb:{Path(place).resolve().as_uri().removeprefix('file:')}"


def beside(repository: Path) -> str:
    """The URL of a repository's own store, <repository>.state beside it."""
    resolved = repository.resolve()
    return url_of(resolved.with_name(f"{resolved.name}.state"))


def directory_of(url: str) -> Path | None:
    """Where the files of an embedded store are; None for another one."""
    parts = urlsplit(url)
    return Path(unquote(parts.path)) if parts.scheme == "lmdb" else None


class _Embedded(NamedTuple):
    path: Path
    max_bytes: int


class _Shared(NamedTuple):
    url: str
    ttl_s: int


def check_url(url: str) -> None:
    """Raises ValueError as `open_store` does, and opens nothing."""
    _read(url)


def open_store(url: str, *, readonly: bool = False) -> Store:
    """The store that a URL names.

    `lmdb:///directory?max_bytes=N` is embedded, of at most N bytes (2^30). `valkey://host:port/database?ttl_s=N`, or
    `valkeys://` with TLS, is shared by machines; a state stays for N seconds (a day).

    Args:
        readonly: a store that is not there is not made.

    Raises:
        ValueError: there is no store of that kind, or none with such a parameter.
        StateStoreError: it cannot be opened.
    """
    found = _read(url)
    if isinstance(found, _Embedded):
        from serving.state.store import StateStore

        return StateStore(found.path, max_bytes=found.max_bytes, readonly=readonly)
    from serving.state.valkey_store import ValkeyStates

    return ValkeyStates(found.url, ttl_s=found.ttl_s)


def _read(url: str) -> _Embedded | _Shared:
    scheme, host, path, query, fragment = urlsplit(url)
    asked = dict(parse_qsl(query, keep_blank_values=True))
    # What one store needs, the other need not have installed.
    if scheme == "lmdb" and not (host or fragment) and path.startswith("/") and not asked.keys() - {"max_bytes"}:
        from serving.state.store import LEAST_BYTES, MAX_BYTES

        return _Embedded(Path(unquote(path)), _number(asked, "max_bytes", MAX_BYTES, LEAST_BYTES))
    if scheme in ("valkey", "valkeys") and host and not fragment:
        from serving.state.valkey_store import TTL_S
        from serving.valkey_client import check_url as check_valkey

        ttl_s = _number(asked, "ttl_s", TTL_S)
        rest = urlencode({name: value for name, value in asked.items() if name != "ttl_s"})
        shared = _Shared(f"{url.partition('?')[0]}{f'?{rest}' if rest else ''}", ttl_s)
        try:
            check_valkey(shared.url)
        except ValueError as error:
            raise ValueError(f"{error}; ?ttl_s=N says for how long a state stays") from None
        return shared
    others = {*asked} - {"max_bytes"}
    unknown = f" with the parameter '{min(others)}'" if scheme == "lmdb" and others else ""
    raise ValueError(f"'{scheme}:'{unknown} names no state store that can be opened; write {_FORMS}")


def _number(asked: dict[str, str], name: str, default: int, least: int = 1) -> int:
    text = asked.get(name, str(default))
    if not text.isdecimal() or int(text) < least:
        raise ValueError(f"{name}={text} in the URL of the state store is no number of at least {least}")
    return int(text)
