"""What `recserve data describe` says of test parts: whose each one is, and how much it has."""

import json
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recserve.cli import main
from tests.training.data.folder.tables import NUM_EVENTS, NUM_ITEMS, Shop
from training.tasks.tracing import TRACING

Captured = pytest.CaptureFixture[str]


def described(folder: Path, capsys: Captured) -> dict[str, str]:
    assert main(["data", "describe", str(folder), "--json"]) == 0
    return json.loads(capsys.readouterr().out)["tested"]


def by_user(events: pl.DataFrame) -> list[pl.DataFrame]:
    return events.partition_by("customer_id", maintain_order=True)


def test_the_test_part_of_each_task_is_counted_as_the_task_splits(tmp_path: Path, capsys: Captured) -> None:
    shop = Shop()
    last = shop.events[-NUM_EVENTS // 10 :]
    # Of a fifth of each user's events what he had not met before; all of the shop's events were seen.
    new = 0
    for own in by_user(shop.events):
        border = len(own) - max(1, len(own) // 5)
        new += int(own["sku"].is_first_distinct()[border:].sum())
    tested = described(shop.write(tmp_path / "shop"), capsys)
    assert tested["click"] == f"{len(last)} events of {last['customer_id'].n_unique()} users, the last 10 % in time"
    assert tested["next_item"] == f"the last choice of each of {len(by_user(shop.events))} users"
    assert tested["semantic_ids"] == f"all {NUM_ITEMS} items"
    assert tested["retrieval"].startswith(f"{new} events of ")
    assert tested["retrieval"].endswith("the last fifth of each, new items alone")
    assert "tracing" not in tested


def test_without_objectives_retrieval_tests_one_event_of_each_user(tmp_path: Path, capsys: Captured) -> None:
    shop = Shop().say('objectives = ["seen", "bought"]\n', "")
    chosen = [own for own in by_user(shop.events.filter(pl.col("stars") >= 4)) if len(own) >= 3]
    new = sum(int(own["sku"].is_first_distinct()[-1]) for own in chosen)
    tested = described(shop.write(tmp_path / "shop"), capsys)
    assert tested["retrieval"] == f"{new} events of {new} users, the last one of each, new items alone"


def test_known_and_new_students_are_counted_apart() -> None:
    planted = TRACING.planted()
    sizes = planted.events["user"].value_counts()["count"].to_numpy()
    new_students = round(len(sizes) / 10)
    known_part, new_part = r"(.+) answers of (.+) known students", rf"(.+) answers of {new_students} new students"
    found = re.fullmatch(f"{known_part}, the last fifth of each, and all {new_part}", TRACING.tested(planted))
    assert found
    later, known, new = (int(number.replace(",", "")) for number in found.groups())
    # A fifth of less than five answers is none.
    assert len(sizes) - 2 * new_students - (sizes < 5).sum() <= known <= len(sizes) - 2 * new_students
    assert np.sort(sizes)[:new_students].sum() <= new <= np.sort(sizes)[-new_students:].sum()
    assert known <= later <= sizes.sum() / 5


def test_lines_name_the_task_whose_test_part_it_is(tmp_path: Path, capsys: Captured) -> None:
    assert main(["data", "describe", str(Shop().write(tmp_path / "shop"))]) == 0
    names = [line.split("  ")[0] for line in capsys.readouterr().out.splitlines()]
    assert [name for name in names if name.endswith("test part")] == [
        f"{task}: test part" for task in ("click", "next_item", "semantic_ids", "retrieval")
    ]


def test_the_last_part_is_nobodys_test_part_without_labels(tmp_path: Path, capsys: Captured) -> None:
    shop = Shop().say('value = "stars"\npositive = ">= 4"\n', "")
    assert main(["data", "describe", str(shop.write(tmp_path / "shop"))]) == 0
    printed = capsys.readouterr().out
    assert "last 10 % in time" in printed
    assert "click" not in printed
