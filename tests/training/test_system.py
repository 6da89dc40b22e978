"""What a system takes from its task where it says nothing of its own."""

from dataclasses import replace

import pytest
import torch

from tests.training.click_views import histories, view_of
from tests.training.tiny import SYSTEM, Config, Tiny
from training.baselines import din, mlp
from training.loop import predict
from training.registry import SYSTEMS
from training.system import prepare
from training.tasks.click import CLICK


def module() -> Tiny:
    torch.manual_seed(0)
    built = Tiny(Config(), histories().schema)
    prepare(built, histories())
    return built


def test_stages_measures_and_releases_are_the_task_s_unless_a_system_has_its_own() -> None:
    config = din.SYSTEM.config(epochs=3)
    (stage,) = din.SYSTEM.stages_of(config)
    assert (stage.name, stage.epochs) == ("train", 3)
    assert [one.name for one in SYSTEM.stages_of(Config())] == ["items", "all"]
    plain = replace(SYSTEM, evaluate=None)
    assert plain.measure(module(), predict, histories().test) == CLICK.evaluate(module(), predict, histories().test)
    assert set(SYSTEM.measure(module(), predict, histories().test)) == {"auc", "log_loss"}
    calls: list[tuple] = []

    def served(*given: object) -> tuple:
        calls.append(given)
        return ()

    own, config = replace(SYSTEM, served=served), Config()
    built = module()
    assert own.release(built, config, histories()) == ()
    assert calls == [("tiny", built, config, histories())]
    names = [one.name for one in plain.release(module(), Config(), histories())]
    assert names == ["tiny_history", "tiny_scorer", "tiny"], "what clients ask for comes last, under the system's name"


def test_a_baseline_is_named_or_follows_from_the_configuration() -> None:
    assert din.SYSTEM.baseline_of(din.SYSTEM.config()) is None
    assert SYSTEMS["lrea"].baseline_of(SYSTEMS["lrea"].config()) == "din"
    matt = SYSTEMS["matt"]
    assert {matt.baseline_of(matt.config(base=base)) for base in ("dea", "fm")} == {"dea", "fm"}
    assert matt.variant(matt.config(base="dea")) == "dea"
    assert din.SYSTEM.variant(din.SYSTEM.config()) == ""


def test_only_a_module_of_a_protocol_can_be_prepared() -> None:
    with pytest.raises(AssertionError):
        prepare(torch.nn.Linear(1, 1), histories())


@pytest.mark.parametrize("system", SYSTEMS.values(), ids=list(SYSTEMS))
def test_every_system_says_what_it_is_and_beats_a_system_that_there_is(system) -> None:
    assert SYSTEMS[system.name] is system
    assert system.title
    assert system.provenance
    baseline = system.baseline_of(system.config())
    assert baseline is None or SYSTEMS[baseline].task is system.task
    named = {column.metric for column in (*system.task.columns, *system.columns)}
    assert len(named) == len(system.task.columns) + len(system.columns)


def test_the_columns_of_a_system_are_measured() -> None:
    for system in (one for one in SYSTEMS.values() if one.task is CLICK):
        data = view_of(system, system.task.planted())
        torch.manual_seed(0)
        built = system.build(system.config(), data.schema)
        prepare(built, data)
        found = system.measure(built, predict, data.test)
        assert {column.metric for column in (*system.task.columns, *system.columns)} <= found.keys(), system.name
    assert mlp.SYSTEM.columns == ()
