import sys
from pathlib import Path

import pytest

from export.factory import load_factory
from export.lint import check
from export.repository import Source, publish

TWO_TOWERS = """
import torch
from torch import Tensor, nn
from training.servable import Servable, TensorSpec, servable

class TwoTowers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.users, self.items = nn.Embedding(1000, 16), nn.Embedding(5000, 16)

    def forward(self, user: Tensor, items: Tensor) -> Tensor:
        return (self.users(user.clamp(0, 999)) * self.items(items.clamp(0, 4999))).sum(-1)

def example(batch_size: int, seed: int) -> tuple[Tensor, ...]:
    random = torch.Generator().manual_seed(seed)
    return tuple(torch.randint(0, 1000, (batch_size, width), generator=random) for width in (1, 20))

def two_towers() -> Servable:
    module = TwoTowers()  # load your own weights here
    return servable(
        name="two_towers", module=module, example=example,
        inputs=[
            TensorSpec(name="user", dtype="int64", shape=(1,)),
            TensorSpec(name="items", dtype="int64", shape=("items",)),
        ],
        outputs=[TensorSpec(name="scores", dtype="float32", shape=("items",))],
    )
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory that nobody has imported from."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return tmp_path


def test_model_of_a_stranger_is_exported_published_and_clean(here: Path) -> None:
    (here / "stranger_towers.py").write_text(TWO_TOWERS)
    signatures = load_factory("stranger_towers:two_towers")
    source = Source(kind="factory", name="stranger_towers:two_towers")
    assert publish(here / "repository", signatures, source) == 1
    assert check(here / "repository", cores=2) == []


def test_several_models_come_in_their_order(here: Path) -> None:
    (here / "stranger_release.py").write_text("from tests.export.models import release\n")
    names = [signature.name for signature in load_factory("stranger_release:release")]
    assert names == ["encoder", "scorer", "user_state", "ranker"]


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("stranger_mistakes", "is not a factory; write package.module:function"),
        (":two_towers", "is not a factory; write package.module:function"),
        ("no_such_package.model:factory", "no module 'no_such_package.model' in .*; run from its folder"),
        ("stranger_mistakes:missing", "names nothing; it must name a function"),
        ("stranger_mistakes:number", "names an object of type int; it must name a function"),
        ("stranger_mistakes:text", r"returned str; return a Servable or a list of them"),
        ("stranger_mistakes:mixed", r"returned list; return a Servable or a list of them"),
        ("stranger_mistakes:empty", r"returned list; return a Servable or a list of them"),
        (
            "stranger_mistakes:raising",
            r"raising\(\) raised KeyError: 'weights' \(.*stranger_mistakes\.py:5, in raising\)",
        ),
        (
            "stranger_fault:servables",
            r"importing 'stranger_fault' raised ZeroDivisionError: .*stranger_fault\.py:1, in",
        ),
        ("stranger_syntax:servables", r"importing 'stranger_syntax' raised SyntaxError: .*stranger_syntax\.py, line 1"),
    ],
)
def test_wrong_factory_is_refused_in_one_line(here: Path, reference: str, message: str) -> None:
    (here / "stranger_mistakes.py").write_text(
        "number = 3\ndef text(): return 'x'\ndef mixed(): return [1]\ndef empty(): return []\n"
        "def raising(): return {}['weights']\n"
    )
    (here / "stranger_fault.py").write_text("number = 1 / 0\n")
    (here / "stranger_syntax.py").write_text("def (:\n")
    with pytest.raises(ValueError, match=message) as caught:
        load_factory(reference)
    assert "\n" not in str(caught.value)


def test_import_that_fails_inside_the_file_keeps_its_own_message(here: Path) -> None:
    (here / "stranger_import.py").write_text("import no_such_library\n")
    with pytest.raises(ModuleNotFoundError, match="no_such_library"):
        load_factory("stranger_import:factory")
