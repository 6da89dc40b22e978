"""Consistency pruning (CORP with CRSS selection): one step of beam search over semantic ids, exact in integers."""

from kernels.consistency_pruning.op import consistency_pruning
from kernels.consistency_pruning.selection import best_places, crss_candidates, crss_log_probs
from kernels.consistency_pruning.state import (
    SHARE_UNIT,
    Beams,
    Candidates,
    Pruned,
    Rule,
    category_shares,
    initial_beams,
    required_match,
)

__all__ = [
    "SHARE_UNIT",
    "Beams",
    "Candidates",
    "Pruned",
    "Rule",
    "best_places",
    "category_shares",
    "consistency_pruning",
    "crss_candidates",
    "crss_log_probs",
    "initial_beams",
    "required_match",
]
