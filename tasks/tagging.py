"""Tagging words, as in named entity recognition: any encoder, with or without a CRF."""

import dataclasses
import hashlib
import os
from collections.abc import Collection, Mapping, Sequence
from typing import ClassVar

import keras
import numpy as np
import tensorflow as tf
from absl import logging

import metrics
from checkpoints import Outputs
from data_pipeline import tfrecord
from data_pipeline.readers import conll
from data_pipeline.readers.conll import PLAIN, TaggedText
from errors import UserError
from reports.tags import Tags
from systems.system import TAGGER, System
from systems.task_config import TaskConfig
from tasks.encoder import EncoderTask
from tasks.task import Batch, Records


@dataclasses.dataclass(frozen=True)
class TaggingConfig(TaskConfig):
    """What a trained tagger must remember to be used again; run_tagger.py's flags.

    Attributes:
      labels: the tags in the order of the outputs, in `output_scheme`.
      tag_scheme: of the files; predictions are written and scored in it.
      output_scheme: what the model learns; plain if, and only if, the files' is.
      crf: whether the tags of a sentence are chosen together.
      max_seq_length: pieces of the longest row, the special ones included.
      do_lower_case: whether the tokenizer lower-cases.
      task_name: tells this file from another task's.
      language: see TaskConfig.
      layer_mix: whether words are told by a mixture of all layers.

    Raises:
      UserError: one of the schemes is plain, the other not.
    """

    script: ClassVar[str] = "run_tagger.py"
    optional_keys: ClassVar[frozenset[str]] = frozenset({"language", "layer_mix"})
    choices: ClassVar[Mapping[str, Collection[str]]] = {
        "tag_scheme": conll.SCHEMES,
        "output_scheme": conll.SCHEMES,
    }

    labels: tuple[str, ...]
    tag_scheme: str
    output_scheme: str
    crf: bool
    max_seq_length: int
    do_lower_case: bool | None
    task_name: str = "tagging"
    language: str | None = None
    layer_mix: bool = False

    def __post_init__(self):
        if (self.tag_scheme == PLAIN) != (self.output_scheme == PLAIN):
            raise UserError(
                f"--tag_scheme={self.tag_scheme} and --output_scheme="
                f"{self.output_scheme} exclude: plain labels are learnt as they are, "
                "and tags of entities in a scheme of entities"
            )

    @property
    def outputs(self) -> Outputs:
        """See TaskConfig."""
        return Outputs(self.task_name, self.labels)

    def check(self) -> None:
        """See TaskConfig."""
        super().check()
        if not self.labels or not all(self.labels):
            raise UserError(f"labels is {list(self.labels)}, wanted the tags")


class TaggingTask(EncoderTask):
    """Fine-tunes an encoder, or a head on a frozen one, to tag each word."""

    needs = "tags"
    head = TAGGER

    def __init__(self, config: TaggingConfig, system: System, **kwargs: bool):
        """Chooses lengths.

        Args:
          config: labels and lengths.
          system: the encoder's.
          **kwargs: see EncoderTask.

        Raises:
          ValueError: `max_seq_length` is beyond the position table.
        """
        super().__init__(config, system, **kwargs)
        self.feature_spec = self.can.spec
        plain = config.tag_scheme == PLAIN
        self.main_metric = "eval_accuracy" if plain else "eval_f1"
        self._train: tuple[TaggedText, str] | None = None

    def without_unseen(self, text: TaggedText) -> tuple[TaggedText, int]:
        """See conll.without_unseen; of a text to predict."""
        labels, scheme = self.config.labels, self.config.output_scheme
        return conll.without_unseen(text, scheme, labels)

    def check(self, text: TaggedText) -> np.ndarray:
        """Returns the ids of a text's tags, int32 [words].

        Raises:
          ValueError: a tag was never seen in training; names file and line.
        """
        return conll.tag_ids(text, self.config.output_scheme, self.config.labels)

    def records(self, split: str, text: TaggedText, folder: str) -> Records:
        """Turns sentences into features, once: the file's name holds a hash of them.

        Args:
          split: "train", "dev" or "test"; the latter two may share a file.
          text: the sentences.
          folder: where the TFRecord file is kept.

        Raises:
          ValueError: see `check`.
        """
        tag_ids = self.check(text)
        digest = hashlib.sha256("\n".join(text.words).encode())
        for array in (tag_ids, text.offsets):
            digest.update(array.tobytes())
        key = {
            "sentences": digest.hexdigest(),
            "vocabulary": self.system.fingerprint(),
            "do_lower_case": self.config.do_lower_case,
            "max_seq_length": self.config.max_seq_length,
            "labels": self.config.labels,
            "features": self.feature_spec.describe(),
        }
        start = "train" if split == "train" else "eval"  # of the file's name
        cached = tfrecord.cached(
            os.path.join(folder, start), key, lambda: self._convert(text, tag_ids)
        )
        logging.info(
            "%s: %d sentences, %d words; %d sentences longer than --max_seq_length=%d "
            "were cut between words, into %d rows in all; %d words alone are longer, "
            "and lost their last pieces",
            split,
            text.num_sentences,
            len(text.words),
            cached.counted("split_sentences"),
            self.config.max_seq_length,
            cached.num_records,
            cached.counted("truncated_words"),
        )
        if split == "train":
            self._train = text, cached.path
        return Records((cached.path,), cached.num_records)

    def _convert(self, text, tag_ids):
        columns = self.can.columns(text, tag_ids, self.config.max_seq_length)
        info = {
            "split_sentences": columns.split_sentences,
            "truncated_words": columns.truncated_words,
        }
        return columns.records(self.feature_spec), info

    def build_model(self, *, dtype: str, fused: bool, seed: int) -> keras.layers.Layer:
        """Makes the encoder and its head."""
        return self.can.build(
            len(self.config.labels),
            use_crf=self.config.crf,
            layer_mix=self.config.layer_mix,
            frozen_encoder=self.frozen_encoder,
            dtype=dtype,
            fused=fused,
            seed=seed,
        )

    def loss_denominators(self, batch: Batch) -> dict[str, tf.Tensor]:
        """Counts the words of real rows."""
        return {"loss": tf.reduce_sum(_words(batch) * _real(batch))}

    def loss_sums(
        self, model: keras.layers.Layer, batch: Batch, dropout_seed: tf.Tensor | None
    ) -> dict[str, tf.Tensor]:
        """Adds up minus the log likelihoods of the tags."""
        scores = self._scores(model, batch, dropout_seed)
        losses = model.tagger.losses(scores, batch["tag_ids"], batch["word_positions"])
        return {"loss": tf.reduce_sum(losses * _real(batch))}

    def predict(self, model: keras.layers.Layer, batch: Batch) -> dict[str, tf.Tensor]:
        """Computes the loss of each row, and `tags` and `tag_ids` of its words.

        Both are int32 [B, max_seq_length], -1 on padding; `tag_ids` are the right ones.
        """
        scores = self._scores(model, batch, None)
        positions, right = batch["word_positions"], batch["tag_ids"]
        return {
            "tags": self._widen(model.tagger.decode(scores, positions)),
            "tag_ids": self._widen(tf.where(positions > 0, right, -1)),
            "loss": model.tagger.losses(scores, right, positions),
        }

    def metrics(self, predictions: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Scores entities as conlleval does; see metrics/tagging.py for the names.

        `eval_loss` is a word's. Of plain labels only `eval_accuracy` is told.
        """
        is_word = predictions["tag_ids"] >= 0
        words = np.bincount(predictions["sentence_index"], is_word.sum(axis=1))
        offsets = np.append(0, np.cumsum(words)).astype(np.int64)
        sides = (
            self._named(predictions, name, offsets) for name in ("tag_ids", "tags")
        )
        loss = float(predictions["loss"].sum() / is_word.sum())
        return {"eval_loss": loss} | self._scores_of(*sides, offsets)

    def text_metrics(
        self, predictions: Mapping[str, np.ndarray], text: TaggedText
    ) -> dict[str, float]:
        """Scores predictions against the tags of their text, some of them never seen.

        The names are those of `metrics`, without the loss: of a tag that the model does
        not have there is none.
        """
        return self._scores_of(text.tags, self.tags(predictions, text), text.offsets)

    def _scores_of(self, wanted, found, offsets):
        """Compares tags in the files' scheme, as they are written; str [words]."""
        if self.config.tag_scheme == PLAIN:
            both = np.concatenate([wanted, found])
            _, ids = np.unique(both, return_inverse=True)
            scores = metrics.compute(["accuracy"], *np.split(ids, 2))
        else:
            sides = (
                [tags.tolist() for tags in np.split(side, offsets[1:-1])]
                for side in (wanted, found)
            )
            scores = metrics.compute(["entity_f1"], *sides)
        return {f"eval_{name}": value for name, value in scores.items()}

    def tags(
        self, predictions: Mapping[str, np.ndarray], text: TaggedText
    ) -> np.ndarray:
        """Returns the predicted tag of each word of a text, in its files' scheme."""
        return self._named(predictions, "tags", text.offsets)

    def results(
        self, predictions: Mapping[str, np.ndarray], examples: TaggedText
    ) -> Tags:
        """See Task; tags are in the files' scheme."""
        return Tags(
            examples.words.tolist(),
            examples.numbers.tolist(),
            None if examples.tags is None else examples.tags.tolist(),
            self.tags(predictions, examples).tolist(),
            examples.offsets,
            self.config.tag_scheme == PLAIN,
        )

    def describe_examples(self, rows: Sequence[int]) -> list[str]:
        """Gives place and words of training sentences."""
        text, path = self._train
        found = []
        for row in rows:
            record = next(iter(tf.data.TFRecordDataset(path).skip(row).batch(1)))
            sentence = int(self.feature_spec.parse(record)[0]["sentence_index"][0])
            start, stop = text.offsets[sentence : sentence + 2]
            words = " ".join(text.words[start:stop])
            found.append(f"{text.path}, line {text.numbers[start]}: {words!r}")
        return found

    def _scores(self, model, batch, dropout_seed):
        inputs = {name: batch[name] for name in self.feature_spec.signature()}
        positions = inputs.pop("word_positions")
        return model(inputs, positions, dropout_seed=dropout_seed)

    def _widen(self, tags):
        """Pads [B, W] with -1 to one width for all batches."""
        width = self.config.max_seq_length
        missing = width - tf.shape(tags)[1]
        tags = tf.pad(tags, [[0, 0], [0, missing]], constant_values=-1)
        return tf.ensure_shape(tags, [None, width])

    def _named(self, predictions, name, offsets):
        """The tags of all words in the files' scheme and order, str [words]."""
        tags = predictions[name]
        named = np.array(self.config.labels)[tags[tags >= 0]]
        return conll.convert(named, offsets, self.config.tag_scheme)


def _words(batch: Batch) -> tf.Tensor:
    """Words of each row, float32 [B]."""
    return tf.reduce_sum(tf.cast(batch["word_positions"] > 0, tf.float32), axis=1)


def _real(batch: Batch) -> tf.Tensor:
    """1 for real rows, float32 [B]."""
    return tf.cast(batch["is_real_example"], tf.float32)
