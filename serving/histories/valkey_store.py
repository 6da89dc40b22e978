"""Histories in Valkey: shared by servers on several machines.

A value is changed by a script that compares its digest with the one that was read, so that of two writers one reads
anew. Valkey must not forget what it was told: a `maxmemory-policy` that evicts keys without a time to live is refused.
How much a crash of the machine loses is what its `appendonly` says.
"""

import time
from collections.abc import Iterator, Sequence
from typing import Any

from valkey.exceptions import NoScriptError, ValkeyError

from serving.histories.store import Change, HistoryStoreError, HistoryStoreFull, Stat
from serving.histories.value import DIGEST, HEAD_BYTES, digest_of
from serving.store_urls import named
from serving.valkey_client import READ_TIMEOUT_S, answers, client, escaped, is_full, told

WRITE_TIMEOUT_S = 2.0
"""Of connecting, and of each answer to who appends."""
_ATTEMPTS = 50
_PREFIX = b"recserve:h:"
_SWAP = f"""
local head = redis.call('GETRANGE', KEYS[1], 0, {HEAD_BYTES - 1})
if string.sub(head, {DIGEST.start + 1}, {DIGEST.stop}) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1
"""
"""Of a key that is not there, head and digest are empty."""


class ValkeyHistories:
    """One database of a Valkey server."""

    def __init__(self, url: str) -> None:
        """`url` is valkey://[user:password@]host:port/database, or valkeys:// for TLS. Raises HistoryStoreError where
        nobody answers, or where the server may forget keys."""
        self._reader, self._client = (client(url, timeout_s) for timeout_s in (READ_TIMEOUT_S, WRITE_TIMEOUT_S))
        self._name = named(url)
        try:
            self._reader.ping()
            self._refuse_eviction()
            self._swap = self._client.script_load(_SWAP)
        except ValkeyError as error:
            raise self._failed(error) from error

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        return self._values(self._reader, keys)

    def heads(self, keys: Sequence[bytes]) -> list[bytes | None]:
        pipeline = self._reader.pipeline(transaction=False)
        for key in keys:
            pipeline.getrange(_PREFIX + key, 0, HEAD_BYTES - 1)
        return [one or None for one in self._run(pipeline)]

    def update(self, keys: Sequence[bytes], change: Change) -> None:
        left = list(range(len(keys)))
        for attempt in range(_ATTEMPTS):
            left = self._attempt(keys, left, change)
            if not left:
                return
            time.sleep(0.001 * attempt)
        raise HistoryStoreError(f"{self._name}: {len(left)} histories were changed by others {_ATTEMPTS} times: retry")

    def keys(self, prefix: bytes) -> Iterator[bytes]:
        try:
            for key in self._client.scan_iter(match=escaped(_PREFIX + prefix) + b"*", count=1000):
                yield key[len(_PREFIX) :]
        except ValkeyError as error:
            raise self._failed(error) from error

    def drop(self, keys: Sequence[bytes]) -> None:
        pipeline = self._client.pipeline(transaction=False)
        for key in keys:
            pipeline.unlink(_PREFIX + key)
        self._run(pipeline)

    def stat(self) -> Stat:
        try:
            memory = self._client.info("memory")
            number = sum(1 for _ in self.keys(b""))
        except ValkeyError as error:
            raise self._failed(error) from error
        return Stat(self._name, number, memory["used_memory"], memory["maxmemory"] or None)

    def close(self) -> None:
        self._reader.close()
        self._client.close()

    def _values(self, client: Any, keys: Sequence[bytes]) -> list[bytes | None]:
        if not keys:
            return []
        try:
            return client.mget([_PREFIX + key for key in keys])
        except ValkeyError as error:
            raise self._failed(error) from error

    def _attempt(self, keys: Sequence[bytes], places: list[int], change: Change) -> list[int]:
        """The places that somebody else changed meanwhile."""
        asked, pipeline = [], self._client.pipeline(transaction=False)
        olds = self._values(self._client, [keys[place] for place in places])
        for place, old in zip(places, olds, strict=True):
            new = change(place, old)
            if new is not None:
                asked.append(place)
                pipeline.evalsha(self._swap, 1, _PREFIX + keys[place], b"" if old is None else digest_of(old), new)
        found = self._run(pipeline)
        if any(isinstance(answer, NoScriptError) for answer in found):
            # A server that was started anew knows no scripts.
            self._swap = self._client.script_load(_SWAP)
        return [place for place, answer in zip(asked, found, strict=True) if answer != 1]

    def _run(self, pipeline: Any) -> list[Any]:
        """The answers, among them errors of scripts that are unknown."""
        try:
            found = answers(pipeline)
        except ValkeyError as error:
            raise self._failed(error) from error
        for answer in found:
            if isinstance(answer, ValkeyError) and not isinstance(answer, NoScriptError):
                raise self._failed(answer) from answer
        return found

    def _refuse_eviction(self) -> None:
        try:
            policy = self._client.config_get("maxmemory-policy").get("maxmemory-policy", "")
        except ValkeyError:  # a managed service tells nobody
            return
        if policy.startswith("allkeys"):
            raise HistoryStoreError(
                f"{self._name} has maxmemory-policy {policy}, which forgets histories: set noeviction"
            )

    def _failed(self, error: ValkeyError) -> HistoryStoreError:
        if is_full(error):
            return HistoryStoreFull(f"{self._name} is out of memory, and no event is taken: raise its maxmemory")
        return HistoryStoreError(f"{self._name} failed: {told(error)}; is a Valkey running there?")
