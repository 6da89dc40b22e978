"""What lies in a repository is what was published, or the server does not start, in one line that names the file."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recserve.cli import main
from serving import manifest, readiness
from tests.serving import models


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("integrity") / "repository"
    models.publish_scaled(folder)
    return folder


@pytest.fixture
def repository(published: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(published, tmp_path / "repository"))


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def dangling(path: Path) -> None:
    path.unlink()
    path.symlink_to("/nowhere")


DAMAGES: dict[str, Callable[[Path], object]] = {
    "half": half,
    "empty": lambda path: path.write_bytes(b""),
    "bytes": lambda path: path.write_bytes(bytes(range(256))),
    "a list": lambda path: path.write_text("[]"),
    "an object": lambda path: path.write_text("{}"),
    "other files": lambda path: path.write_text('{"files": {"model.onnx": 3}}'),
    "deep": lambda path: path.write_text("[" * 100_000),
    "missing": Path.unlink,
    "a folder": folder,
    "dangling": dangling,
}


@pytest.mark.parametrize("file", ["manifest.json", "golden.safetensors", "model.onnx"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_one_line_that_names_it(
    repository: Path, capsys: pytest.CaptureFixture[str], file: str, damage: str
) -> None:
    DAMAGES[damage](repository / "scaled" / "1" / file)
    for words in (["serve"], ["parity"]):
        assert main([*words, "--repository", str(repository)]) == 2
        said = capsys.readouterr().err.strip()
        assert said.startswith("error: ")
        assert "\n" not in said
        assert "scaled/1/" in said
        assert file in said


def test_a_file_that_nobody_published_is_named(repository: Path) -> None:
    (repository / "scaled" / "1" / "model.py").write_text("")
    with pytest.raises(ValueError, match=r"scaled/1/model\.py is not listed in manifest\.json; remove it"):
        readiness.check_files(repository, "cpu")


def test_what_tools_leave_behind_is_no_file_of_the_release(repository: Path) -> None:
    (repository / "scaled" / "1" / ".nfs01").write_text("")
    readiness.check_files(repository, "cpu")


def test_bytecode_that_python_would_run_in_place_of_a_published_file_is_removed(repository: Path) -> None:
    left = repository / "scaled" / "1" / "__pycache__" / "model.cpython-311.pyc"
    left.parent.mkdir()
    left.write_bytes(b"anything")
    readiness.check_files(repository, "cpu")
    assert not left.parent.exists()
    left.parent.symlink_to(repository)
    with pytest.raises(ValueError, match="__pycache__ may hold other code than was published; remove it"):
        readiness.check_files(repository, "cpu")
    assert repository.exists()


def test_only_versions_that_are_loaded_count(repository: Path) -> None:
    model = repository / "scaled"
    shutil.copytree(model / "1", model / "2")
    half(model / "1" / "model.onnx")
    readiness.check_files(repository, "cpu")
    config = model / "configs" / "cpu.pbtxt"
    plain = config.read_text()
    for policy in ("all {}", "specific { versions: [1] }", "latest { num_versions: 2 }"):
        config.write_text(f"{plain}\nversion_policy {{ {policy} }}\n")
        with pytest.raises(ValueError, match=r"scaled/1/model\.onnx is not what was published"):
            readiness.check_files(repository, "cpu")


@given(bit=st.integers(min_value=0))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_flipped_bit_goes_unnoticed(repository: Path, bit: int) -> None:
    version = repository / "scaled" / "1"
    files = sorted(path for path in version.iterdir() if path.name != manifest.MANIFEST_FILE)
    path = files[bit % len(files)]
    content = bytearray(path.read_bytes())
    place = bit // len(files) % (8 * len(content))
    content[place // 8] ^= 1 << place % 8
    before = path.read_bytes()
    path.write_bytes(content)
    try:
        with pytest.raises(ValueError, match="is not what was published"):
            manifest.verify(version)
    finally:
        path.write_bytes(before)
    manifest.verify(version)
