import fcntl
import json
import os
import shutil
import stat
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from torch import Tensor

from export import repository
from export.artifacts import Source, write_version
from export.model_config import read_config, render
from export.renaming import under_name
from export.repository import publish, publish_beside, versions, write_configs
from serving import golden, releases
from serving.identity import Identity
from serving.manifest import fingerprint
from serving.server import TritonServer
from tests.export.models import STAMP, encoder_model, profile_model, release, scorer_model
from training.schema import Field, Schema
from training.servable import Origin, Packed, Signature

SOURCE = Source(kind="run", name="runs/lrea/0001")
MODELS = ["encoder", "ranker", "scorer", "user_state"]


def tree(repository: Path) -> Mapping[str, bytes]:
    """Every file below a folder with its content."""
    return {str(path.relative_to(repository)): path.read_bytes() for path in repository.rglob("*") if path.is_file()}


def wrong_scorer() -> Signature:
    """A scorer whose graph answers something else than its eager form."""

    def off_by_one(profile: Tensor, candidates: Tensor, candidate_offsets: Tensor) -> Packed:
        return (scorer_model().eager(profile, candidates, candidate_offsets)[0] + 1,)

    return replace(scorer_model(), eager=off_by_one)


def test_release_has_one_version_and_all_files(published_once: Path) -> None:
    assert sorted(path.name for path in published_once.iterdir()) == MODELS
    assert {name: versions(published_once / name) for name in MODELS} == {name: [1] for name in MODELS}
    always = {"golden.safetensors", "manifest.json"}
    files = {name: {path.name for path in (published_once / name / "1").iterdir()} - always for name in MODELS}
    assert files == {
        "encoder": {"model.onnx"},
        "ranker": {"reference.json"},
        "scorer": {"model.onnx", "reference.json"},
        "user_state": {"model.py", "histories.safetensors", "state.json"},
    }


def test_manifest_names_source_libraries_and_every_file(published_once: Path) -> None:
    for name in MODELS:
        folder = published_once / name / "1"
        manifest = json.loads((folder / "manifest.json").read_text())
        assert (manifest["model"], manifest["version"]) == (name, 1)
        assert manifest["source"] == {"kind": "factory", "name": "tests.export.models:release"}
        assert manifest["versions"]["torch"] == torch.__version__
        assert set(manifest["versions"]) == {"torch", "triton", "onnx", "onnxscript", "onnxruntime-gpu"}
        others = [path for path in folder.iterdir() if path.name != "manifest.json"]
        assert manifest["files"] == {path.name: fingerprint(path) for path in others}


def test_files_of_a_version_can_be_read_by_another_user(published_once: Path) -> None:
    modes = {stat.S_IMODE(path.stat().st_mode) for path in published_once.glob("*/1/*")}
    assert modes == {0o644}
    assert {stat.S_IMODE(path.stat().st_mode) for path in published_once.glob("*/1")} == {0o755}


def test_user_state_describes_its_encoder_and_holds_the_histories(published_once: Path) -> None:
    folder = published_once / "user_state" / "1"
    assert json.loads((folder / "state.json").read_text()) == {
        "encoder": "encoder",
        "stamp": STAMP,
        "inputs": ["history"],
        "encoder_max_batch_size": 64,
        "outputs": [
            {"name": "profile", "dtype": "float32", "shape": [8]},
            {"name": "stamp", "dtype": "int64", "shape": [1]},
        ],
    }
    histories = load_file(folder / "histories.safetensors")
    np.testing.assert_array_equal(histories["user_ids"], [10, 11, 12, 13, 14])
    assert histories["history"].shape == (5, 6)


def test_schema_travels_with_every_model(tmp_path: Path) -> None:
    schema = Schema(dataset="toy", fields=(Field(name="item", role="item", kind="id", cardinality=50),))
    publish(tmp_path, [profile_model()], SOURCE, schema)
    saved = json.loads((tmp_path / "profile" / "1" / "schema.json").read_text())
    assert (saved["dataset"], saved["fields"][0]["cardinality"]) == ("toy", 50)


def test_new_release_leaves_the_old_one_as_it_was(published: Path) -> None:
    before = tree(published)
    assert publish(published, release(), SOURCE) == 2
    after = tree(published)
    assert {name: after[name] for name in before} == before
    assert {name: versions(published / name) for name in MODELS} == {name: [1, 2] for name in MODELS}


def test_what_is_published_beside_what_is_served_is_not_served_until_it_is_exported_or_promoted(tmp_path: Path) -> None:
    """The data set grows with the second one, and the configuration goes on saying what the served one was made of."""
    item = Field(name="item", role="item", kind="id", cardinality=5)
    toys = [Schema(dataset="toy", fields=(replace(item, cardinality=number),)) for number in (5, 6)]
    one, other = (replace(profile_model(), origin=Origin(schema=schema)) for schema in toys)
    live = tmp_path / "live"
    publish(live, [one], SOURCE)
    assert publish_beside(live, [one], SOURCE, lambda line: None) == 2
    assert releases.standing(live, "profile")[:2] == (1, ())
    for file in ("config.pbtxt", "configs/cpu.pbtxt"):
        config = read_config(live / "profile" / file)
        assert config.version_policy.specific.versions == [1]
        write_configs(live, [other])
        assert Identity.of(read_config(live / "profile" / file)) == Identity.of(config)
    assert publish(live, [one], SOURCE) == 3
    assert releases.standing(live, "profile")[:2] == (3, (1,))
    assert read_config(live / "profile" / "config.pbtxt").version_policy.specific.versions == [3]
    with pytest.raises(ValueError, match=r"'whole' is new and joins profile of .*, which are served"):
        publish_beside(live, [one, replace(one, name="whole")], SOURCE, lambda line: None)
    assert not (live / "whole").exists()


def test_version_is_above_the_newest_of_any_model(published: Path) -> None:
    (published / "user_state" / "1").rename(published / "user_state" / "7")
    assert publish(published, release(), SOURCE) == 8


def test_wanted_version_is_used_unless_it_exists(published: Path) -> None:
    before = tree(published)
    with pytest.raises(ValueError, match=r"version 1 cannot be published: versions are >= 1, and \[1\] exist"):
        publish(published, [scorer_model()], SOURCE, version=1)
    assert tree(published) == before
    assert publish(published, [scorer_model()], SOURCE, version=5) == 5


def test_nothing_of_a_release_appears_when_its_last_model_fails(published: Path) -> None:
    before = tree(published)
    with pytest.raises(ValueError, match="model 'scorer', batch of 1: output 'scores'"):
        publish(published, [encoder_model(), wrong_scorer()], SOURCE)
    assert tree(published) == before
    assert not [*published.glob("*/.*"), *published.parent.glob(".*.staging")]


def test_failed_first_release_leaves_no_folder_that_a_server_would_try_to_load(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="model 'scorer'"):
        publish(tmp_path, [encoder_model(), wrong_scorer()], SOURCE)
    assert list(tmp_path.iterdir()) == []


def test_versions_that_were_revealed_are_taken_back_when_a_rename_fails(published: Path) -> None:
    # A file stands where the scorer's version 2 would go, so its rename fails after the encoder's succeeded.
    (published / "scorer" / "2").write_text("in the way")
    before = tree(published)
    with pytest.raises(OSError, match="scorer/2"):
        publish(published, [encoder_model(), scorer_model()], SOURCE)
    assert tree(published) == before


def test_changed_signature_is_refused_with_what_differs(published: Path) -> None:
    before = tree(published)
    with pytest.raises(ValueError, match=r"scorer is another model: .*; they differ in max_batch_size\. Publish it"):
        publish(published, [replace(scorer_model(), max_batch_size=8)], SOURCE)
    assert tree(published) == before


def test_changed_signature_is_welcome_where_nothing_serves_yet(published: Path) -> None:
    shutil.rmtree(published / "scorer" / "1")
    publish(published, [replace(scorer_model(), max_batch_size=64)], SOURCE)
    assert read_config(published / "scorer" / "config.pbtxt").max_batch_size == 64


def test_leftovers_of_a_publish_that_was_cut_off_are_removed(published: Path) -> None:
    leftover = published.parent / f".{published.name}.staging" / "other" / "1"
    leftover.mkdir(parents=True)
    (leftover / "model.onnx").write_text("half a mod")
    publish(published, [scorer_model()], SOURCE)
    assert not leftover.parents[1].exists()


def test_a_release_of_new_models_is_staged_where_no_server_looks(
    published_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder without a configuration keeps tritonserver from starting; a publish takes minutes, or is killed."""
    live = Path(shutil.copytree(published_once, tmp_path / "live"))
    before, seen = {*live.rglob("*")}, []

    def look(*arguments: Any) -> None:
        seen.append({*live.rglob("*")} == before)
        write_version(*arguments)

    monkeypatch.setattr(repository, "write_version", look)
    publish(live, under_name([profile_model()], "other"), SOURCE)
    assert seen == [True]
    assert versions(live / "other") == [1]
    assert (live / "other" / "config.pbtxt").is_file()


def test_what_stands_where_a_release_is_staged_is_named(published: Path) -> None:
    place = published.parent / f".{published.name}.staging"
    place.symlink_to(published)
    before = tree(published)
    with pytest.raises(
        ValueError, match=r"\.staging, where a release is staged, cannot be made: File exists; remove it"
    ):
        publish(published, [scorer_model()], SOURCE)
    assert tree(published) == before


def test_second_publisher_is_turned_away(published: Path) -> None:
    lock = os.open(published, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        with pytest.raises(ValueError, match="another publish is under way"):
            publish(published, [scorer_model()], SOURCE)
    finally:
        os.close(lock)


def test_ensemble_needs_its_steps(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"model 'ranker' asks \['user_state', 'scorer'\], which are neither"):
        publish(tmp_path, [release()[-1]], SOURCE)


def test_ensemble_may_be_published_after_its_steps(published: Path) -> None:
    shutil.rmtree(published / "ranker")
    assert publish(published, [release()[-1]], SOURCE) == 1


def test_user_state_needs_its_encoder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"model 'user_state' asks \['encoder'\], which are neither"):
        publish(tmp_path, [release()[2]], SOURCE)


def test_a_step_that_nothing_opens_is_refused(tmp_path: Path) -> None:
    step = replace(release()[2], kind="oracle", asks={})
    with pytest.raises(
        ValueError, match=r"nothing opens a step of kind 'oracle'; those are \['ann', 'path_sampler', 'user"
    ):
        publish(tmp_path, [step], SOURCE)
    assert list(tmp_path.iterdir()) == []


def test_same_name_twice_is_no_release(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="different names"):
        publish(tmp_path, [scorer_model(), scorer_model()], SOURCE)


def test_configs_are_written_only_where_they_differ(tmp_path: Path) -> None:
    assert len(write_configs(tmp_path, release())) == 8
    assert write_configs(tmp_path, release()) == []
    path = tmp_path / "scorer" / "configs" / "cpu.pbtxt"
    config = read_config(path)
    config.dynamic_batching.max_queue_delay_microseconds = 7
    path.write_text(render(config))
    assert write_configs(tmp_path, release()) == [path]


def test_progress_is_reported(tmp_path: Path) -> None:
    lines: list[str] = []
    publish(tmp_path, [profile_model()], SOURCE, report=lines.append)
    bound = "profile: axis 'length' starts at 1, as forward cannot answer less: less is refused"
    assert lines == [bound, "profile: staging version 1", "published version 1 of profile"]


@pytest.mark.triton_server
@pytest.mark.slow
def test_server_answers_every_golden_and_ignores_what_a_cut_off_publish_left(published: Path) -> None:
    for name in ("scorer", "user_state", "ranker"):
        (published / name / ".2.abcdef").mkdir()
    with TritonServer(published) as server, server.client() as client:
        for name in MODELS:
            assert list(client.metadata(name).versions) == ["1"]
            for request in golden.read(published / name / "1" / "golden.safetensors"):
                assert golden.compare(request.outputs, client.infer(name, request.inputs), 1e-5).ok
