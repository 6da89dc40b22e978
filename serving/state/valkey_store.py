"""User states in Valkey: shared by servers on several machines.

A cache in front of the encoder, so whoever writes last stays and nothing is written twice: an older state after a newer
one is stale, and computed again. States leave by themselves, each a while after it was written; a `maxmemory` with
`allkeys-lru` lets them leave earlier.
"""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from valkey.exceptions import ValkeyError

from serving.state import record
from serving.state.states import Entry, Lookup, Read, Stat, StateStoreError, StateStoreFull, judged, start_of
from serving.store_urls import named
from serving.valkey_client import READ_TIMEOUT_S, answers, client, escaped, is_full, told

TTL_S = 86_400
_PREFIX = b"recserve:s:"
_SCAN_TIMEOUT_S = 2.0
"""Of each answer to who lists or drops states, for whom no request waits."""
_BATCH = 1000


class ValkeyStates:
    """One database of a Valkey server; may be shared by threads."""

    def __init__(self, url: str, *, ttl_s: int = TTL_S) -> None:
        """`url` as `valkey_client.client` takes it; a state stays for `ttl_s` seconds. Raises StateStoreError where
        nobody answers."""
        self._client, self._patient = client(url, READ_TIMEOUT_S), client(url, _SCAN_TIMEOUT_S)
        self._name = named(url)
        self._ttl_ms = 1000 * ttl_s
        self._asked(self._client.ping)

    def get_many(self, lookups: Sequence[Lookup]) -> list[Read]:
        """As `Store`, by one MGET."""
        if not lookups:
            return []
        keys = [record.encode_key(lookup.key) for lookup in lookups]
        values = self._asked(lambda: self._client.mget([_PREFIX + key for key in keys]))
        return [
            judged(key, None if value is None else memoryview(value), lookup.digest)
            for key, value, lookup in zip(keys, values, lookups, strict=True)
        ]

    def put_many(self, entries: Sequence[Entry]) -> int:
        """As `Store`, in one round trip. Returns 0: what Valkey evicts, it does not say."""
        pipeline, time_ms = self._client.pipeline(transaction=False), time.time_ns() // 1_000_000
        for (key, digest), arrays in entries:
            name = record.encode_key(key)
            header = record.Header(len(arrays), digest, time_ms)
            pipeline.set(_PREFIX + name, record.encode(name, header, arrays, "float32"), px=self._ttl_ms)
        wrong = [one for one in self._asked(lambda: answers(pipeline)) if isinstance(one, ValkeyError)]
        if wrong:
            raise self._failed(wrong[0])
        return 0

    def drop(self, model: str | None = None, stamp: int | None = None) -> int:
        """As `Store`; of those that are written meanwhile some may stay."""
        keys, dropped = [*self._keys(start_of(model, stamp))], 0
        for start in range(0, len(keys), _BATCH):
            dropped += self._asked(lambda some=keys[start : start + _BATCH]: self._patient.unlink(*some))
        return dropped

    def stat(self) -> Stat:
        """As `Store`; `used_bytes` are those of all that the server holds."""
        found = [record.decode_key(key.removeprefix(_PREFIX)) for key in self._keys(b"")]
        memory = self._asked(lambda: self._patient.info("memory"))
        entries = Counter(key[:2] for key in found if key is not None)
        return Stat(self._name, dict(entries), memory["used_memory"], memory["maxmemory"] or None)

    def close(self) -> None:
        """As `Store`."""
        self._client.close()
        self._patient.close()

    def _keys(self, start: bytes) -> set[bytes]:
        """Each once: a scan may give one twice."""
        return self._asked(lambda: {*self._scanned(start)})

    def _scanned(self, start: bytes) -> Iterator[bytes]:
        yield from self._patient.scan_iter(match=escaped(_PREFIX + start) + b"*", count=_BATCH)

    def _asked(self, ask: Any) -> Any:
        try:
            return ask()
        except ValkeyError as error:
            raise self._failed(error) from error

    def _failed(self, error: ValkeyError) -> StateStoreError:
        said = f"the user states in {self._name} failed: {told(error)}"
        if is_full(error):
            return StateStoreFull(f"{said}; set maxmemory-policy allkeys-lru there, or raise maxmemory")
        return StateStoreError(f"{said}; is a Valkey running there?")
