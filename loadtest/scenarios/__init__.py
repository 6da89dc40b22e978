"""All load scenarios; a new one is a file that declares its traffic, and a line here."""

from loadtest.scenarios import lrea
from loadtest.scenarios.scenario import Direct, Scenario

SCENARIOS: dict[str, Scenario] = {scenario.name: scenario for scenario in (lrea.RANKER, lrea.SCORER)}

__all__ = ["SCENARIOS", "Direct", "Scenario"]
