"""Where threads of compiled functions wait for each other, without Python.

Through Python each wait would cost up to a tenth of a millisecond.
"""

import numpy as np
from numba.core import types
from numba.extending import intrinsic

from training.word_vectors import compiled

# How often a thread looks before it lets others run, and then before it sleeps: waits
# are short unless there are fewer cores than threads.
_LOOKS, _YIELDS = 1 << 20, 1 << 8
_SLEEP = np.uint32(50)  # microseconds
_ALL = 1 << 62

_sched_yield = types.ExternalFunction("sched_yield", types.int32())
_usleep = types.ExternalFunction("usleep", types.int32(types.uint32))


def counter() -> np.ndarray:
    """Returns what counts the arrivals of all threads, int64 [1]."""
    return np.zeros(1, np.int64)


def leave(met: np.ndarray) -> None:
    """Lets all others go on without a thread that has failed."""
    met[0] = _ALL


@compiled.inner
def meet(met, number):
    """Waits for other threads.

    Args:
      met: of `counter`.
      number: how many arrivals are waited for, this one and all before counted.
    """
    _arrive(met)
    looks = 0
    while _arrivals(met) < number:
        looks += 1
        if looks > _LOOKS + _YIELDS:
            _usleep(_SLEEP)
        elif looks > _LOOKS:
            _sched_yield()


@intrinsic
def _arrive(typing, met):
    """Adds 1, as one operation."""

    def generate(context, builder, signature, values):
        pointer = _pointer(context, builder, signature, values)
        one = context.get_constant(types.int64, 1)
        return builder.atomic_rmw("add", pointer, one, "seq_cst")

    return types.int64(met), generate


@intrinsic
def _arrivals(typing, met):
    """Reads what other threads have counted, and sees all that they wrote before."""

    def generate(context, builder, signature, values):
        pointer = _pointer(context, builder, signature, values)
        return builder.load_atomic(pointer, "seq_cst", 8)

    return types.int64(met), generate


def _pointer(context, builder, signature, values):
    return context.make_array(signature.args[0])(context, builder, values[0]).data
