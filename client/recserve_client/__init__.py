"""The client of a team's own service: ranks, lists, suggests and reports over gRPC, with numpy and gRPC alone.

    from recserve_client import Client

    with Client("127.0.0.1:8001") as client:
        ranked = client.rank(42, [50, 181, 313], model="ranker", dataset="shop")

A name is imported when it is first used, so that who needs one of the modules alone does not load gRPC.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from recserve_client.asynchronous import AsyncClient
    from recserve_client.client import Client
    from recserve_client.connecting import Tls
    from recserve_client.core import Counters
    from recserve_client.described import Description, ModelMetadata, TensorInfo
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
        StaleState,
        TlsMismatch,
    )
    from recserve_client.events import Event, Observed, Refused
    from recserve_client.questions import Ranked, Suggested

__all__ = [
    "AsyncClient",
    "Client",
    "Counters",
    "DeadlineExceeded",
    "Description",
    "Event",
    "InvalidRequest",
    "ModelMetadata",
    "ModelUnavailable",
    "NotAllowed",
    "NotAuthenticated",
    "Observed",
    "QueueFull",
    "Ranked",
    "RateLimited",
    "Refused",
    "ServerFailure",
    "ServerUnavailable",
    "ServingError",
    "StaleState",
    "Suggested",
    "TensorInfo",
    "Tls",
    "TlsMismatch",
]

_HOMES = {
    "AsyncClient": "asynchronous",
    "Client": "client",
    "Counters": "core",
    "Description": "described",
    "Event": "events",
    "ModelMetadata": "described",
    "Observed": "events",
    "Ranked": "questions",
    "Refused": "events",
    "Suggested": "questions",
    "TensorInfo": "described",
    "Tls": "connecting",
}
"""Modules of the names; all others are errors."""


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'recserve_client' has no attribute '{name}'")
    return getattr(import_module(f"recserve_client.{_HOMES.get(name, 'errors')}"), name)
