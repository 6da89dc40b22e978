"""A repository that is pulled from an object store: the package's own store in memory stands for one."""

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import obstore
import pytest
from obstore.store import MemoryStore

from serving import releases
from serving.manifest import MANIFEST_FILE
from serving.pulling.contents import check_key
from serving.pulling.objects import Objects
from serving.pulling.pull import pull
from serving.startup import StartupError
from tests.serving.published import add_release

URL = "s3://models/shop"


def upload(repository: Path, store: MemoryStore) -> None:
    for path in sorted(repository.rglob("*")):
        if path.is_file():
            obstore.put(store, str(path.relative_to(repository)), path.read_bytes())


def tree(folder: Path) -> dict[str, str]:
    """Digest of each file but what says which release is served."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }


class Cut(Objects):
    """One whose connection breaks after so many bytes."""

    left = 0

    def chunks(self, key: str, start: int) -> Iterator[bytes]:
        for chunk in super().chunks(key, start):
            if key.endswith((".pbtxt", MANIFEST_FILE, releases.FILE)):
                yield chunk
                continue
            yield chunk[: self.left]
            self.left -= len(chunk)
            if self.left < 0:
                raise OSError(f"{self.url}/{key}: connection reset")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A release in versions 1 and 2, of which 1 is served."""
    folder = tmp_path / "source"
    for number in (1, 2):
        add_release(folder, "shop", number, ("encoder", "scorer"))
    releases.change(folder, _name(folder), lambda now: now.back_at(1, "rolled back"))
    return folder


@pytest.fixture
def store(source: Path) -> MemoryStore:
    made = MemoryStore()
    upload(source, made)
    return made


@pytest.fixture
def objects(store: MemoryStore) -> Objects:
    return Objects(store, URL)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return tmp_path / "here" / "models"


def _name(folder: Path) -> str:
    (name,) = releases.names(folder)
    return name


def models(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.is_dir()}


def test_what_is_served_there_is_here_and_nothing_else(objects: Objects, source: Path, repository: Path) -> None:
    done = pull(objects, repository)
    assert releases.standing(repository, _name(source)).served == 1
    assert models(repository) == models(source)
    here, there = tree(repository), tree(source)
    assert {key for key in here if "/1/" in key} == {key for key in there if "/1/" in key}
    assert all(there[key] == digest for key, digest in here.items() if "/1/" in key)
    assert not [key for key in here if "/2/" in key], "nobody is to fetch what is not served"
    assert sorted(done.added) == sorted(f"{name}/1" for name in models(source))
    assert sorted(path.name for path in repository.parent.iterdir()) == ["models"], "nothing staged is left"


def test_a_second_pull_fetches_nothing(objects: Objects, repository: Path) -> None:
    pull(objects, repository)
    before = tree(repository)
    done = pull(objects, repository)
    assert (done.added, done.fetched_bytes) == ([], 0)
    assert tree(repository) == before


def test_a_release_that_is_promoted_there_is_the_served_one_here(
    objects: Objects, store: MemoryStore, source: Path, repository: Path
) -> None:
    pull(objects, repository)
    (repository / "another").mkdir()
    releases.change(source, _name(source), lambda now: now.at(2, "promoted"))
    upload(source, store)
    pull(objects, repository)
    now = releases.standing(repository, _name(source))
    assert (now.served, now.before, now.why) == (2, (1,), "pulled")
    assert all((repository / name / "1").is_dir() for name in models(source)), "a roll-back needs it"
    assert (repository / "another").is_dir()
    releases.change(source, _name(source), lambda now: now.back_at(1, "rolled back"))
    upload(source, store)
    assert pull(objects, repository).fetched_bytes == 0
    assert releases.standing(repository, _name(source)).served == 1


def test_a_release_that_is_being_copied_there_is_not_there_yet(
    objects: Objects, store: MemoryStore, source: Path, repository: Path
) -> None:
    obstore.delete(store, "releases.json")
    part = max(models(source) - {_name(source)})
    obstore.delete(store, f"{part}/2/{MANIFEST_FILE}")
    pull(objects, repository)
    assert releases.standing(repository, _name(source)).served == 1


def test_an_operator_s_settings_come_along(
    objects: Objects, store: MemoryStore, source: Path, repository: Path
) -> None:
    pull(objects, repository)
    path = source / _name(source) / "config.pbtxt"
    path.write_text(path.read_text() + 'metric_tags { key: "tier" value: "gold" }\n')
    upload(source, store)
    pull(objects, repository)
    assert "gold" in (repository / _name(source) / "config.pbtxt").read_text()


def flip(store: MemoryStore, key: str) -> None:
    content = bytearray(bytes(obstore.get(store, key).bytes()))
    content[len(content) // 2] ^= 1
    obstore.put(store, key, bytes(content))


def test_a_flipped_bit_is_refused_and_nothing_changes(
    objects: Objects, store: MemoryStore, source: Path, repository: Path
) -> None:
    pull(objects, repository)
    before = tree(repository)
    releases.change(source, _name(source), lambda now: now.at(2, "promoted"))
    upload(source, store)
    key = next(key for key in sorted(tree(source)) if "/2/" in key and key.endswith(".onnx"))
    flip(store, key)
    for _ in range(2):
        with pytest.raises(StartupError, match=rf"{key} is not what was published"):
            pull(objects, repository)
        assert tree(repository) == before
    flip(store, key)
    pull(objects, repository)
    assert releases.standing(repository, _name(source)).served == 2


def test_what_is_damaged_here_is_not_taken_for_what_is_there(objects: Objects, source: Path, repository: Path) -> None:
    pull(objects, repository)
    path = repository / _name(source) / "1" / "golden.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    with pytest.raises(StartupError, match=r"golden.safetensors is not what was published"):
        pull(objects, repository)


@pytest.mark.parametrize("size", [None, 3])
def test_a_file_that_is_missing_or_short_is_refused_before_anything_is_fetched(
    size: int | None, objects: Objects, store: MemoryStore, source: Path, repository: Path
) -> None:
    key = f"{_name(source)}/1/golden.safetensors"
    obstore.delete(store, key)
    if size is not None:
        obstore.put(store, key, b"x" * size)
    with pytest.raises(ValueError, match=rf"{URL}/{key} (is missing|has 3 bytes and should have)"):
        pull(objects, repository)
    assert not models(repository)


def test_a_pull_that_is_cut_off_goes_on(store: MemoryStore, objects: Objects, source: Path, repository: Path) -> None:
    total = pull(objects, repository.with_name("whole")).fetched_bytes
    cut = Cut(store, URL)
    cut.left = total // 2
    with pytest.raises(OSError, match="connection reset"):
        pull(cut, repository)
    assert not models(repository), "half a release is none"
    done = pull(objects, repository)
    assert done.kept_bytes == total // 2
    assert done.fetched_bytes + done.kept_bytes == total
    assert releases.standing(repository, _name(source)).served == 1


def test_what_is_left_of_another_file_is_found_out_and_fetched_anew(
    store: MemoryStore, objects: Objects, source: Path, repository: Path
) -> None:
    key = f"{_name(source)}/1/golden.safetensors"
    staged = repository.with_name(".models.pulling") / "files" / key
    staged.parent.mkdir(parents=True)
    staged.write_bytes(b"something else")
    with pytest.raises(StartupError, match="is not what was published"):
        pull(objects, repository)
    pull(objects, repository)
    assert tree(repository)[key] == tree(source)[key]


@pytest.mark.parametrize(
    "key", ["../evil", "a/../../evil", "/etc/passwd", "a//b", "./a", "a/..", "a\\..\\b", "a/\x00", "a/\n", ".."]
)
def test_a_key_that_leads_out_of_the_repository_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match=r"is no path in a repository"):
        check_key(key, URL)


@pytest.mark.parametrize("key", ["a", "lrea/1/model.onnx", "lrea/", "lrea/1/..data", "lrea/configs/cpu.pbtxt"])
def test_a_key_of_a_repository_is_one(key: str) -> None:
    check_key(key, URL)


@pytest.mark.parametrize("name", ["../../../evil", "/tmp/evil", "../2/model.onnx"])
def test_a_manifest_cannot_name_a_file_elsewhere(
    name: str, objects: Objects, store: MemoryStore, source: Path, repository: Path
) -> None:
    key = f"{_name(source)}/1/{MANIFEST_FILE}"
    said = json.loads(bytes(obstore.get(store, key).bytes()))
    said["files"][name] = {"sha256": hashlib.sha256(b"evil").hexdigest(), "bytes": 4}
    obstore.put(store, key, json.dumps(said).encode())
    with pytest.raises(ValueError, match=r"manifest.json has the key .* which is no path in a repository"):
        pull(objects, repository)
    assert not models(repository)
    assert not list(repository.parent.rglob("evil"))


def test_another_release_of_one_number_is_refused(
    objects: Objects, store: MemoryStore, source: Path, repository: Path
) -> None:
    pull(objects, repository)
    before = tree(repository)
    for name in models(source):
        for path in (source / name / "2").iterdir():
            obstore.put(store, f"{name}/1/{path.name}", path.read_bytes())
    with pytest.raises(ValueError, match="are different releases of one number; publish the other one anew"):
        pull(objects, repository)
    assert tree(repository) == before


def test_a_place_without_a_release_is_no_repository(repository: Path) -> None:
    empty = MemoryStore()
    obstore.put(empty, "readme.txt", b"")
    with pytest.raises(ValueError, match=rf"{URL} has no release that is there as a whole"):
        pull(Objects(empty, URL), repository)


@pytest.mark.parametrize("url", ["models/shop", "gs://models/shop", "s3://", "s3://Models/x y", "https://models"])
def test_another_kind_of_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"is no place in an object store; write s3://bucket/prefix"):
        Objects.at(url)


def test_without_the_package_the_remedy_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    with pytest.raises(ValueError, match=r"needs the package obstore: pip install"):
        Objects.at(URL)
