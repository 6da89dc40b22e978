"""Combo-ID attention of DEA: see README.md."""

from kernels.combo_id_attention.op import combo_id_attention
from kernels.combo_id_attention.reference import (
    Codebooks,
    Fields,
    Fusion,
    absorb,
    coded_ids,
    coded_salt,
    field_salt,
    mix,
)

__all__ = [
    "Codebooks",
    "Fields",
    "Fusion",
    "absorb",
    "coded_ids",
    "coded_salt",
    "combo_id_attention",
    "field_salt",
    "mix",
]
