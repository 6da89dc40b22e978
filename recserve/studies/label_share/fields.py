"""How well DGenCTR generates each field, against how often training has its values; as tables for docs/results.md."""

from collections.abc import Mapping

from loadtest.published import table
from recserve import results
from recserve.studies.label_share.points import DATASETS
from training.systems.dgenctr import SYSTEM, GeneratorConfig

_PREFIX, _PRETRAINED = "nats_", " after generate"
_WAYS = {
    "label and fields (DGenCTR)": GeneratorConfig(),
    "fixed masks, no label (MFP)": GeneratorConfig(pretraining="fixed"),
}
_STAGES = {"after pre-training": _PRETRAINED, "after fine-tuning": ""}


def markdown() -> str:
    """GitHub tables, one for each data set: nats by which a value is likelier given the other fields than by its
    frequency, mean and standard deviation over seeds."""
    found = {
        dataset: {
            way: result
            for way, config in _WAYS.items()
            if (result := results.read(SYSTEM.task.name, dataset, results.named(SYSTEM.name, SYSTEM.variant(config))))
        }
        for dataset in DATASETS
    }
    return "\n\n".join(_table(dataset, by_way) for dataset, by_way in found.items() if by_way)


def gains(result: results.Result, stage: str) -> dict[str, dict[str, float]]:
    """Field -> mean and std of its nats after a stage, by the ending of the metric."""
    whole = {name.removesuffix(_PRETRAINED): name for name in result.test if name.endswith(_PRETRAINED)}
    names = [name for name in whole if name.startswith(_PREFIX)]
    return {name.removeprefix(_PREFIX): result.test[whole[name] if stage else name] for name in names}


def _table(dataset: str, by_way: Mapping[str, results.Result]) -> str:
    rows = {f"{way}, {said}": gains(result, stage) for way, result in by_way.items() for said, stage in _STAGES.items()}
    fields = list(next(iter(rows.values())))
    cells = [[way, *(f"{of[one]['mean']:+.2f} ± {of[one]['std']:.2f}" for one in fields)] for way, of in rows.items()]
    return "\n".join(table([f"{dataset}, nats below frequency", *fields], cells))
