"""h2load, of Debian, before our server and a peer."""

import sys
from pathlib import Path

import pytest

from loadtest.peers import environments
from loadtest.peers.compare import compare
from loadtest.peers.plan import Plan
from loadtest.transports import OURS

pytestmark = [pytest.mark.production, pytest.mark.slow(30)]


def test_h2load_repeats_one_request_of_all_servers(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A plain peer needs no other packages than this project's.
    monkeypatch.setattr(environments, "make", lambda _: Path(sys.executable))
    plan = Plan(servers=(OURS, "grpcio"), repetitions=1, users=(1, 4), seconds=1.0, client="h2load", candidates=30)
    result = compare(repository, plan)
    assert result["client"] == "h2load"
    assert "30 candidates" in result["traffic"]["distribution"]
    for one in result["rows"]:
        assert (one["wrong"], one["errors"]) == (0, 0)
        assert 0 < one["p50_ms_1"] <= one["p99_ms_1"]
        assert one["cpu_seconds_per_1000"] > 0
