"""Several tasks on one encoder, a head each (MT-DNN, Liu et al. 2019)."""

import functools
import hashlib
import os
from collections.abc import Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf
from absl import logging

from data_pipeline import tfrecord
from data_pipeline.features import ranking as features
from data_pipeline.readers.examples import InputExample
from data_pipeline.readers.ranking import Counts, RankingExample
from errors import UserError
from metrics import ranking
from modeling.layers import base
from modeling.mt_dnn import ranking_losses
from systems.multitask_config import RANKING, MultitaskConfig, PartConfig
from systems.system import SHARED, System
from tasks.classification import ClassificationTask
from tasks.encoder import EncoderTask
from tasks.several import SeveralTasks
from tasks.task import Batch, Records

MIXES = ("proportional", "uniform", "sqrt")


class MultitaskTask(SeveralTasks, EncoderTask):
    """All tasks of a model, which take turns."""

    needs = "shares"
    head = SHARED

    def __init__(
        self,
        config: MultitaskConfig,
        system: System,
        *,
        mix: str = "proportional",
        task_ratio: float = 0.0,
        **kwargs: bool,
    ):
        """Makes the parts.

        Args:
          config: the tasks.
          system: the encoder's.
          mix: how many of an epoch's batches are of a task: "proportional", all that
            its examples make; "uniform", equally many of each task; "sqrt",
            proportional to the root of what it has. There are as many in all.
          task_ratio: the paper's alpha: an epoch has the first task's batches, and
            alpha times as many of all others together, drawn anew each time from those
            that they have; 0: all of them.
          **kwargs: see EncoderTask.

        Raises:
          UserError: the system cannot do such a task, or not at such lengths.
        """
        EncoderTask.__init__(self, config, system, **kwargs)
        self._mix, self._ratio = mix, task_ratio
        parts = {}
        for part in config.parts:
            kind = RankingPart if part.output_kind == RANKING else ClassifyingPart
            parts[part.task_name] = kind(part, system, **kwargs)
        SeveralTasks.__init__(self, parts)

    def batches(self, records: Mapping[str, Records], batch_size: int) -> list[int]:
        """See SeveralTasks; as `mix` says, and one of each task at least."""
        whole = super().batches(records, batch_size)
        if self._mix == "proportional":
            return whole
        power = {"uniform": 0.0, "sqrt": 0.5}[self._mix]
        weights = np.power(np.array(whole, float), power)
        wanted = sum(whole) * weights / weights.sum()
        found = np.maximum(np.floor(wanted), 1).astype(int)
        # What rounding has taken goes to those that lost most.
        lost = np.argsort(found - wanted, kind="stable")
        found[lost[: max(0, sum(whole) - found.sum())]] += 1
        return found.tolist()

    def extra_batches(self, batches: Sequence[int]) -> int | None:
        """See SeveralTasks."""
        return int(self._ratio * batches[0]) if self._ratio else None

    def steps_per_epoch(self, records: Mapping[str, Records], batch_size: int) -> int:
        """Returns how many batches an epoch has."""
        batches = self.batches(records, batch_size)
        extra, others = self.extra_batches(batches), sum(batches[1:])
        return batches[0] + (others if extra is None else min(extra, others))

    def initialize(self, variables: Mapping[str, keras.Variable]) -> None:
        """Fills the encoder, and those heads that the initial checkpoint has."""
        self.system.initialize(variables, self.head, self.config.outputs_by_task)

    def build_model(self, *, dtype: str, fused: bool, seed: int) -> keras.layers.Layer:
        """Makes the encoder and all heads."""
        return self.can.build(
            self.config.parts,
            frozen_encoder=self.frozen_encoder,
            dtype=dtype,
            fused=fused,
            seed=seed,
        )

    def describe_examples(self, rows: Sequence[int]) -> list[str]:
        """Is asked of the parts."""
        raise NotImplementedError("a batch is of one of the parts")


class ClassifyingPart(ClassificationTask):
    """One of several tasks that labels or scores texts and pairs."""

    def records(
        self, split: str, examples: Sequence[InputExample], folder: str
    ) -> Records:
        """See ClassificationTask; the files are in a folder of the task's name."""
        logging.info("the task %s:", self.config.task_name)
        return super().records(split, examples, _folder(self, folder))

    def loss_sums(
        self, model: keras.layers.Layer, batch: Batch, dropout_seed: tf.Tensor | None
    ) -> dict[str, tf.Tensor]:
        """See ClassificationTask."""
        return super().loss_sums(_headed(self, model), batch, dropout_seed)

    def predict(self, model: keras.layers.Layer, batch: Batch) -> dict[str, tf.Tensor]:
        """See ClassificationTask."""
        return super().predict(_headed(self, model), batch)


class RankingPart(EncoderTask):
    """One of several tasks that puts the candidates of a question in order.

    The loss is that of a softmax over a pack of candidates of one question, of which
    the first is right (equation 9); see features.ranking for the packs.
    """

    needs = "classifies"
    head = SHARED

    def __init__(self, config: PartConfig, system: System, **kwargs: bool):
        """Declares features and lengths; arguments as of EncoderTask."""
        super().__init__(config, system, **kwargs)
        self.feature_spec = features.spec(config.pairwise_size)
        self.main_metric = f"eval_{config.main_metric}"
        self._train: tuple[Sequence[RankingExample], list[features.Pack]] = ((), [])

    def records(
        self, split: str, examples: Sequence[RankingExample], folder: str
    ) -> Records:
        """Turns questions into packs; see ClassificationTask.records.

        Raises:
          UserError: no question has a right and a wrong candidate, in a set that is
            learnt or scored.
        """
        name, size = self.config.task_name, self.config.pairwise_size
        counts = Counts.of(examples)
        logging.info(
            "%s: %s: %d questions; %d have no right candidate and %d no wrong one, "
            "which leaves nothing to %s",
            name,
            split,
            counts.questions,
            counts.none_right,
            counts.none_wrong,
            "learn" if split == "train" else "score",
        )
        if split == "train":
            packs = features.training_packs(examples, size)
            self._train = examples, packs
        else:
            packs = features.scoring_packs(examples, size)
        if split != "predict" and not counts.comparable:
            raise UserError(
                f"{name}: none of the {len(examples)} questions of the {split} set has "
                "a right and a wrong candidate"
            )
        key = {
            "examples": hashlib.sha256(repr((examples, packs)).encode()).hexdigest(),
            "vocabulary": self.system.fingerprint(),
            "do_lower_case": self.config.do_lower_case,
            "max_seq_length": self.config.max_seq_length,
            "features": self.feature_spec.describe(),
        }

        def convert():
            texts = features.pairs(examples, packs)
            columns = self.can.columns(texts, self.config)
            return features.records(examples, packs, columns, size), {}

        path = os.path.join(_folder(self, folder), split)
        cached = tfrecord.cached(path, key, convert)
        return Records((cached.path,), cached.num_records)

    def build_model(self, *, dtype: str, fused: bool, seed: int) -> keras.layers.Layer:
        """Is asked of the whole."""
        raise NotImplementedError("one of several tasks has no model of its own")

    def loss_sums(
        self, model: keras.layers.Layer, batch: Batch, dropout_seed: tf.Tensor | None
    ) -> dict[str, tf.Tensor]:
        """Adds up the losses of the packs."""
        losses = self._losses(self._scores(model, batch, dropout_seed), batch)
        real = tf.cast(batch["is_real_example"], tf.float32)
        return {"loss": tf.reduce_sum(losses * real)}

    def predict(self, model: keras.layers.Layer, batch: Batch) -> dict[str, tf.Tensor]:
        """Computes the candidates' `scores`, float32 [B, R]."""
        return {"scores": self._scores(model, batch, None)}

    def metrics(self, predictions: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Scores the questions; `eval_loss` is that of a question with all wrong ones.

        Raises:
          UserError: no question has a right and a wrong candidate.
        """
        question, scores, right = self._flat(predictions)
        found = ranking.compute(self.config.metrics, question, right, scores)
        loss = ranking.cross_entropy(question, right, scores)
        return {"eval_loss": loss} | {f"eval_{k}": v for k, v in found.items()}

    def question_scores(
        self, predictions: Mapping[str, np.ndarray]
    ) -> list[np.ndarray]:
        """Returns the scores of each question's candidates, in their order."""
        question, scores, _ = self._flat(predictions)
        return np.split(scores, np.flatnonzero(np.diff(question)) + 1)

    def describe_examples(self, rows: Sequence[int]) -> list[str]:
        """Gives the questions of training packs."""
        examples, packs = self._train
        found = (examples[packs[row].question] for row in rows)
        return [f"{example.guid}: {example.text!r}" for example in found]

    @staticmethod
    def _flat(predictions):
        """Question, score and label of every candidate, in the file's order."""
        there = predictions["lengths"] > 0
        question = np.broadcast_to(predictions["question"][:, None], there.shape)
        return (
            question[there],
            predictions["scores"][there],
            predictions["right"][there] == features.RIGHT,
        )

    def _scores(self, model, batch, dropout_seed):
        """Reads all candidates of B packs: float32 [B, R]."""
        size = self.config.pairwise_size
        sequences = {}
        for name in ("input_ids", "segment_ids"):
            rows, length, _ = base.shape_list(batch[name])
            side_by_side = tf.transpose(batch[name], [0, 2, 1])  # [B, R, S]
            sequences[name] = tf.reshape(side_by_side, [rows * size, length])
        sequences["input_mask"] = tf.sequence_mask(
            tf.reshape(tf.maximum(batch["lengths"], 1), [-1]),
            length,
            tf.int32,
        )
        inputs = self.system.encoder_inputs(sequences)
        scores = _headed(self, model)(**inputs, dropout_seed=dropout_seed)
        return tf.reshape(scores, [-1, size])

    @staticmethod
    def _losses(scores, batch):
        first = tf.zeros(tf.shape(scores)[:1], tf.int32)
        return ranking_losses(scores, first, batch["lengths"] > 0)


def _folder(part, folder):
    found = os.path.join(folder, part.config.task_name)
    tf.io.gfile.makedirs(found)
    return found


def _headed(part, model):
    """Returns the model as one of this task alone."""
    return functools.partial(model, task=part.config.task_name)
