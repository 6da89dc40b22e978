"""The spectrum of who met what: eigenvectors of the items' graph, the smoothest first.

With X who met what and D, E the events of users and items, Xn = D^-1/2 X E^-1/2, and the Laplacian of the items is
L = I - Xn^T Xn = V diag(lambda) V^T, 0 <= lambda <= 1. A frequency is an eigenvalue. That of the first eigenvector,
which is proportional to the square root of the items' events where the graph is connected, is 0.

Legend: U users, N items, K frequencies.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64
from scipy.sparse import csr_matrix, diags
from scipy.sparse.linalg import aslinearoperator, eigsh

_MOST_DENSE = 1_000
"""Items up to which all eigenvectors are computed at once."""


class Spectrum(NamedTuple):
    """The lowest frequencies, ascending, and their eigenvectors."""

    frequencies: Float64[np.ndarray, " K"]
    basis: Float64[np.ndarray, "N K"]


def spectrum(met: csr_matrix, size: int) -> Spectrum:
    """The `size` <= N lowest frequencies of who met what [U, N]. The sign of an eigenvector, which is arbitrary, makes
    its largest element positive."""
    of_users, of_items = (np.asarray(met.sum(axis=axis)).ravel() for axis in (1, 0))
    scaled = diags(_inverse_root(of_users)) @ met @ diags(_inverse_root(of_items))
    num_items = scaled.shape[1]
    if size == num_items or num_items <= _MOST_DENSE:
        shared, vectors = np.linalg.eigh((scaled.T @ scaled).toarray())
    else:
        once = aslinearoperator(scaled)
        shared, vectors = eigsh(once.T @ once, k=size, which="LA", v0=np.sqrt(of_items) + 1e-3)
    order = np.argsort(-shared)[:size]
    basis = vectors[:, order]
    signs = np.sign(np.take_along_axis(basis, np.abs(basis).argmax(axis=0)[None], axis=0))
    return Spectrum(np.clip(1 - shared[order], 0.0, 1.0), basis * signs)


def _inverse_root(degrees: np.ndarray) -> np.ndarray:
    """Of 0 it is that of 1: who met nothing, and what nobody met, has nothing that it would scale."""
    return 1 / np.sqrt(np.maximum(degrees, 1))
