"""Tasks of one's own: subclasses of DataProcessor in a Python file, as tutorials teach.

from data_pipeline.readers.examples import DataProcessor, InputExample

class SimProcessor(DataProcessor):  # --task_name=sim
def get_train_examples(self, data_dir):
rows = self._read_tsv(os.path.join(data_dir, "train.tsv"))
return [InputExample(f"train-{i}", *row) for i, row in enumerate(rows)]
...
"""

import importlib.util
import inspect
import os

from data_pipeline.readers.examples import DataProcessor
from errors import MissingFile, UserError

_SUFFIX = "processor"


def load(path: str) -> dict[str, type[DataProcessor]]:
    """Runs a Python file and returns the tasks that it defines.

    Args:
      path: of the file, on this machine.

    Returns:
      Name of the task, its class's in lower case without "Processor" -> the class.

    Raises:
      MissingFile: there is no such file.
      UserError: it is not Python, or defines no subclass of DataProcessor.
    """
    if not os.path.isfile(path):
        raise MissingFile(f"--task_module={path}: there is no such file")
    name = os.path.basename(path).removesuffix(".py")
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None:
        raise UserError(f"--task_module={path}: wanted a file that ends in .py")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        where = f"--task_module={path}, line {error.lineno}"
        raise UserError(f"{where}: {error.msg}") from error
    found = {
        name.lower().removesuffix(_SUFFIX): member
        for name, member in inspect.getmembers(module, inspect.isclass)
        if issubclass(member, DataProcessor) and member.__module__ == module.__name__
    }
    if not found:
        raise UserError(
            f"--task_module={path} defines no class that inherits "
            "data_pipeline.readers.examples.DataProcessor"
        )
    return found
