"""What the linter says of all models of a target together."""

from pathlib import Path

from export.lint import check


def test_all_threads_are_counted_once_for_targets_that_run_as_many(published_once: Path) -> None:
    found = [finding for finding in check(published_once, cores=1) if "together run" in finding.reason]
    assert [finding.file for finding in found] == ["*/config.pbtxt, */configs/cpu.pbtxt"]
