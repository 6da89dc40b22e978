"""Paths of MATT-CTR: which fields of an instance each path keeps, and the counts that confidences come from."""

from kernels.path_sampling.instances import Aggregation, Paths, draw, instance_keys, path_confidence, shares
from kernels.path_sampling.op import path_sampling, path_selection, sketch_lookup
from kernels.path_sampling.reference import PathMasks, Plan, anchor_mask, pack, path_words, quantise, unpack
from kernels.path_sampling.sketch import Layout, combination_keys, count

__all__ = [
    "Aggregation",
    "Layout",
    "PathMasks",
    "Paths",
    "Plan",
    "anchor_mask",
    "combination_keys",
    "count",
    "draw",
    "instance_keys",
    "pack",
    "path_confidence",
    "path_sampling",
    "path_selection",
    "path_words",
    "quantise",
    "shares",
    "sketch_lookup",
    "unpack",
]
