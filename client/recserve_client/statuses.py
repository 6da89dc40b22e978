"""What a gRPC status says, as an exception that says what to do, and whether the same request may be sent again."""

import enum
import re
from typing import NamedTuple

from recserve_client.errors import (
    DeadlineExceeded,
    InvalidRequest,
    ModelUnavailable,
    NotAllowed,
    NotAuthenticated,
    QueueFull,
    RateLimited,
    ServerFailure,
    ServerUnavailable,
    ServingError,
    TlsMismatch,
)

MAX_MESSAGE_BYTES = 64 * 1024 * 1024
ADMIN_HEADER = "triton-grpc-protocol-admin-key"
"""The header that opens the APIs which the server restricts."""
NO_RELEASE = "no release of the name in x-release"
"""In an edge's refusal of a release that it does not have."""
_REFUSED_TLS = re.compile(r"handshake|verification check|unwrap failed|tsi_|cannot check peer|alpn")
"""What gRPC says once one side refused the other; of a missing certificate only "Unwrap failed (TSI_DATA_CORRUPTED)"
where the server answers in TLS 1.3, in which a client is through before it hears of that."""
_CLOSED = re.compile(r"failed to connect.*(socket closed|connection reset|broken pipe)", re.DOTALL)
"""The server took the connection and closed it before a word: to who speaks TLS, plain text is none."""
_BEHIND_EDGE = re.compile(r"upstream|envoy overloaded|overload manager")


class Again(enum.Enum):
    """Whether a request that changes nothing may be sent again."""

    NO = "it fails again, or more requests are what is wrong"
    ELSEWHERE = "this server cannot answer now; another can"
    LATER = "the server is busy"


class Verdict(NamedTuple):
    """What is made of a call that failed."""

    error: ServingError
    again: Again = Again.NO


def verdict(code: str, text: str, url: str) -> Verdict:
    """By the name of the status and, where tritonserver reuses a status, by its text."""
    where = f"{url}: {text}"
    match code:
        case "UNAVAILABLE":
            return _unavailable(text, url)
        case "RESOURCE_EXHAUSTED":
            return _exhausted(text, url)
        case "NOT_FOUND":
            return _not_found(text, where)
        case "INTERNAL" if "is not healthy" in text:
            remedy = "The process that runs the model died; recserve serve starts it again, so retry"
            return Verdict(ModelUnavailable(f"{where} {remedy}"), Again.ELSEWHERE)
        case "CANCELLED":
            return Verdict(ServerUnavailable(f"{url}: the call was cancelled: {text}"), Again.ELSEWHERE)
        case "INVALID_ARGUMENT" | "OUT_OF_RANGE" | "UNIMPLEMENTED":
            return Verdict(InvalidRequest(text))
    kind, remedy = _FINAL.get(code, (ServerFailure, "the server's log says more"))
    return Verdict(kind(f"{where}; {remedy}"))


_FINAL: dict[str, tuple[type[ServingError], str]] = {
    "UNAUTHENTICATED": (
        NotAuthenticated,
        "send a valid token, as the header authorization: 'Bearer TOKEN', which commands read from --headers FILE",
    ),
    "PERMISSION_DENIED": (NotAllowed, "who asks may not do that; ask those who run the edge before the server"),
    "DEADLINE_EXCEEDED": (DeadlineExceeded, "something on the way to the server waits less than you do"),
}
"""What is made of a status, whatever its text."""


def _not_found(text: str, where: str) -> Verdict:
    if NO_RELEASE in text:
        return Verdict(InvalidRequest(f"{where}; name one that it has, or leave the header out"))
    # A server that stops unloads its models first.
    again = Again.ELSEWHERE if "no available versions" in text else Again.NO
    return Verdict(ModelUnavailable(f"{where}; export it into the served repository, or name one that is there"), again)


def _exhausted(text: str, url: str) -> Verdict:
    lower = text.lower()
    if "message" in lower and "larger" in lower:
        bound = "" if "the edge takes" in lower else f"a message may hold {MAX_MESSAGE_BYTES} bytes, so "
        return Verdict(InvalidRequest(f"{text}; {bound}send fewer rows"))
    if "metadata size" in lower:
        return Verdict(InvalidRequest(f"{url}: {text}; send fewer or shorter headers"))
    return Verdict(RateLimited(f"{url}: {text}; send fewer requests a second, or ask for a higher limit"))


def _unavailable(text: str, url: str) -> Verdict:
    lower = text.lower()
    if "rate_limited" in lower:
        return _exhausted(text, url)
    if "queue" in lower or "timeout expired" in lower:
        return Verdict(QueueFull(f"{text}; retry with back-off, or serve with more instances or servers"), Again.LATER)
    if "restricted" in lower:
        remedy = "make the client with the server's admin_key" if ADMIN_HEADER in text else "this API is switched off"
        return Verdict(InvalidRequest(f"{text}; {remedy}"))
    if "explicit model load" in lower:
        return Verdict(InvalidRequest(f"{text}; start the server with model_control='explicit'"))
    if "model" in lower:
        return Verdict(ModelUnavailable(f"{url}: {text}"), Again.ELSEWHERE)
    return Verdict(_unreachable(lower, f"{url}: {text}"), Again.ELSEWHERE)


def _unreachable(lower: str, where: str) -> ServerUnavailable:
    """Nobody, or somebody who speaks another language; `lower` is the text in small letters."""
    if _BEHIND_EDGE.search(lower):
        return ServerUnavailable(f"{where}; {_of_edge(lower)}")
    if _REFUSED_TLS.search(lower) or _CLOSED.search(lower):
        return TlsMismatch(f"{where}; does it speak TLS, and do Tls(ca, certificate, key, name) fit it?")
    if "failed parsing http/2" in lower:
        return ServerUnavailable(f"{where}; what answers there is no gRPC server; give the address of its gRPC port")
    return ServerUnavailable(f"{where}; is the server running there? start one with recserve serve")


def _of_edge(lower: str) -> str:
    """What to do about the words of an edge that runs itself."""
    if "overload" in lower:
        return "the edge is out of memory; retry later, or run another edge"
    if "timeout" in lower:
        return (
            "no server behind the edge answered in time; give them less load, or recserve edge a longer --try-timeout-s"
        )
    return "the edge runs and no server behind it answered: recserve edge show says which, the edge's log why"
