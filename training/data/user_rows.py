"""Who met what in the training part, as a matrix.

Legend: U users, N items; row and column 0 are those of the unknown ones and empty.
"""

import numpy as np
from scipy.sparse import csr_matrix

from training.data.retrieval import RetrievalData


def user_rows(data: RetrievalData) -> csr_matrix:
    """float64 [U + 1, N + 1]: 1 where the user met the item in the training part, however often."""
    shape = len(data.user_fields), len(data.train_item_counts)
    pairs = np.unique(np.stack([data.train.user, data.train.targets[:, 0]]), axis=1)
    return csr_matrix((np.ones(pairs.shape[1]), tuple(pairs)), shape=shape)
