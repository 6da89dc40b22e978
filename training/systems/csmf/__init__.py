"""CSMF"""
from training.system import System, Predict
from training.systems.csmf.config import Config, variant
from training.systems.csmf.evaluation import evaluate
from training.systems.csmf.model import CSMF
from training.systems.csmf.stages import stages
from training.tasks.retrieval import RETRIEVAL

SYSTEM = System(
    name="csmf",
    title="CSMF: cascaded selective mask fine-tuning",
    paper="https://arxiv.org/abs/2504.12920",
    provenance="states: x",
    task=RETRIEVAL,
    config=Config,
    baseline="two_tower",
    build=CSMF,
    reads=frozenset({"users"}),
    stages_by_schema=stages,
    evaluate=evaluate,
    variant=variant,
)
