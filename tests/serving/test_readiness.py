from pathlib import Path

import pytest

from serving import readiness
from serving.versions import latest_version


def test_the_latest_version_is_the_highest_number_that_tritonserver_takes(tmp_path: Path) -> None:
    for name in ("1", "9", "10", "011", "draft", "configs"):
        (tmp_path / name).mkdir()
    assert latest_version(tmp_path).name == "10"


def test_a_model_without_a_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "draft").mkdir()
    with pytest.raises(ValueError, match="no version directory; export the model again"):
        latest_version(tmp_path)


def test_models_are_found_by_either_configuration(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "config.pbtxt").touch()
    (tmp_path / "b" / "configs").mkdir(parents=True)
    (tmp_path / "b" / "configs" / "cpu.pbtxt").touch()
    (tmp_path / "notes").mkdir()
    assert [path.name for path in readiness.models(tmp_path, "cpu")] == ["a", "b"]
    assert [path.name for path in readiness.models(tmp_path, "h100")] == ["a"]
