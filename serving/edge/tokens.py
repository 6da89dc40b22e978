"""Who may ask by token: JSON web tokens, and the public keys that vouch for them."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PRIVATE = frozenset({"d", "p", "q", "k"})
HEALTH = (
    "/grpc.health.v1.Health/Check",
    *(f"/inference.GRPCInferenceService/{name}" for name in ("ServerLive", "ServerReady", "ModelReady")),
)
"""Paths that say who takes requests, and nothing else; balancers and clients ask them before they have a token."""


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """Tokens of one issuer, sent as the header authorization: Bearer TOKEN."""

    keys: Path
    """A JSON web key set, public keys only."""
    issuer: str
    audience: str
    user_claim: str | None = None
    """Claim that becomes the header x-user-id, in place of the client's word."""

    def __post_init__(self) -> None:
        if not self.issuer or not self.audience:
            raise ValueError(f"tokens by {self.keys} need an issuer and an audience; say both")
        for key in self._read():
            if found := _PRIVATE & key.keys():
                raise ValueError(f"{self.keys} holds a secret ('{min(found)}'); leave the public keys in it alone")

    def filter(self) -> dict[str, Any]:
        """Of the listener; health is for everybody."""
        provider: dict[str, Any] = {
            "issuer": self.issuer,
            "audiences": [self.audience],
            "local_jwks": {"inline_string": json.dumps({"keys": self._read()})},
            "require_expiration": True,
        }
        if self.user_claim:
            provider["claim_to_headers"] = [{"claim_name": self.user_claim, "header_name": "x-user-id"}]
        return {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
            "providers": {"tokens": provider},
            "rules": [
                *({"match": {"path": path}} for path in HEALTH),
                {"match": {"prefix": "/"}, "requires": {"provider_name": "tokens"}},
            ],
        }

    def _read(self) -> list[dict[str, Any]]:
        try:
            found = json.loads(self.keys.read_text())
        except OSError as error:
            raise ValueError(f"{self.keys} cannot be read: {error.strerror}; name a JSON web key set") from error
        except ValueError as error:
            raise ValueError(f"{self.keys} is no JSON ({error}); name a JSON web key set") from error
        keys = found.get("keys") if isinstance(found, dict) else None
        if not isinstance(keys, list) or not keys or not all(isinstance(key, dict) and "kty" in key for key in keys):
            form = '{"keys": [{"kty": ...}]}'
            raise ValueError(f"{self.keys} is no JSON web key set; write {form}, with one key or more")
        return keys
