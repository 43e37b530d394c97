"""Mean and variance in one pass, frame after frame, mergeable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from cudaq_target.kernels.arguments import check_integer
from cudaq_target.kernels.backends import Backend, implementation, is_on_device
from cudaq_target.kernels.errors import KernelInputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Reals = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class RunningMoments:
    """Moments of the columns of all values seen so far.

    Frames are reduced to mean and sum of squared deviations and merged by the pairwise updates of
    T. F. Chan, G. H. Golub and R. J. LeVeque, Am. Stat. 37, 242 (1983), which for frames
    of one row are B. P. Welford's (Technometrics 4, 419 (1962)). No value is kept, and no sum of
    squares cancels: for values with mean m and standard deviation s the relative error of the
    variance grows like ε |m| / s and not like ε (m / s)², with ε = 2^-53. What rounding takes from
    the mean is kept beside it and added to the next step (O. Møller, BIT 5, 37 (1965)), so that the
    error of the mean stays some ε |m| over any number of frames. Back ends agree to these errors,
    not bit for bit.

    Attributes:
        n: Rows seen.
        mean: Mean of each column, on the host, shape (n_columns,); zeros before the first row.
        squares: Sum of squared deviations from the mean, shape (n_columns,).
        rest: What rounding took from the mean, shape (n_columns,).
    """

    n: int
    mean: Reals
    squares: Reals
    rest: Reals

    @classmethod
    def empty(cls, n_columns: int) -> Self:
        """Moments of no rows.

        Raises:
            KernelInputError: `n_columns` is below 1.
        """
        check_integer(n_columns, "n_columns", at_least=1)
        return cls(0, *np.zeros((3, n_columns)))

    def add(self, values: Reals, *, backend: Backend = "auto") -> Self:
        """Take in a frame.

        Args:
            values: Finite float64, C-contiguous, shape (n_rows, n_columns), at least one row; on
                the host or on a GPU.
            backend: Where to compute.

        Returns:
            The moments with these rows.

        Raises:
            KernelInputError: Wrong dtype, shape or strides, no rows, or a value that is not finite.
            BackendUnavailableError: The back end does not run here.

        >>> moments = RunningMoments.empty(1).add(np.array([[1.0], [3.0]]))
        >>> moments.add(np.array([[5.0]])).variance().tolist()
        [4.0]
        """
        _check_values(values, len(self.mean))
        mean, squares = implementation("statistics", backend, values).column_moments(values)
        frame = type(self)(len(values), _on_host(mean), _on_host(squares), np.zeros(len(self.mean)))
        return self.merge(frame)

    def merge(self, other: RunningMoments) -> Self:
        """Join the moments of two sets of rows, for example of two servers.

        Args:
            other: Of as many columns.

        Returns:
            Moments of all rows; these stay as they are.

        Raises:
            KernelInputError: They have different numbers of columns.
        """
        if len(self.mean) != len(other.mean):
            found = f"has {len(other.mean)} columns"
            raise KernelInputError("other", found, f"expected {len(self.mean)}")
        n = self.n + other.n
        if n == 0:
            return self
        shift, share = (other.mean - self.mean) + (other.rest - self.rest), other.n / n
        squares = self.squares + other.squares + shift * shift * (share * self.n)
        step = self.rest + shift * share
        mean = self.mean + step
        back = mean - self.mean  # two-sum: mean + rest is exactly self.mean + step
        rest = (self.mean - (mean - back)) + (step - back)
        return type(self)(n, mean, squares, rest)

    def variance(self, *, n_fitted: int = 1) -> Reals:
        """Variance of each column, shape (n_columns,).

        Args:
            n_fitted: 1 for the unbiased estimate, 0 for the variance of the rows themselves.

        Raises:
            KernelInputError: There are not more rows than `n_fitted`.
        """
        if self.n <= n_fitted:
            found, expected = f"are {self.n} so far", f"this needs {n_fitted + 1} or more"
            raise KernelInputError("values", found, expected)
        return self.squares / (self.n - n_fitted)

    def standard_error(self) -> Reals:
        """Standard error of the mean of each column, shape (n_columns,).

        Raises:
            KernelInputError: There are fewer than two rows.
        """
        return np.sqrt(self.variance() / self.n)


def _check_values(values: Reals, n_columns: int) -> None:
    dtype = getattr(values, "dtype", None)
    if dtype != np.float64:
        found = f"is a {type(values).__name__}" if dtype is None else f"has dtype {dtype}"
        raise KernelInputError("values", found, "give an array of float64")
    if values.ndim != 2 or values.shape[1] != n_columns or len(values) == 0:
        expected = f"expected (n_rows, {n_columns}) with at least one row"
        raise KernelInputError("values", f"has shape {values.shape}", expected)
    if not values.flags.c_contiguous:
        expected = "pass numpy.ascontiguousarray(...) or cupy.ascontiguousarray(...) of it"
        raise KernelInputError("values", f"has strides {values.strides}", expected)
    if not bool(np.isfinite(values).all()):
        raise KernelInputError("values", "holds NaN or infinity", "all values must be finite")


def _on_host(values: Reals) -> Reals:
    if not is_on_device(values):
        return values
    import cupy  # noqa: PLC0415 - the array is one of its own

    result: Reals = cupy.asnumpy(values)
    return result
