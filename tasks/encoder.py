"""What fine-tuned BERT tasks share: one encoder, filled from a checkpoint, one head."""

import os
from collections.abc import Mapping
from typing import Any, ClassVar

import keras
import tensorflow as tf
from absl import logging

import checkpoints
from checkpoints import files, google_bert
from modeling import BertConfig
from optimization import OptimizerConfig, ParameterGroup, encoder_groups
from tasks.task import Batch, Task

TASK_FILE = google_bert.TASK


class EncoderTask(Task):
    """A task over rows of text, with a BERT encoder under its head.

    Attributes:
      config: what task.json keeps; has do_lower_case and to_json_string().
      bert_config: the encoder's architecture.
      vocab_file: the vocabulary, one piece a line.
      new: variables that a checkpoint need not have; see checkpoints.initialize.
      unused: tensors of a checkpoint that are never read; likewise.
    """

    config: Any
    bert_config: BertConfig
    vocab_file: str
    new: ClassVar[Mapping[str, str]]
    unused: ClassVar[Mapping[str, str]]
    _init_checkpoint: str | None
    _resize_vocab: bool

    def initialize(self, variables: Mapping[str, keras.Variable]) -> None:
        """Fills the encoder, and the head if the initial checkpoint has one."""
        if self._init_checkpoint is None:
            logging.info("no --init_checkpoint: training starts from random weights")
            return
        checkpoints.initialize(
            variables,
            checkpoints.open_checkpoint(self._init_checkpoint),
            new=self.new,
            unused=self.unused,
            resize_vocab=self._resize_vocab,
        )

    def save_beside(self, folder: str) -> None:
        """Writes bert_config.json, vocab.txt, tokenizer_config.json and task.json."""
        google_bert.save_beside(
            folder, self.bert_config, self.vocab_file, self.config.do_lower_case
        )
        path = os.path.join(folder, TASK_FILE)
        files.write_text(path, self.config.to_json_string())

    def parameter_groups(self, config: OptimizerConfig) -> list[ParameterGroup]:
        """The parent's decay exclusions; see optimization.encoder_groups."""
        return encoder_groups(self.bert_config.num_hidden_layers, config)

    def loss_denominators(self, batch: Batch) -> dict[str, tf.Tensor]:
        """Counts the real rows."""
        return {"loss": tf.reduce_sum(tf.cast(batch["is_real_example"], tf.float32))}
