"""Fixtures, markers and options shared by all tests; what their time goes into."""

import gc
import os
import pathlib
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
SHARED_DATA = pathlib.Path(os.environ.get("SHARED_DATA", ROOT.parent / "shared/data"))


def pytest_configure(config):
    """Prepares TensorFlow, except in a process that only hands tests to others."""
    config.started = time.monotonic()
    if getattr(config.option, "numprocesses", None):
        return
    # A tiny model's operation is done before a second thread has begun with it.
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
    import tensorflow as tf

    # Two devices on every machine, for the tests of distribution; before TensorFlow
    # starts.
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0],
        [tf.config.LogicalDeviceConfiguration()] * 2,
    )


def pytest_collection_modifyitems(items):
    """Skips `shared_data` tests, with the reason, where the folder is absent."""
    if SHARED_DATA.is_dir():
        return
    skip = pytest.mark.skip(reason=f"no development data at {SHARED_DATA}")
    for item in items:
        if "shared_data" in item.keywords:
            item.add_marker(skip)


def pytest_collection_finish():
    """Takes what was loaded out of the garbage collector's way.

    To trace a function makes so many objects that it would walk through all of
    TensorFlow's again and again: a tenth of the tests' time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Leaves compilers out, but of tests of them and of slow ones."""
    import compiling

    compiled = any(item.get_closest_marker(x) for x in ("compiled", "slow"))
    compiling.use(compiled, compiled or bool(item.get_closest_marker("whole_steps")))


@pytest.fixture(scope="session")
def shared_dir() -> pathlib.Path:
    """The folder of real data sets; its sibling `golden` holds reference outputs."""
    return SHARED_DATA


@pytest.fixture(scope="session")
def golden_dir() -> pathlib.Path:
    """The folder of the original implementations' outputs."""
    return SHARED_DATA.parent / "golden"
