"""Which model may become the next version of a published one, and releases under another name."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from export.artifacts import Source
from export.kinds import kernel_forms
from export.model_config import read_config, render
from export.renaming import refuse_taken_parts, renamed, under_name
from export.repository import publish
from serving import golden
from serving.identity import Identity
from serving.server import ServerOptions, TritonServer
from serving.state.builder import latest
from serving.state.store import StateStore
from tests.conftest import lrea
from tests.export.hot_models import hot_release
from tests.export.models import profile_model, release
from tests.export.test_repository import tree
from tests.serving.state_models import state_folder
from training import schema as schema_file
from training.schema import Field, Schema
from training.servable import KernelServable, Origin, Signature

SHOP = Schema(dataset="shop", fields=(Field(name="item_id", role="item", kind="id", uses=("key",), cardinality=50),))
ORIGIN = Origin(system="dea", task="click", schema=SHOP)
RUN, OTHER = Source(kind="run", name="runs/dea/1"), Source(kind="run", name="runs/dea/2")


def model(origin: Origin = ORIGIN) -> Signature:
    return replace(profile_model(), origin=origin)


def of(schema: Schema) -> Origin:
    return replace(ORIGIN, schema=schema)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with one model of the data set shop; not to be changed."""
    models = tmp_path_factory.mktemp("shop") / "models"
    publish(models, [model()], RUN)
    return models


@pytest.fixture
def shop(published: Path, tmp_path: Path) -> Path:
    """A copy of that repository."""
    return Path(shutil.copytree(published, tmp_path / "models"))


@pytest.mark.parametrize("file", ["config.pbtxt", "configs/cpu.pbtxt"])
def test_both_configurations_say_what_the_model_was_made_of(shop: Path, file: str) -> None:
    said = Identity.of(read_config(shop / "profile" / file))
    assert said == ("dea", "click", "shop", schema_file.digest(SHOP), None)


def test_a_run_of_the_same_data_set_is_the_next_version(shop: Path) -> None:
    assert publish(shop, [model()], OTHER) == 2


@pytest.mark.parametrize(
    ("origin", "said"),
    [
        (of(replace(SHOP, dataset="mall")), "offered is system dea, dataset mall, schema digest [0-9a-f]{16} by"),
        (of(replace(SHOP, fields=(replace(SHOP.fields[0], cardinality=51),))), "they differ in schema digest"),
        (of(replace(SHOP, fields=(replace(SHOP.fields[0], values=("a",) * 50),))), "they differ in schema digest"),
        (replace(ORIGIN, system="lrea"), "they differ in system"),
        (Origin(), r"offered is no data set by runs/dea/2; they differ in system, task, dataset, schema digest"),
    ],
)
def test_a_model_of_another_origin_is_refused_with_both_named(shop: Path, origin: Origin, said: str) -> None:
    before = tree(shop)
    with pytest.raises(ValueError, match=said) as caught:
        publish(shop, [model(origin)], OTHER)
    text = str(caught.value)
    assert "served is system dea, dataset shop, schema digest" in text
    assert "by runs/dea/1 (version 1)" in text
    assert "by runs/dea/2" in text
    assert "recserve export ... --name NAME" in text
    assert tree(shop) == before


def test_wider_lists_and_vectors_are_no_other_data_set(shop: Path) -> None:
    fields = (*SHOP.fields, Field(name="tags", role="item", kind="multi", cardinality=50, width=16))
    long = (*SHOP.fields, Field(name="tags", role="item", kind="multi", cardinality=50, width=256))
    assert schema_file.digest(replace(SHOP, fields=fields)) == schema_file.digest(replace(SHOP, fields=long))
    assert schema_file.digest(replace(SHOP, fields=fields)) != schema_file.digest(SHOP)


def test_a_schema_that_was_written_and_read_has_the_same_digest() -> None:
    named = replace(SHOP, fields=(replace(SHOP.fields[0], values=("unknown", "é", "b")),))
    assert schema_file.digest(schema_file.from_json(schema_file.to_json(named))) == schema_file.digest(named)


def without_identity(repository: Path) -> None:
    """As an earlier release wrote its configurations: the data set stands in the version's files alone."""
    for file in ("config.pbtxt", "configs/cpu.pbtxt"):
        config = read_config(repository / "profile" / file)
        for name in {*Identity._fields} & {*config.parameters}:
            del config.parameters[name]
        (repository / "profile" / file).write_text(render(config))


def test_an_earlier_release_goes_on_with_its_own_data_set_alone(shop: Path) -> None:
    without_identity(shop)
    with pytest.raises(ValueError, match=r"served is dataset shop, .* offered is system dea, dataset mall"):
        publish(shop, [model(of(replace(SHOP, dataset="mall")))], OTHER)
    assert publish(shop, [model()], OTHER) == 2
    assert Identity.of(read_config(shop / "profile" / "config.pbtxt")).dataset == "shop"


def test_models_of_ones_own_need_no_data_set(tmp_path: Path) -> None:
    for version in (1, 2):
        assert publish(tmp_path, [profile_model()], Source(kind="factory", name="my:model")) == version
    assert Identity.of(read_config(tmp_path / "profile" / "config.pbtxt")) == Identity()


def test_a_release_under_another_name_refers_to_itself_alone() -> None:
    names = {name for one in lrea() for name in (one.name, one.name.removeprefix("lrea_"))}
    signatures = under_name(lrea(), "shop")
    assert [one.name for one in signatures] == ["shop_encoder", "shop_scorer", "shop_state", "shop"]
    _, _, state, whole = signatures
    assert state.needs == ("shop_encoder",)
    assert [step.model for step in whole.steps] == ["shop_state", "shop_scorer"]
    assert not names & {one.name for one in signatures}
    forms = kernel_forms(under_name(hot_release(), "shop"))
    assert forms
    assert all(isinstance(form, KernelServable) and form.form_of.startswith("shop") for form in forms)
    assert all(form.name == f"{form.form_of}_kernel" for form in forms)
    (moved,) = renamed(forms[:1], {forms[0].form_of: "elsewhere"})
    assert isinstance(moved, KernelServable)
    assert moved.form_of == "elsewhere"


def test_the_models_of_a_factory_keep_their_names_behind_the_new_one() -> None:
    assert [one.name for one in under_name(release(), "mine")] == [
        "mine_encoder",
        "mine_scorer",
        "mine_user_state",
        "mine",
    ]


def test_a_name_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="model name 'my shop': use letters, digits"):
        publish(tmp_path, under_name([model()], "my shop"), RUN)


def test_a_name_whose_parts_belong_to_another_release_is_refused(repository: Path, broken: Path) -> None:
    shutil.rmtree(broken / "lrea")
    parts = "lrea_encoder, lrea_scorer, lrea_state"
    with pytest.raises(ValueError, match=f"--name lrea: {parts} of .* belong to another release"):
        refuse_taken_parts(broken, under_name(lrea(), "lrea"))
    refuse_taken_parts(broken, under_name(lrea(), "shop"))
    refuse_taken_parts(repository, lrea())


@pytest.fixture
def two(repository: Path, tmp_path: Path) -> Iterator[TritonServer]:
    """Two releases of LREA with other weights and the same users, served side by side."""
    both = Path(shutil.copytree(repository, tmp_path / "both"))
    publish(both, under_name(lrea(7), "shop"), OTHER)
    with TritonServer(both, ServerOptions(state=tmp_path / "state", log=tmp_path / "log")) as server:
        yield server


@pytest.mark.slow(45)
@pytest.mark.triton_server
def test_two_releases_side_by_side_share_neither_states_nor_answers(two: TritonServer) -> None:
    scores = {}
    with two.client() as client:
        for name in ("lrea", "shop", "lrea", "shop"):
            for one in golden.read(two.repository / name / "1" / "golden.safetensors"):
                answer = client.infer(name, one.inputs, deadline_s=30.0)
                assert golden.compare(one.outputs, answer, 1e-5).ok
            scores[name] = client.infer(name, {"user_id": np.array([[1]]), "candidates": np.array([[1, 2, 3]])})
    assert np.abs(scores["lrea"]["scores"] - scores["shop"]["scores"]).max() > 1e-4
    with StateStore(state_folder(two), readonly=True) as store:
        found = {model: set(store.users(model, stamp)) for model, stamp in store.stat().entries}
    assert found.keys() == {"lrea_state", "shop_state"}
    assert found["lrea_state"] & found["shop_state"]
    assert all(0 < user < 2**40 for users in found.values() for user in users), "no invented user is stored"
    with pytest.raises(ValueError, match=r"2 models with user states \(lrea_state, shop_state\): name one with --m"):
        latest(two.repository)
