"""Answers as spans of a context: SQuAD 1.1, SQuAD 2.0, CMRC 2018."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf
from absl import logging

from data_pipeline.readers.squad import LANGUAGES, SquadExample, has_answers
from data_pipeline.squad import answers as squad_answers
from data_pipeline.squad import features as squad_features
from errors import UserError
from metrics import squad as squad_metrics
from reports.answers import Answers
from systems.system import SPAN, System
from systems.task_config import TaskConfig
from tasks.encoder import EncoderTask
from tasks.task import Batch, Records


@dataclasses.dataclass(frozen=True)
class SpanConfig(TaskConfig):
    """What a trained model must remember to be used again; run_squad.py's flags.

    Attributes:
      max_seq_length: pieces of the longest input, the special ones included.
      doc_stride: pieces from the start of one window to the start of the next.
      max_query_length: longer questions are cut.
      do_lower_case: whether the tokenizer lower-cases.
      version_2_with_negative: whether "no answer" is one.
      language: "en", or "zh", where every CJK character is a word, and answers are
        scored as CMRC 2018's are.
      n_best_size: answers in the n-best list, and starts and ends looked at.
      max_answer_length: pieces of the longest answer.
      null_score_diff_threshold: by how much the score of "no answer" must exceed the
        best answer's to be given.
      task_name: tells this file from another task's.

    Raises:
      UserError: an impossible value; names the flag.
    """

    script: ClassVar[str] = "run_squad.py"

    max_seq_length: int = 384
    doc_stride: int = 128
    max_query_length: int = 64
    do_lower_case: bool = True
    version_2_with_negative: bool = False
    language: str = "en"
    n_best_size: int = 20
    max_answer_length: int = 30
    null_score_diff_threshold: float = 0.0
    task_name: str = "squad"

    def __post_init__(self):
        self.windows()  # checks its three
        for name in ("n_best_size", "max_answer_length"):
            if getattr(self, name) < 1:
                raise UserError(f"--{name}={getattr(self, name)}; wanted at least 1")
        if self.language not in LANGUAGES:
            known = ", ".join(LANGUAGES)
            raise UserError(f"--language={self.language}; wanted one of {known}")
        if self.language == "zh" and self.version_2_with_negative:
            raise UserError("--language=zh and --version_2_with_negative exclude")

    def windows(self) -> squad_features.WindowConfig:
        """Returns how contexts are cut."""
        return squad_features.WindowConfig(
            self.max_seq_length, self.doc_stride, self.max_query_length
        )

    def training_values(self) -> dict[str, Any]:
        """Leaves out what only chooses answers."""
        values = super().training_values()
        for name in ("n_best_size", "max_answer_length", "null_score_diff_threshold"):
            del values[name]
        return values


class SpanTask(EncoderTask):
    """Fine-tunes an encoder to find where an answer starts and ends."""

    needs = "answers"
    head = SPAN
    main_metric = "f1"
    feature_spec = squad_features.MODEL_SPEC

    def __init__(
        self,
        config: SpanConfig,
        system: System,
        *,
        verbose_logging: bool = False,
        **kwargs: bool,
    ):
        """Chooses lengths.

        Args:
          config: lengths, and how answers are chosen.
          system: the encoder's.
          verbose_logging: logs every answer that cannot be aligned with its context.
          **kwargs: see EncoderTask.

        Raises:
          UserError: `max_seq_length` is beyond the position table.
        """
        super().__init__(config, system, **kwargs)
        self._verbose_logging = verbose_logging
        self._train_examples: Sequence[SquadExample] = ()
        self._examples: Sequence[
            SquadExample
        ] = ()  # those to answer, and their windows
        self._features: list[squad_features.SquadFeatures] = []
        # The last answers chosen, and of what: choosing them takes long.
        self._answered: tuple[Mapping, squad_answers.Answers] | None = None

    def records(
        self, split: str, examples: Sequence[SquadExample], folder: str
    ) -> Records:
        """Turns questions into windows, once: the file's name holds a hash of them.

        Args:
          split: "train", or "predict": the questions whose answers `metrics` and
            `answers` know.
          examples: the questions.
          folder: where the TFRecord file is kept.

        Raises:
          UserError: no context has a word piece.
        """
        cached = squad_features.cached_features(
            os.path.join(folder, split),
            examples,
            self.can.tokenizer,
            {
                "vocabulary": self.system.fingerprint(),
                "do_lower_case": self.config.do_lower_case,
            },
            self.config.windows(),
        )
        if not cached.num_records:
            raise UserError(f"the {split} set has no context with a word piece")
        logging.info(
            "%s: %d questions, %d windows", split, len(examples), cached.num_records
        )
        if split == "train":
            self._train_examples = examples
        else:
            self._examples = examples
            self._features = squad_features.read_features(cached.path)
        return Records((cached.path,), cached.num_records)

    def build_model(self, *, dtype: str, fused: bool, seed: int) -> keras.layers.Layer:
        """Makes the encoder and its head."""
        return self.can.build(
            frozen_encoder=self.frozen_encoder, dtype=dtype, seed=seed, fused=fused
        )

    def loss_sums(
        self, model: keras.layers.Layer, batch: Batch, dropout_seed: tf.Tensor | None
    ) -> dict[str, tf.Tensor]:
        """Adds up the windows' mean cross entropy of start and end."""
        starts, ends = self.logits(model, batch, dropout_seed)
        losses = [
            tf.nn.sparse_softmax_cross_entropy_with_logits(positions, logits)
            for positions, logits in (
                (batch["start_positions"], starts),
                (batch["end_positions"], ends),
            )
        ]
        real = tf.cast(batch["is_real_example"], tf.float32)
        return {"loss": tf.reduce_sum((losses[0] + losses[1]) / 2.0 * real)}

    def predict(self, model: keras.layers.Layer, batch: Batch) -> dict[str, tf.Tensor]:
        """Computes `start_logits` and `end_logits`, [B, max_seq_length]."""
        logits = self.logits(model, batch, None)
        missing = self.config.max_seq_length - tf.shape(logits[0])[1]
        return {
            name: tf.ensure_shape(
                tf.pad(values, [[0, 0], [0, missing]], constant_values=tf.float32.min),
                [None, self.config.max_seq_length],
            )
            for name, values in zip(("start_logits", "end_logits"), logits, strict=True)
        }

    def logits(
        self, model: keras.layers.Layer, batch: Batch, dropout_seed: tf.Tensor | None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Scores each position; padding gets the lowest number.

        The parent's loss spreads probability over padding too, which is as long for
        each of its windows; here it depends on the batch, and must not matter.

        Returns:
          Logits of the starts and of the ends, float32 [B, S] each.
        """
        mask = batch["input_mask"]
        inputs = self.system.encoder_inputs(batch)
        starts, ends = model(**inputs, dropout_seed=dropout_seed)
        lowest = tf.float32.min
        return tf.where(mask > 0, starts, lowest), tf.where(mask > 0, ends, lowest)

    def answer_config(self) -> squad_answers.AnswerConfig:
        """Returns how answers are chosen."""
        config = self.config
        return squad_answers.AnswerConfig(
            n_best_size=config.n_best_size,
            max_answer_length=config.max_answer_length,
            do_lower_case=config.do_lower_case,
            version_2_with_negative=config.version_2_with_negative,
            null_score_diff_threshold=config.null_score_diff_threshold,
            verbose_logging=self._verbose_logging,
        )

    def answers(self, predictions: Mapping[str, np.ndarray]) -> squad_answers.Answers:
        """Chooses the answers to the questions given to `records`."""
        if self._answered is None or self._answered[0] is not predictions:
            self._answered = predictions, self._choose(predictions)
        return self._answered[1]

    def _choose(self, predictions):
        return squad_answers.choose_answers(
            self._examples,
            self._features,
            predictions["start_logits"],
            predictions["end_logits"],
            self.can.tokenizer(),
            self.answer_config(),
        )

    def metrics(self, predictions: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Scores as the official scripts do; see metrics/squad.py for the names."""
        references = {e.qas_id: e.answers or () for e in self._examples}
        answers = self.answers(predictions)
        if self.config.version_2_with_negative:
            return squad_metrics.squad_v2(
                references, answers.predictions, answers.null_odds, answers.best
            )
        if self.config.language == "zh":
            return squad_metrics.cmrc(references, answers.predictions)
        return squad_metrics.squad_v1(references, answers.predictions)

    def results(
        self, predictions: Mapping[str, np.ndarray], examples: Sequence[SquadExample]
    ) -> Answers:
        """See Task; the examples are those given to `records`."""
        answers, zh = self.answers(predictions), self.config.language == "zh"
        given = [answers.predictions[e.qas_id] for e in examples]
        gold = scores = None
        if has_answers(examples, self.config.version_2_with_negative):
            gold = [e.answers or () for e in examples]
            references = {e.qas_id: e.answers or () for e in examples}
            scores = np.array(
                squad_metrics.question_scores(
                    references, answers.predictions, self.config.language
                )
            ).T
        return Answers(
            [e.qas_id for e in examples],
            [e.question_text for e in examples],
            [e.context.text for e in examples],
            gold,
            given,
            np.array([_probability(answers, e.qas_id) for e in examples]),
            scores,
            by_characters=zh,
        )

    def describe_examples(self, rows: Sequence[int]) -> list[str]:
        """Gives id and text of training questions."""
        found = (self._train_examples[row] for row in rows)
        return [f"{e.qas_id}: {e.question_text!r}" for e in found]


def _probability(answers, key):
    """Of the answer given, among the best ones."""
    given = answers.predictions[key]
    return next(e["probability"] for e in answers.nbest[key] if e["text"] == given)
