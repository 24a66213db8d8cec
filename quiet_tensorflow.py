"""TensorFlow loaded quietly: imported before it, and loads nothing of it itself."""

import contextlib
import functools
import importlib.abc
import importlib.util
import os
import sys
import tempfile
from collections.abc import Iterator


class _QuietTensorFlow(importlib.abc.MetaPathFinder):
    """Loads TensorFlow without the dozen lines that its libraries greet with.

    They are written before any setting counts. Where loading fails, they are shown.
    """

    def find_spec(self, name, path, target=None):
        """Finds tensorflow as the next finder does, and wraps its loader."""
        if name != "tensorflow":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            spec.loader.exec_module = functools.partial(
                self._load, spec.loader.exec_module
            )
        return spec

    def _load(self, load, module):
        with _hidden_stderr():
            load(module)
        module.get_logger().setLevel("ERROR")  # of what it writes in Python


@contextlib.contextmanager
def _hidden_stderr() -> Iterator[None]:
    """Holds back what is written to file 2, and shows it where an error is raised."""
    kept = os.dup(2)
    with tempfile.TemporaryFile() as hidden:
        os.dup2(hidden.fileno(), 2)
        try:
            yield
        except BaseException:
            hidden.seek(0)
            os.write(kept, hidden.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


# What a user sets stays. Errors of the libraries reach us as exceptions; the lines that
# they write at that level are of GPUs that are not there.
_LEVEL = "TF_CPP_MIN_LOG_LEVEL"
if os.environ.setdefault(_LEVEL, "3") == "3" and sys.stderr is not None:
    sys.meta_path.insert(0, _QuietTensorFlow())
