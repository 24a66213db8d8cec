"""Fixtures and markers shared by all tests."""

import os
import pathlib

import pytest
import tensorflow as tf

# Two devices on every machine, for the tests of distribution; before TensorFlow starts.
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0],
    [tf.config.LogicalDeviceConfiguration()] * 2,
)

ROOT = pathlib.Path(__file__).resolve().parent.parent
SHARED_DATA = pathlib.Path(os.environ.get("SHARED_DATA", ROOT.parent / "shared/data"))


def pytest_collection_modifyitems(items):
    """Skips `shared_data` tests, with the reason, where the folder is absent."""
    if SHARED_DATA.is_dir():
        return
    skip = pytest.mark.skip(reason=f"no development data at {SHARED_DATA}")
    for item in items:
        if "shared_data" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(scope="session")
def shared_dir() -> pathlib.Path:
    """The folder of real data sets; its sibling `golden` holds reference outputs."""
    return SHARED_DATA


@pytest.fixture(scope="session")
def golden_dir() -> pathlib.Path:
    """The folder of the original implementations' outputs."""
    return SHARED_DATA.parent / "golden"
