"""Who may ask at an edge, and how often: tokens and rates."""

import json
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm
from tritonclient.grpc import service_pb2_grpc

from recserve_client import Client, NotAllowed, RateLimited
from recserve_client.tensors import infer_request
from serving.admin import messages
from serving.edge.description import Rate
from serving.edge.tokens import Tokens
from tests.production.gate import Place, X, asked, edge, place

pytestmark = [pytest.mark.production, pytest.mark.slow(30)]
ISSUER, AUDIENCE = "https://login.example", "recserve"

__all__ = ["place"]


def test_a_token_is_needed_and_names_the_user(place: Place, tmp_path: Path) -> None:
    key, other = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    public = json.loads(ECAlgorithm.to_jwk(key.public_key())) | {"kid": "1"}
    (tmp_path / "keys.json").write_text(json.dumps({"keys": [public]}))
    tokens = Tokens(keys=tmp_path / "keys.json", issuer=ISSUER, audience=AUDIENCE, user_claim="sub")

    def token(by: Any = key, **claims: Any) -> dict[str, str]:
        good = {"iss": ISSUER, "aud": AUDIENCE, "sub": "7", "exp": time.time() + 600}
        word = jwt.encode(good | claims, by, "ES256", headers={"kid": "1"})
        return {"authorization": f"Bearer {word}"}

    limited = {"tokens": tokens, "user_rate": Rate(3, 3600)}
    with edge(tmp_path / "edge", place.server, place.certificates, **limited) as (_, url), Client(url) as client:
        with grpc.insecure_channel(url) as channel:
            check = channel.unary_unary("/grpc.health.v1.Health/Check")
            assert check(b"", timeout=10.0) == b"\x08\x01", "health is for everybody"
            live = service_pb2_grpc.GRPCInferenceServiceStub(channel).ServerLive
            assert live(messages.ServerLiveRequest(), timeout=10.0).live
        assert client.server_ready()
        assert client.model_ready("scaled")
        wrong = [{}, token(exp=time.time() - 600), token(by=other), token(iss="https://else"), token(aud="else")]
        for headers in wrong:
            with pytest.raises(NotAllowed):
                asked(client, headers=headers)
        for number in range(3):
            asked(client, headers={**token(), "x-user-id": f"made up {number}"})
        with pytest.raises(RateLimited):
            asked(client, headers={**token(), "x-user-id": "made up"})
        asked(client, headers=token(sub="8"))
        # Without a token nobody is a user, and nobody is asked who it is for health.
        assert refused(lambda: client.model_ready("scaled"), 4) == 0


def refused(ask: Callable[[], object], times: int) -> int:
    """How many of so many times it was limited."""
    count = 0
    for _ in range(times):
        try:
            ask()
        except RateLimited:
            count += 1
    return count


def test_rates_hold_for_all_together_and_for_each_user(place: Place, tmp_path: Path) -> None:
    def of(client: Client, user: str, times: int) -> int:
        return refused(lambda: asked(client, headers={"x-user-id": user}), times)

    rates = {"rate": Rate(20, 3600), "user_rate": Rate(8, 3600)}
    with edge(tmp_path / "edge", place.server, place.certificates, **rates) as (_, url), Client(url) as client:
        assert [of(client, user, 10) for user in "ab"] == [2, 2]
        assert of(client, "c", 8) == 4, "of 20 in all, four are left"


def test_who_names_no_user_has_the_rate_of_one(place: Place, tmp_path: Path) -> None:
    request = infer_request("scaled", "", X, "any")
    rates = {"user_rate": Rate(5, 3600)}
    with (
        edge(tmp_path / "edge", place.server, place.certificates, **rates) as (_, url),
        grpc.insecure_channel(url) as channel,
        Client(url) as client,
    ):
        infer = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer
        passed = 0
        for header in ((), (("x-user-id", ""),), (("x-forwarded-for", "10.1.1.1"),)) * 4:
            with suppress(grpc.RpcError):
                infer(request, metadata=header, timeout=10.0)
                passed += 1
        assert passed == 5
        assert refused(lambda: asked(client), 2) == 2
        assert refused(lambda: client.describe("scaled") and client.metadata("scaled"), 7) == 0
        assert refused(lambda: asked(client, headers={"x-user-id": "a"}), 6) == 1
