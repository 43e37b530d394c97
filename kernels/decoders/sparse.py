"""Sparse binary matrices as CUDA-Q QEC writes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cudaq_target.kernels.arguments import host_array
from cudaq_target.kernels.errors import KernelInputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def dense_rows(sparse: Sequence[int], n_columns: int) -> NDArray[np.uint8]:
    """Expand a sparse binary matrix: indices of the ones of each row, -1 ends a row.

    Args:
        sparse: Row-major column indices with -1 after each row.
        n_columns: Columns of the matrix.

    Returns:
        Zeros and ones, shape (n_rows, n_columns); an index that occurs twice in a row cancels.

    Raises:
        KernelInputError: An index lies outside the matrix, or the last row has no end.

    >>> dense_rows([0, -1, 0, 2, -1], 3).tolist()
    [[1, 0, 0], [1, 0, 1]]
    """
    indices = np.asarray(sparse, dtype=np.int64)
    if indices.size == 0 or indices[-1] != -1:
        raise KernelInputError(
            "sparse", "has a row without end", "a sparse matrix needs -1 after each row"
        )
    for wrong in (int(indices.min()), int(indices.max())):
        if not -1 <= wrong < n_columns:
            found = f"index {wrong} lies outside a matrix of {n_columns} columns"
            raise KernelInputError("sparse", found, f"name columns 0 to {n_columns - 1}")
    ends = indices == -1
    row_of = np.cumsum(ends) - ends
    rows = np.zeros((int(ends.sum()), n_columns), dtype=np.uint8)
    np.bitwise_xor.at(rows, (row_of[~ends], indices[~ends]), 1)
    return rows


def check_matrix(matrix: NDArray[np.generic], name: str) -> NDArray[np.uint8]:
    """Refuse what is not a matrix of zeros and ones with at least one row and column.

    Args:
        matrix: Integers or booleans, shape (n_rows, n_columns).
        name: Of the argument, for the message.

    Returns:
        The same as uint8.

    Raises:
        KernelInputError: See above.
    """
    found = host_array(matrix, name)
    if found.dtype != np.bool_ and not np.issubdtype(found.dtype, np.integer):
        raise KernelInputError(name, f"has dtype {found.dtype}", "give integers or booleans")
    if found.ndim != 2 or 0 in found.shape:
        expected = "give a matrix with at least one row and one column"
        raise KernelInputError(name, f"has shape {found.shape}", expected)
    wrong = np.argwhere((found != 0) & (found != 1))
    if len(wrong):
        row, column = (int(index) for index in wrong[0])
        what = f"holds {found[row, column]} in row {row}, column {column}"
        raise KernelInputError(name, what, "a binary matrix holds zeros and ones")
    return found.astype(np.uint8)
