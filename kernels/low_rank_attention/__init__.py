"""Attention of packed candidates to their users' prestored low-rank histories."""

from kernels.low_rank_attention.op import absorbed_attention, low_rank_attention

__all__ = ["absorbed_attention", "low_rank_attention"]
