"""Functions that numba compiles where it is installed (the extra `fast`)."""

import functools
from collections.abc import Callable

from errors import MissingExtra

try:
    import numba
except ImportError:
    numba = None


def is_possible() -> bool:
    """Whether numba is installed."""
    return numba is not None


def require(flag: str) -> None:
    """Refuses what needs numba where it is not installed.

    Raises:
      MissingExtra: names the flag.
    """
    if numba is None:
        raise MissingExtra(
            f'{flag} needs the package numba: pip install "word2bert[fast]"'
        )


def jit(function: Callable | None = None, **options) -> Callable:
    """Compiles a function when it is first called, or leaves it to Python.

    Args:
      function: of arrays and numbers; others may run while it does.
      **options: of numba.njit.
    """
    if function is None:
        return functools.partial(jit, **options)
    if numba is None:
        return function
    return numba.njit(nogil=True, cache=True, error_model="numpy", **options)(function)
