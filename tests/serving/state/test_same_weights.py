"""A state outlives the version that wrote it where the next one computes the same, and is never taken for another."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from serving import manifest
from serving.histories.history import Events, encode
from serving.histories.keys import Whose
from serving.histories.live import Live
from serving.histories.reading import ITEMS, LENGTH, VALUES, Reading
from serving.ids import IdMap
from serving.state.record import Key
from serving.state.source import StateSource
from serving.state.states import Lookup
from tests.serving import state_models as tiny

NUMBER, RAW = 3, np.array([11, 12, 13])
USERS = np.array([1, 2])


def version(
    repository: Path, number: int, changed: Mapping[str, np.ndarray] | None = None, graph: bytes = b"graph"
) -> StateSource:
    """Of an encoder that reads a history and the user's age; `changed` are exported arrays."""
    folder = tiny.write_state_model(repository / "user_state" / str(number))
    description = (folder / "state.json").read_text()
    names = [ITEMS, VALUES, LENGTH, "age"]
    quoted = ", ".join(f'"{name}"' for name in names)
    (folder / "state.json").write_text(description.replace('"history", "length"', quoted))
    rows = {name: np.ones((2, NUMBER), np.int64) for name in (ITEMS, VALUES)}
    arrays = {
        "user_ids": USERS,
        **rows,
        LENGTH: np.full((2, 1), NUMBER),
        "age": np.array([[30], [40]]),
        **(changed or {}),
    }
    save_file(arrays, folder / "histories.safetensors")
    encoder = repository / "encoder" / str(number)
    encoder.mkdir(parents=True)
    (encoder / "model.onnx").write_bytes(graph)
    (encoder / "golden.safetensors").write_bytes(b"%d" % number)
    manifest.write(encoder, {"time": number})
    return StateSource(folder, "user_state", number)


READING = Reading("shop", 3, IdMap(ids=RAW), ("1", "2"), 2)


def live_of(reading: Reading, items: tuple[int, ...] = (11, 13)) -> Live:
    made, times = np.array(items), np.arange(len(items))
    events = Events(made, np.ones(len(made)), times, np.zeros_like(times), times.astype(np.uint64))
    whose = Whose("shop", 77)
    return Live(whose, encode(whose.key, events), reading)


def asked(source: StateSource, reading: Reading = READING, items: tuple[int, ...] = (11, 13)) -> Lookup:
    """What is asked about user 77, who is 1 in the release, with events since the export."""
    return source.live(1, 77, live_of(reading, items)).lookup


def test_the_same_weights_under_another_number_ask_for_the_same_states(tmp_path: Path) -> None:
    one, two = version(tmp_path, 1), version(tmp_path, 2)
    assert one.question(1).lookup == two.question(1).lookup
    assert one.question(1).lookup.key == Key("user_state", tiny.STAMP, 1)
    assert asked(one) == asked(two)
    assert asked(one) != asked(one, items=(13, 11))
    assert asked(one) != one.question(1).lookup


@pytest.mark.parametrize(
    "change",
    [
        lambda: replace(READING, items=IdMap(ids=np.array([11, 13, 14]))),
        lambda: replace(READING, items=None),
        lambda: replace(READING, num_items=2),
        lambda: replace(READING, values=("2", "1")),
        lambda: replace(READING, values=None),
        lambda: replace(READING, num_values=0),
        lambda: replace(READING, dataset="other"),
    ],
    ids=["items", "no map", "fewer items", "values", "no names", "no values", "data set"],
)
def test_events_that_are_read_otherwise_are_another_state(tmp_path: Path, change: Callable[[], Reading]) -> None:
    """Other arrays of the very same events are other inputs, though weights, user and events are the same."""
    source = version(tmp_path, 1)
    assert asked(source).key == asked(source, change()).key
    assert asked(source).digest != asked(source, change()).digest


def test_what_is_beside_the_history_is_part_of_the_state(tmp_path: Path) -> None:
    one, two = version(tmp_path, 1), version(tmp_path, 2, {"age": np.array([[31], [40]])})
    assert asked(one).digest != asked(two).digest
    assert one.question(1).lookup.digest != two.question(1).lookup.digest
    assert one.question(2).lookup == two.question(2).lookup


def test_how_much_is_read_of_a_history_is_part_of_the_state(tmp_path: Path) -> None:
    longer = {name: np.ones((2, NUMBER + 1), np.int64) for name in (ITEMS, VALUES)}
    one, two = version(tmp_path, 1), version(tmp_path, 2, longer)
    assert asked(one).digest != asked(two).digest


def test_another_graph_of_the_same_weights_has_states_of_its_own(tmp_path: Path) -> None:
    one, two = version(tmp_path, 1), version(tmp_path, 2, graph=b"other")
    assert one.question(1).lookup.digest != two.question(1).lookup.digest
    assert asked(one).digest != asked(two).digest


def test_an_encoder_that_nobody_sealed_shares_its_states_with_no_other_version(tmp_path: Path) -> None:
    found = []
    for number in (1, 2):
        version(tmp_path, number)
        (tmp_path / "encoder" / str(number) / manifest.MANIFEST_FILE).unlink()
        found.append(StateSource(tmp_path / "user_state" / str(number), "user_state", number).question(1).lookup)
    assert found[0].key == found[1].key
    assert found[0].digest != found[1].digest


def test_what_is_exported_is_what_the_digest_is_of(tmp_path: Path) -> None:
    source = version(tmp_path, 1)
    exported = load_file(tmp_path / "user_state" / "1" / "histories.safetensors")
    inputs = source.question(2).inputs
    assert all(np.array_equal(inputs[name], exported[name][1:2]) for name in (ITEMS, VALUES, LENGTH, "age"))
