"""What is made of a status: the texts are those that gRPC, tritonserver and Envoy were seen to say."""

import re

import pytest

from recserve_client import errors
from recserve_client.statuses import NO_RELEASE, Again, verdict

CONNECT = "failed to connect to all addresses; last error: UNAVAILABLE: ipv4:127.0.0.1:8000:"
TLS = errors.TlsMismatch, r"Tls\(ca", Again.ELSEWHERE
LARGE = "message larger than 1024 bytes, the most that the edge takes"
NO_GRPC = errors.ServerUnavailable, "no gRPC server", Again.ELSEWHERE


@pytest.mark.parametrize(
    ("code", "text", "error", "said", "again"),
    [
        ("UNAVAILABLE", "upstream connect error", errors.ServerUnavailable, "the edge's log", Again.ELSEWHERE),
        ("UNAVAILABLE", "no healthy upstream", errors.ServerUnavailable, "recserve edge show", Again.ELSEWHERE),
        ("UNAVAILABLE", "upstream request timeout", errors.ServerUnavailable, "--try-timeout-s", Again.ELSEWHERE),
        ("UNAVAILABLE", "envoy overloaded", errors.ServerUnavailable, "out of memory", Again.ELSEWHERE),
        ("UNAVAILABLE", f"{CONNECT} Unwrap failed (TSI_DATA_CORRUPTED)", *TLS),
        ("UNAVAILABLE", f"{CONNECT} Cannot check peer: missing selected ALPN property.", *TLS),
        ("UNAVAILABLE", f"{CONNECT} recvmsg:Connection reset by peer (104)", *TLS),
        ("UNAVAILABLE", f"{CONNECT} Handshake read failed (Socket closed)", *TLS),
        ("UNAVAILABLE", f"{CONNECT} Failed parsing HTTP/2 (Expected SETTINGS)", *NO_GRPC),
        ("UNAVAILABLE", f"{CONNECT} Connection refused", errors.ServerUnavailable, "recserve serve", Again.ELSEWHERE),
        ("UNAVAILABLE", "recvmsg:Connection reset by peer", errors.ServerUnavailable, "recserve", Again.ELSEWHERE),
        ("NOT_FOUND", "unknown model", errors.ModelUnavailable, "export it", Again.NO),
        ("NOT_FOUND", f"the edge has {NO_RELEASE}; it has a", errors.InvalidRequest, "leave the header", Again.NO),
        ("RESOURCE_EXHAUSTED", LARGE, errors.InvalidRequest, "the edge takes; send fewer rows$", Again.NO),
        ("RESOURCE_EXHAUSTED", "metadata size exceeds", errors.InvalidRequest, "shorter headers", Again.NO),
        ("UNAUTHENTICATED", "Jwt is missing", errors.NotAuthenticated, "--headers FILE", Again.NO),
        ("UNAVAILABLE", "Ssl handshake failed", errors.TlsMismatch, r"Tls\(ca", Again.ELSEWHERE),
        ("UNAVAILABLE", "failed to connect: Socket closed", errors.TlsMismatch, r"Tls\(ca", Again.ELSEWHERE),
        ("UNAVAILABLE", "Socket closed", errors.ServerUnavailable, "recserve serve", Again.ELSEWHERE),
        ("UNAVAILABLE", "Server is stopping", errors.ServerUnavailable, "", Again.ELSEWHERE),
        ("UNAVAILABLE", "Request timeout expired", errors.QueueFull, "back-off", Again.LATER),
        ("NOT_FOUND", "'m' has no available versions", errors.ModelUnavailable, "", Again.ELSEWHERE),
        ("INTERNAL", "Stub process 'x' is not healthy.", errors.ModelUnavailable, "retry", Again.ELSEWHERE),
        ("CANCELLED", "", errors.ServerUnavailable, "cancelled", Again.ELSEWHERE),
        ("PERMISSION_DENIED", "RBAC: access denied", errors.NotAllowed, "those who run the edge", Again.NO),
        ("DEADLINE_EXCEEDED", "", errors.DeadlineExceeded, "on the way", Again.NO),
        ("RESOURCE_EXHAUSTED", "Received message larger than max", errors.InvalidRequest, "fewer rows", Again.NO),
        ("RESOURCE_EXHAUSTED", "quota", errors.RateLimited, "fewer requests", Again.NO),
        ("UNKNOWN", "?", errors.ServerFailure, "log says more", Again.NO),
    ],
)
def test_a_status_says_what_to_do(
    code: str, text: str, error: type[errors.ServingError], said: str, again: Again
) -> None:
    found = verdict(code, text, "host:1")
    assert type(found.error) is error
    assert re.search(said, str(found.error))
    assert found.again is again
