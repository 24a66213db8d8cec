"""Tasks of models in others' files: what config.json tells of a head, and we add.

Hugging Face's folders of classifiers, taggers and readers have no task.json. Which
labels there are, and of which kind, stands in their config; the longest input is the
model's, and windows and answers of readers are run_squad.py's by default.
"""

import re

import checkpoints
import registry
from data_pipeline.readers.conll import PLAIN
from systems.classification_config import ClassificationConfig
from systems.system import CLASSIFIER, SPAN, TAGGER, System, open_system
from systems.task_config import TaskConfig
from tasks.classification import ClassificationTask
from tasks.encoder import EncoderTask
from tasks.span import SpanConfig, SpanTask
from tasks.tagging import TaggingConfig, TaggingTask

_TASKS = {
    CLASSIFIER: ClassificationTask,
    TAGGER: TaggingTask,
    SPAN: SpanTask,
}
_KINDS = {"tagging": TAGGER, "squad": SPAN}  # of Outputs; all others are classifiers'
_METRICS = {"regression": "pearson", "multi_label": "micro_f1"}
_LONGEST = 512  # pieces, where the model has no limit


def task_class(checkpoint: checkpoints.Checkpoint) -> type[EncoderTask] | None:
    """Returns the class of the task that a file's head is of; None without a head."""
    head = _head(checkpoint)
    return head and _TASKS[head]


def make_task(
    checkpoint: checkpoints.Checkpoint,
    *,
    language: str | None = None,
    do_lower_case: bool | None = None,
) -> EncoderTask:
    """Makes the task that a file's head is of.

    Args:
      checkpoint: has such a head, see `task_class`.
      language: of the texts; None: not told.
      do_lower_case: see systems.system.open_system.

    Raises:
      UserError: see open_system.
    """
    system, head = open_system(checkpoint, do_lower_case), _head(checkpoint)
    return _TASKS[head](_config(checkpoint, system, head, language), system)


def _head(checkpoint):
    """Returns which of the system's heads the tensors have; None for no such head.

    None as well of a multiple choice, of which no file says between how many endings.
    """
    if checkpoint.outputs is None or checkpoint.config is None:
        return None
    if checkpoint.outputs.kind == "multiple_choice":
        return None
    head = _KINDS.get(checkpoint.outputs.kind, CLASSIFIER)
    pattern = _system(checkpoint).heads.get(head)
    found = pattern and any(re.fullmatch(pattern, name) for name in checkpoint.shapes)
    return head if found else None


def _system(checkpoint):
    return registry.of_config(checkpoint.config).load("system")


def _labels(checkpoint, head):
    """Returns the labels in order; where none is named, as Hugging Face names them."""
    if checkpoint.outputs.kind == "regression":
        return ()
    pattern, shapes = _system(checkpoint).heads[head], checkpoint.shapes
    # Weights [labels, width], offsets [labels].
    number = next(shapes[name][0] for name in shapes if re.fullmatch(pattern, name))
    return checkpoint.outputs.labels or tuple(f"LABEL_{i}" for i in range(number))


def _config(
    checkpoint: checkpoints.Checkpoint, system: System, head: str, language: str | None
) -> TaskConfig:
    length = (system.max_length or (None, _LONGEST))[1]
    shared = {"max_seq_length": length, "do_lower_case": system.do_lower_case}
    if head == SPAN:
        shared["max_seq_length"] = length = min(length, SpanConfig.max_seq_length)
        windows = {"doc_stride": length // 3, "max_query_length": length // 6}
        told = language or SpanConfig.language
        return SpanConfig(**shared, **windows, language=told)
    shared["language"] = language
    kind, labels = checkpoint.outputs.kind, _labels(checkpoint, head)
    if head == TAGGER:
        schemes = {"tag_scheme": PLAIN, "output_scheme": PLAIN}
        return TaggingConfig(labels=labels, crf=False, **schemes, **shared)
    metric = _METRICS.get(kind, "accuracy")
    return ClassificationConfig(
        "custom", kind, labels, (metric,), metric, text_pair=None, **shared
    )
