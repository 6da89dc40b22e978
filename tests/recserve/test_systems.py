"""`recserve systems`: what there is and what it reaches, for people, for scripts and for the page."""

import re

from recserve.cli import main
from tests.recserve.test_cli import Captured, run_json
from training.registry import SYSTEMS, TASKS


def test_systems_are_listed_for_scripts_people_and_the_readme(capsys: Captured) -> None:
    listed = run_json(capsys, "systems")
    assert {row["system"] for row in listed} == set(SYSTEMS)
    for entry in listed:
        system = SYSTEMS[entry["system"]]
        if entry["seeds"]:
            shown = {column.metric for column in (*system.task.columns, *system.columns)}
            assert shown & set(entry["test"]), f"{entry['system']}: nothing is shown"
            # What has no stage to train is in closed form, and the same for every seed.
            learnt = system.stages is None or system.stages(system.config())
            assert len(entry["seeds"]) == (3 if learnt else 1)
    assert main(["systems", "--markdown"]) == 0
    *parts, origins = [part.splitlines() for part in capsys.readouterr().out.strip().split("\n\n")]
    titles, tables = parts[::2], parts[1::2]
    # A table for each data set of a task, by name; what was measured nowhere comes last.
    ranks = [(row["task"], row["dataset"]) for row in listed]
    expected = [
        f"**{task.title}, {dataset or 'not measured'}**"
        for task in TASKS
        for dataset in sorted({one for name, one in ranks if name == task.name}, key=lambda one: (one is None, one))
    ]
    assert [line for title in titles for line in title] == expected
    assert sorted(name for line in origins for name in line[2:].split(": ")[0].split(", ")) == sorted(SYSTEMS)
    lines = [line for table in tables for line in table]
    assert len(lines) == 2 * len(tables) + len(listed)
    assert all(len({line.count("|") for line in table}) == 1 for table in tables)
    assert "[LREA: low-rank efficient attention](https://arxiv.org/abs/2503.02542)" in "\n".join(lines)
    assert main(["systems"]) == 0
    printed = capsys.readouterr().out
    assert re.search("LREA: low-rank efficient attention .*over din", printed), "one line, however narrow the terminal"
