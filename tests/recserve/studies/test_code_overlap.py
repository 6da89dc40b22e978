"""What is drawn of shared codes: attention counted pair by pair, and the tables that runs have learnt."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from recserve.runs import Plan
from recserve.studies.code_overlap.command import CodeOverlap
from recserve.studies.code_overlap.points import points
from tests.training.systems.bbqrec_models import SMALL, model, planted
from training.baselines import sasrec
from training.data import synthetic_sequences
from training.fit import FitOptions, fit
from training.system import System, Wanted
from training.systems.bbqrec import SYSTEM


def test_attention_is_a_mean_over_pairs_of_a_bucket_where_1_is_even() -> None:
    data = planted()
    module = model(data)
    found = {(one.block, one.head, one.bucket): one for one in points("mine", module, data)}
    assert len(found) == 2 * 2 * 4
    sums, pairs = {}, {}
    for row in range(len(data.validation)):
        items = data.validation.batch(torch.tensor([row]).numpy()).items
        (alike,) = module.similarity(items, items)
        with torch.no_grad():
            bent = module.attention(items)[1].bent[0, 0]
        for later in range(items.shape[1]):
            for earlier in range(later):
                bucket = int(alike[0, later, earlier])
                sums[bucket] = sums.get(bucket, 0.0) + float(bent[later, earlier]) * (later + 1)
                pairs[bucket] = pairs.get(bucket, 0) + 1
    for bucket, number in pairs.items():
        point = found[1, 0, bucket]
        assert point.pairs == number
        assert point.bent == pytest.approx(sums[bucket] / number, rel=1e-4)
        assert point.added == pytest.approx(float(module.table[1, 0, bucket, 0] - module.table[1, 0, 0, 0]), rel=1e-4)
        assert point.plain != pytest.approx(point.bent, rel=1e-3)
    assert [found[1, 0, bucket].bent for bucket in {0, 1, 2, 3} - {*pairs}] == [None] * (4 - len(pairs))


def trained(system: System, config: object, folder: Path) -> Path:
    plan = Plan(system, synthetic_sequences.NAME, config, 0)
    data = system.task.view(synthetic_sequences.synthetic_sequences(), Wanted(frozenset(), 12, dict(planted().given)))
    run = plan.folder(folder)
    fit(system, config, data, FitOptions(run=run, max_epochs=1, quiet=True))
    return run


def test_true_and_permuted_codes_of_finished_runs_lie_side_by_side(tmp_path: Path) -> None:

    runs = [trained(SYSTEM, replace(SMALL, codes=codes), tmp_path) for codes in ("true", "permuted")]
    output = tmp_path / "overlap.json"
    assert CodeOverlap(runs=tuple(runs), output=output).run() == 0
    drawn = json.loads(output.read_text())
    assert {one["codes"] for one in drawn["points"]} == {"bbqrec-rqvae", "bbqrec-rqvae-permuted"}
    assert drawn["run"] == [f"bbqrec/{run.name}" for run in runs]
    assert "block 1, head 2" in output.with_suffix(".svg").read_text()
    other = trained(sasrec.SYSTEM, sasrec.Config(max_length=12, dim=16), tmp_path)
    with pytest.raises(ValueError, match="is a run of 'sasrec'; give runs of bbqrec"):
        CodeOverlap(runs=(other,), output=output).run()
