"""Models as a script has trained them, asked from Python: no export is needed."""

import bisect
from collections.abc import Callable, Mapping, Sequence

import keras
import numpy as np

import checkpoints
import modeling
from inference import export, foreign_tasks
from inference.serving import (
    BATCH_SIZE,
    TaskReader,
    by_length,
    read_task,
    read_task_class,
)
from modeling.layers import base, graphs
from tasks.classification import ClassificationTask
from tasks.encoder import EncoderTask
from tasks.multitask import MultitaskTask
from tasks.span import SpanTask
from tasks.tagging import TaggingTask

# Kind of task -> what its model does with texts.
VERBS = {
    ClassificationTask: "classify",
    MultitaskTask: "classify",
    TaggingTask: "tag",
    SpanTask: "answer",
}


class TrainedModel:
    """What a trained model tells of texts: labels, tags or answers.

    Attributes:
      task: what it was trained on.
      verb: what it does with texts: classify, tag or answer.
      buckets: lengths, ascending, to which batches are padded.
      variables: the model's, by their released names.
    """

    def __init__(self, task: EncoderTask, model: keras.layers.Layer):
        """Takes a task, and its trained model."""
        self.task, self.verb, self.buckets = task, VERBS[type(task)], task.buckets
        self.variables = modeling.named_variables(model)
        self._reader = TaskReader(task, getattr(task.config, "labels", ()))
        function, self._names = export.outputs_function(task, model)
        function = graphs.asks_only(function)
        self._function = graphs.step(function, reduce_retracing=True)

    def asking(self, text: str) -> object:
        """Returns what `predict` takes, with that text in it, to try the model with."""
        if self.verb == "tag":
            return text.split()
        if self.verb == "answer":
            return ["a", text]
        together = self._reader.together
        return [text] * together if together > 1 else text

    def read(
        self, texts: Sequence
    ) -> tuple[list[bytes], np.ndarray, Callable[[Sequence[dict]], dict]]:
        """Turns texts into records.

        Args:
          texts: as of `predict`.

        Returns:
          The records, int [N], the tokens of each, and what makes the answers of the
          outputs for each.

        Raises:
          UserError: see TaskReader.read.
        """
        records, join = self._reader.read(texts)
        lengths = self._reader.lengths(records) if records else np.zeros(0, np.int32)
        return records, lengths, join

    def padded(self, length: int) -> int:
        """Returns the length to which a record is padded."""
        return self.buckets[bisect.bisect_left(self.buckets, length)]

    def run(self, records: Sequence[bytes], length: int) -> list[dict]:
        """Computes the outputs for a batch of records, padded to one of `buckets`."""
        return self._reader.run(self._function, self._names, records, length)

    def predict(
        self, texts: Sequence, batch_size: int = BATCH_SIZE
    ) -> Mapping[str, np.ndarray | list]:
        """Classifies, tags or answers.

        Args:
          texts: see PythonPredictor.predict.
          batch_size: texts of about one length that are computed together.

        Returns:
          As PythonPredictor.predict.

        Raises:
          UserError: see TaskReader.read.
        """
        records, lengths, join = self.read(texts)

        def run(batch, longest):
            return self.run(batch, self.padded(longest))

        return join(by_length(records, lengths, batch_size, run))


def find_task(
    checkpoint: checkpoints.Checkpoint, folder: str
) -> type[EncoderTask] | None:
    """Returns the class of the task that a model was trained on; None for no task.

    Args:
      checkpoint: its weights.
      folder: has its task.json; others' files tell the task of their head.
    """
    return read_task_class(folder) or foreign_tasks.task_class(checkpoint)


def load_task(
    checkpoint: checkpoints.Checkpoint,
    folder: str,
    *,
    language: str | None = None,
    do_lower_case: bool | None = None,
    dtype: str = "float32",
    shared: Mapping[str, keras.Variable] | None = None,
) -> tuple[EncoderTask, keras.layers.Layer]:
    """Makes the task of a trained model, and the model with its weights.

    Args:
      checkpoint: its weights; of a task, see `find_task`.
      folder: may have its task.json.
      language: see read_task.
      do_lower_case: where the folder does not tell it.
      dtype: a Keras dtype policy.
      shared: variables that have been filled from this checkpoint; see base.sharing.

    Raises:
      UserError: the folder is not as a script that fine-tunes has left it.
    """
    if read_task_class(folder):
        task = read_task(folder, checkpoint.config, checkpoint.vocab_file, language)
        with base.sharing(shared or {}):
            model = export.trained_model(task, checkpoint, dtype=dtype, fused=True)
        return task, model
    told = {"language": language, "do_lower_case": do_lower_case}
    task = foreign_tasks.make_task(checkpoint, **told)
    with base.sharing(shared or {}):
        model = task.build_model(dtype=dtype, fused=True, seed=0)
    task.initialize(modeling.named_variables(model))
    return task, model
