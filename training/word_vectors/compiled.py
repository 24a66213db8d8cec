"""Functions that numba compiles where it is installed (the extra `fast`)."""

import functools
import hashlib
import pathlib
import types
from collections.abc import Callable, Iterable

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
    options = {"cache": True} | options
    return numba.njit(nogil=True, error_model="numpy", **options)(function)


# For functions that compiled ones of other files call: what is kept of these would not
# be noticed to be old; see `sources`.
inner = jit(cache=False)
inlined = jit(cache=False, inline="always")


def sources(modules: Iterable[types.ModuleType]) -> str:
    """Returns what tells the code of modules from any other."""
    texts = [pathlib.Path(module.__file__).read_bytes() for module in modules]
    return hashlib.sha256(b"".join(texts)).hexdigest()
