"""Exports of inference/export.py, loaded and asked from Python.

BERT's tokenizer is in the SavedModel. GPT's rules cannot run in a graph: beside such a
model lie its vocabulary, its config and its task, and what asks it tokenizes. What
reads sentences of words is in word_serving.
"""

import dataclasses
import functools
import os
from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
import tensorflow as tf

import checkpoints
import json_files
from checkpoints import tensorflow_files
from data_pipeline.feature_spec import FeatureSpec
from data_pipeline.readers import conll, squad
from data_pipeline.readers.examples import InputExample, MultipleChoiceExample
from data_pipeline.squad import answers as squad_answers
from data_pipeline.squad import features as squad_features
from errors import UserError
from inference.word_serving import WORDS, WordPredictor, check_sentences
from systems.classification_config import ClassificationConfig
from systems.multitask_config import MultitaskConfig
from systems.system import make_system
from tasks.classification import ClassificationTask
from tasks.encoder import TASK_FILE, EncoderTask
from tasks.multitask import MultitaskTask
from tasks.span import SpanConfig, SpanTask
from tasks.tagging import TaggingConfig, TaggingTask

_TASKS = {
    SpanConfig.task_name: (SpanConfig, SpanTask),
    TaggingConfig.task_name: (TaggingConfig, TaggingTask),
    MultitaskConfig.task_name: (MultitaskConfig, MultitaskTask),
}
_OTHERS = ClassificationConfig, ClassificationTask  # of many names
TEXTS, TOKENS = "serving_default", "token_ids"  # the signatures
# Beside a SavedModel, TensorFlow's name for files that its graph does not read.
BESIDE = "assets.extra"
BATCH_SIZE = 32


def read_task_name(folder: str) -> str | None:
    """Returns the task that a folder's task.json names; None without one."""
    path = os.path.join(folder, TASK_FILE)
    if not tf.io.gfile.exists(path):
        return None
    return json_files.read_object(path).get("task_name")


def read_task_class(folder: str) -> type[EncoderTask] | None:
    """Returns the class of the task that a folder's task.json is of; None without."""
    name = read_task_name(folder)
    return name and _TASKS.get(name, _OTHERS)[1]


def read_task(
    folder: str,
    model_config: object,
    vocab_file: str | None,
    language: str | None = None,
) -> EncoderTask:
    """Makes the task that task.json describes, calibrated if its checkpoint is.

    Args:
      folder: has it.
      model_config: the architecture.
      vocab_file: the vocabulary; None where the architecture needs none.
      language: of the texts; None: what task.json says, if it does.

    Raises:
      UserError: there is no such file, or it is not of these tasks; or vocabulary and
        architecture do not belong together.
    """
    path = os.path.join(folder, TASK_FILE)
    config_class, task_class = _TASKS.get(read_task_name(folder), _OTHERS)
    config = config_class.from_json_file(path)
    if language is not None:
        config = dataclasses.replace(config, language=language)
    system = make_system(model_config, vocab_file, config.do_lower_case)
    task = task_class(config, system.match_vocabulary() if vocab_file else system)
    prefix = tensorflow_files.find_prefix(folder)
    if prefix:
        task.restored(prefix)
    return task


class Predictor:
    """A loaded export that reads texts.

    Attributes:
      labels: in the order of the probabilities; () where there are none.
      text_pair: whether it reads pairs of texts, such as (question, context).
    """

    def __init__(self, model: tf.Module):
        """Takes a loaded SavedModel."""
        # Held: the signatures do not keep their variables alive.
        self._model = model
        self._signature = self._model.signatures[TEXTS]
        _, inputs = self._signature.structured_input_signature
        known = ("text_a", "text_b", "question", "context")
        self._inputs = [name for name in known if name in inputs]
        self.text_pair = len(self._inputs) == 2
        self.labels = _labels(self._model)

    def predict(
        self,
        texts: Sequence[str] | Sequence[tuple[str, str]],
        batch_size: int = BATCH_SIZE,
    ) -> dict[str, np.ndarray]:
        """Labels texts, or pairs of texts; answers questions.

        Args:
          texts: N texts, or pairs where the model was trained on pairs.
          batch_size: texts of about one length that are computed together.

        Returns:
          The signature's answers, in the order of the texts: arrays [N, ...], names
          as str.

        Raises:
          UserError: no texts, or texts where pairs are wanted or the reverse.
        """
        if not len(texts):
            raise UserError("there are no texts to predict")
        columns = self._columns(texts)
        sizes = sum(np.array([len(text) for text in c]) for c in columns.values())
        order = np.argsort(sizes, kind="stable")
        batches = []
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            batch = {
                name: tf.constant([column[row] for row in rows])
                for name, column in columns.items()
            }
            batches.append(self._signature(**batch))
        back = np.argsort(order)
        return {name: values[back] for name, values in _joined(batches).items()}

    def _columns(self, texts):
        kind = (tuple, list) if self.text_pair else str
        for i, text in enumerate(texts):
            if not isinstance(text, kind) or (self.text_pair and len(text) != 2):
                wanted = "a pair of texts" if self.text_pair else "a text"
                raise UserError(f"text {i}: got {text!r}, but the model wants {wanted}")
        columns = zip(*texts, strict=True) if self.text_pair else [texts]
        return dict(zip(self._inputs, columns, strict=True))


class TaskReader:
    """Texts to a task's records, and what a model says of these to answers.

    Attributes:
      task: what the model was trained on.
      labels: in the order of the probabilities; () where there are none.
      text_pair: whether it reads pairs of texts, such as (question, context); None:
        both pairs and single texts.
    """

    def __init__(self, task: EncoderTask, labels: Sequence[str]):
        """Takes a task, and its labels."""
        self.task, self.labels = task, tuple(labels)
        config = task.config
        self._is_span = isinstance(task, SpanTask)
        self._is_several = isinstance(task, MultitaskTask)
        kind = getattr(config, "output_kind", None)  # of a classifier
        self._is_choice = kind == "multiple_choice"
        self.text_pair = self._is_span or getattr(config, "text_pair", False)
        self._takes_both = self._is_several or self.text_pair is None
        # Tasks that share an encoder share what it reads.
        self._laid_out = config.parts[0] if self._is_several else config
        needs = "classifies" if self._is_several else task.needs
        self._can = task.system.loaded_once().need(needs)
        self._spec = record_spec(task)
        # Operation by operation it takes as long as a small model.
        self._parse = tf.function(
            self._spec.parse,
            input_signature=[tf.TensorSpec([None], tf.string)],
            autograph=False,
        )

    @functools.cached_property
    def _squad_tokenizer(self):
        return self._can.tokenizer()

    @property
    def together(self) -> int:
        """How many texts make one that is read: 2 of a pair."""
        return 1 + (len(self.labels) if self._is_choice else bool(self.text_pair))

    def read(self, texts: Sequence) -> tuple[list[bytes], Callable[[list[dict]], dict]]:
        """Turns texts into records.

        Args:
          texts: as of PythonPredictor.predict.

        Returns:
          The records, and what makes the answers of the model's outputs for each.

        Raises:
          UserError: no texts, or not as many together as the model wants.
        """
        if isinstance(self.task, TaggingTask):
            return self._read_sentences(texts)
        if not len(texts):
            raise UserError("there are no texts to predict")
        for i, text in enumerate(texts):
            self._check(i, text)
        if self._is_span:
            return self._read_questions(texts)
        columns = self._can.columns(
            [self._example(str(i), text) for i, text in enumerate(texts)],
            self._laid_out,
        )

        def join(rows):
            return _joined(
                [{k: np.asarray(v)[None] for k, v in row.items()} for row in rows]
            )

        return list(columns.records(self._spec)), join

    def lengths(self, records: Sequence[bytes]) -> np.ndarray:
        """Returns the tokens of each record, int [N]."""
        return self._parse(tf.constant(records))[1].numpy()

    def run(
        self,
        function: Callable[..., Mapping[str, tf.Tensor]],
        names: Collection[str],
        records: Sequence[bytes],
        length: int,
    ) -> list[dict]:
        """Computes a model's outputs for records, as one batch.

        Args:
          function: the model.
          names: of the features that it reads.
          records: a batch.
          length: to pad to.
        """
        columns, sizes = self._parse(tf.constant(records))
        batch = self._spec.to_batch(columns, sizes, len(records), length)
        outputs = function(**{name: batch[name] for name in names})
        outputs = {name: value.numpy() for name, value in outputs.items()}
        return [
            {name: value[i] for name, value in outputs.items()}
            for i in range(len(records))
        ]

    def _check(self, i, text):
        number = self.together
        right, wanted = isinstance(text, str), "a text"
        if number > 1 or (self._takes_both and not right):
            number = max(number, 2)
            right = isinstance(text, tuple | list) and len(text) == number
            right = right and all(isinstance(part, str) for part in text)
            wanted = f"{number} texts together"
        if self._takes_both:
            wanted = f"a text, or {wanted}"
        if not right:
            raise UserError(f"text {i}: got {text!r}, but the model wants {wanted}")

    def _example(self, guid, text):
        if isinstance(text, str):
            return InputExample(guid, text)
        first, *others = text
        if self._is_choice:
            return MultipleChoiceExample(guid, first, endings=tuple(others))
        return InputExample(guid, first, *others)

    def _read_sentences(self, sentences):
        check_sentences(sentences)
        with_words = [words for words in sentences if words]
        if not with_words:
            return [], lambda rows: {"tags": [[] for _ in sentences]}
        text = conll.of_words(with_words)
        columns = self._can.columns(
            text, np.zeros(len(text.words), np.int32), self.task.config.max_seq_length
        )

        def join(rows):
            ids = np.concatenate([row["tag_ids"] for row in rows])
            named = self.task.tags({"tags": ids}, text)
            tags = iter(np.split(named, text.offsets[1:-1]))
            return {
                "tags": [next(tags).tolist() if words else [] for words in sentences]
            }

        return list(columns.records(self._spec)), join

    def _read_questions(self, texts):
        config, tokenizer = self.task.config, self._squad_tokenizer
        examples = [
            squad.SquadExample(
                str(i), question, squad.make_context(context, config.language)[0]
            )
            for i, (question, context) in enumerate(texts)
        ]
        converter = squad_features.Converter(tokenizer, config.windows())
        windows = list(converter.convert(examples))

        def join(rows):
            return self._answers(examples, windows, rows, tokenizer)

        return [window.to_record() for window in windows], join

    def _answers(self, examples, windows, rows, tokenizer):
        starts, ends = (
            [
                row[name][: len(window.input_ids)]
                for row, window in zip(rows, windows, strict=True)
            ]
            for name in ("start_logits", "end_logits")
        )
        answers = squad_answers.choose_answers(
            examples, windows, starts, ends, tokenizer, self.task.answer_config()
        )
        found = {
            "answers": np.array(list(answers.predictions.values())),
            "scores": np.array([_score(answers, e.qas_id) for e in examples]),
        }
        if self.task.config.version_2_with_negative:
            found["null_odds"] = np.array(list(answers.null_odds.values()))
        return {k: v if k == "answers" else np.float32(v) for k, v in found.items()}


class PythonPredictor:
    """A loaded export that reads token ids; texts become these here.

    Attributes:
      labels: in the order of the probabilities; () where there are none.
      text_pair: whether it reads pairs of texts, such as (question, context).
    """

    def __init__(self, model: tf.Module, folder: str):
        """Takes a loaded SavedModel, and the folder of what lies beside it."""
        self._model = model  # held, as in Predictor
        self._signature = self._model.signatures[TOKENS]
        _, self._inputs = self._signature.structured_input_signature
        beside = checkpoints.read_beside(folder)
        task = read_task(folder, beside["config"], beside["vocab_file"])
        self._reader = TaskReader(task, _labels(self._model))
        self.labels, self.text_pair = self._reader.labels, self._reader.text_pair

    def predict(
        self,
        texts: Sequence[str] | Sequence[Sequence[str]],
        batch_size: int = BATCH_SIZE,
    ) -> dict[str, np.ndarray]:
        """Labels texts, or pairs of texts; chooses endings; answers questions; tags.

        Args:
          texts: N texts; pairs where the model was trained on pairs; of a multiple
            choice each text with its endings behind it; of a tagger lists of words.
          batch_size: texts of about one length that are computed together.

        Returns:
          As Predictor.predict, or WordPredictor.predict.

        Raises:
          UserError: no texts, or not as many together as the model wants.
        """
        records, join = self._reader.read(texts)
        lengths = self._reader.lengths(records) if records else []

        def run(batch, longest):
            return self._reader.run(self._signature, self._inputs, batch, longest)

        return join(by_length(records, lengths, batch_size, run))


def by_length(
    records: Sequence[bytes],
    lengths: Sequence[int],
    batch_size: int,
    run: Callable[[Sequence[bytes], int], Sequence[dict]],
) -> list[dict]:
    """Computes records in batches of about one length.

    Args:
      records: of a TaskReader.
      lengths: the tokens of each.
      batch_size: records of a batch.
      run: takes a batch and its longest length; returns the outputs of each.

    Returns:
      The outputs for each record, in the order of the records.
    """
    found = [{}] * len(records)
    order = np.argsort(lengths, kind="stable").astype(int)
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        batch = [records[row] for row in rows]
        outputs = run(batch, int(lengths[rows[-1]]))
        for row, output in zip(rows, outputs, strict=True):
            found[row] = output
    return found


def record_spec(task: EncoderTask) -> FeatureSpec:
    """Returns what the records have that a model is asked with."""
    if isinstance(task, MultitaskTask):
        return task.system.need("classifies").spec(task.config.parts[0])
    return task.feature_spec


def _score(answers: squad_answers.Answers, key: str) -> float:
    """Start and end of the best answer that is a span; without one, minus infinity."""
    for entry in answers.nbest[key]:
        if entry["text"] == answers.best[key] != "":
            return entry["start_logit"] + entry["end_logit"]
    return -np.inf


def _labels(model: tf.Module) -> tuple[str, ...]:
    labels = getattr(model, "labels", np.array([]))
    return tuple(name.decode() for name in np.array(labels))


def _joined(batches: Sequence[Mapping[str, object]]) -> dict[str, np.ndarray]:
    """Puts outputs of batches one after the other; names become str."""
    answers = {}
    for name in batches[0]:
        values = np.concatenate([np.asarray(batch[name]) for batch in batches])
        if values.dtype.kind in "OS":
            values = np.char.decode(values.astype(bytes), "utf-8")
        answers[name] = values
    return answers


def load(export_dir: str) -> Predictor | PythonPredictor | WordPredictor:
    """Loads what `export_model` wrote, ready to predict."""
    import tensorflow_text  # noqa: F401  (the operations of the graph)

    model = tf.saved_model.load(export_dir)
    beside = os.path.join(export_dir, BESIDE)
    if tf.io.gfile.exists(os.path.join(beside, TASK_FILE)):
        return PythonPredictor(model, beside)
    _, inputs = model.signatures[TEXTS].structured_input_signature
    if WORDS in inputs:
        return WordPredictor(model, TEXTS, _labels(model))
    return Predictor(model)
