"""What sentences of docs/results.md say of other servers, each with the figures of its artefact."""

import json
from typing import Any

from loadtest import RESULTS


def load(candidates: int) -> dict[str, Any]:
    """The comparison by h2load."""
    return json.loads((RESULTS / f"peers-h2load-{candidates}.json").read_text())


def rate(candidates: int, server: str) -> float:
    """Requests per second within the budget."""
    return next(one["throughput_at_p99"] for one in load(candidates)["rows"] if one["server"] == server)


def best(candidates: int) -> str:
    """Of the servers that are not ours."""
    result = load(candidates)
    assert not any(one["wrong"] for one in result["rows"])
    others = [one["server"] for one in result["rows"] if one["server"] not in result["ratios"]]
    return max(others, key=lambda name: rate(candidates, name))


def times(candidates: int, own: str, of: str, what: str = "throughput") -> str:
    """One of ours over another, within repetitions."""
    return f"{load(candidates)['ratios'][own][of][what]['median']:.2f}"


CLAIMS = [
    f"the native backend answers {rate(100, 'recserve-native'):,.0f} requests/s of 100 candidates on one core, "
    f"{times(100, 'recserve-native', best(100))} times what the best other server does (`{best(100)}`), with "
    f"{times(100, 'recserve-native', best(100), 'cpu')} of its processor time; the Python form "
    f"{times(100, 'recserve', best(100))} times",
    f"Of 1,000 candidates it is {times(1_000, 'recserve-native', best(1_000))} times the best other one "
    f"(`{best(1_000)}`) with {times(1_000, 'recserve-native', best(1_000), 'cpu')} of the processor time, the Python "
    f"form {times(1_000, 'recserve', best(1_000))} times",
    f"torch compiled {rate(100, 'torch-compiled'):,.0f} and {rate(1_000, 'torch-compiled'):,.0f} requests/s",
]
