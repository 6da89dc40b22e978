"""What tasks need of a data set is said once: the view refuses what the list of a folder's tasks says it lacks."""

from dataclasses import replace

import pytest

from training.needs import lacking
from training.registry import SYSTEMS, TASKS
from training.schema import Schema
from training.system import Task, Wanted

BY_NAME = {task.name: task for task in TASKS}
WANTED = Wanted(frozenset(), 20, {})


@pytest.mark.parametrize("name", BY_NAME)
def test_a_view_refuses_what_its_needs_do_and_nothing_of_its_planted_set(name: str) -> None:
    task: Task = BY_NAME[name]
    planted = task.planted()
    assert lacking(planted, task.needs) == []
    for field in planted.schema.fields:
        for use in field.uses:
            rest = tuple(one for one in planted.schema.fields if use not in one.uses)
            cut = replace(planted, schema=Schema(dataset="cut", fields=rest))
            if missing := lacking(cut, task.needs):
                with pytest.raises(ValueError, match=f"^cut cannot be used for .*: it lacks {missing[0].what}.*; own "):
                    task.view(cut, WANTED)
            else:
                task.view(cut, WANTED)


@pytest.mark.parametrize("name", ["next_item", "retrieval", "tracing"])
def test_what_comes_next_is_known_from_a_time_or_an_order_alone(name: str) -> None:
    task: Task = BY_NAME[name]
    planted = task.planted()
    fields = tuple(one for one in planted.schema.fields if not {"time", "order"} & {*one.uses})
    timeless = replace(planted, schema=Schema(dataset="timeless", fields=fields))
    said = "a time, an order or given parts" if name == "retrieval" else "a time or an order"
    assert [need.what for need in lacking(timeless, task.needs)] == [said]
    with pytest.raises(ValueError, match=rf"^timeless cannot be used for .*: it lacks {said}; own "):
        task.view(timeless, WANTED)


def test_each_task_is_listed_once_and_those_of_systems_are_the_listed_ones() -> None:
    assert len(BY_NAME) == len(TASKS)
    assert {id(system.task) for system in SYSTEMS.values()} == {id(task) for task in TASKS}
