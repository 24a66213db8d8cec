"""ULMFiT's first two stages: the language model (Howard and Ruder 2018, 3.1 and 3.2).

    loss = mean of -log p(w_t | those before) + AR + TAR

Training reads endless streams of documents, a row of the batch each, in windows whose
states go on from one to the next. A window that happens to begin where a document does
begins with zeros, as every text of a task will; the original goes on there, too
(`state_reset="never"`). Evaluation reads every record by itself, from zeros.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from data_pipeline import batching
from data_pipeline.corpora import document_windows
from data_pipeline.corpora.document_windows import INPUTS, TARGETS
from data_pipeline.corpora.sentence_streams import STARTS
from data_pipeline.record_rules import Parsed, Rule, has_next
from modeling import ulmfit
from modeling.layers import dropout
from modeling.layers.lstm import State
from modeling.ulmfit import UlmfitModel
from optimization.groups import ParameterGroup
from optimization.optimizers import OptimizerConfig
from systems.system import System
from tasks.causal_language_model import LOSS, TOKENS, CausalLanguageModelTask
from tasks.task import Batch, Records, Task

_AR, _TAR = "ar", "tar"


class UlmfitTask(CausalLanguageModelTask):
    """Learns the next word, or with `backward` the one before."""

    vocab_size_key = "vocab_size"
    options = ("backward", "state_reset")

    def __init__(
        self,
        system: System,
        max_seq_length: int,
        *,
        backward: bool | None = None,
        state_reset: str = "sentence",
        **kwargs: bool,
    ):
        """Chooses a direction.

        Args:
          system: of the model; where its config knows no direction, it has one now.
          max_seq_length: words of the longest record, marks included.
          backward: whether documents are read from their end; None: as the config says.
          state_reset: "sentence": a training window that begins with a document begins
            with zeros; "never": it goes on from the window before.
          **kwargs: see PretrainingTask; static shapes are all windows' of `bptt` words.
        """
        config = system.config
        backward = bool(config.backward if backward is None else backward)
        config = dataclasses.replace(config, backward=backward)
        system = dataclasses.replace(system, config=config)
        super().__init__(system, max_seq_length, **kwargs)
        self._resets = state_reset == "sentence"

    def rules(self, parsed: Parsed, lengths: tf.Tensor) -> list[Rule]:
        """As PretrainingTask's; and a word is predicted."""
        return [*super().rules(parsed, lengths), has_next(lengths)]

    def train_batches(
        self, records: Records, *, batch_size: int, seed: int, **kwargs
    ) -> tf.data.Dataset:
        """Windows of streams; see Task and document_windows.window_batches."""
        config = self.system.config
        return document_windows.window_batches(
            list(records.files),
            self.feature_spec,
            batch_size=batch_size,
            bptt=config.bptt,
            backward=config.backward,
            varies=not self._static_shapes,
            seed=seed,
            shuffle_records=self.shuffle_records,
            **kwargs,
        )

    def eval_batches(self, records: Records, **kwargs) -> tf.data.Dataset:
        """Whole records, in the order in which they are read; see Task."""
        batches = super().eval_batches(records, **kwargs)
        return batches.map(_reversed) if self.system.config.backward else batches

    def tokens(
        self, files: Sequence[str], num_records: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """In the order in which they are read; see NextTokenTask."""
        ids, lengths = super().tokens(files, num_records)
        if self.system.config.backward:  # all records are, so that each is in its place
            ids, lengths = ids[::-1], lengths[::-1]
        return ids, lengths

    def build_model(self, *, dtype: str, fused: bool, seed: int) -> keras.layers.Layer:
        """Makes the language model, whose embeddings are its softmax."""
        return UlmfitModel(self.system.config, dtype=dtype, seed=seed, fused=fused)

    def parameter_groups(self, config: OptimizerConfig) -> list[ParameterGroup]:
        """Those of a model without a head."""
        return self.system.lm_groups(config)

    def carried_states(
        self, model: keras.layers.Layer, rows: int
    ) -> dict[str, tf.Tensor]:
        """The states of the LSTMs; see Task."""
        return _by_name(model.zero_states(rows))

    def loss_denominators(self, batch: Batch) -> dict[str, tf.Tensor]:
        """Counts the words, and what AR and TAR are the means of."""
        rows = tf.reduce_sum(tf.cast(batch["is_real_example"], tf.float32))
        steps = tf.cast(tf.shape(batch[INPUTS])[1], tf.float32)
        size = rows * self.system.config.embedding_size
        between = tf.maximum(steps - 1, 1)
        return {LOSS: rows * steps, _AR: size * steps, _TAR: size * between}

    def loss_sums(
        self, model: keras.layers.Layer, batch: Batch, dropout_seed: tf.Tensor | None
    ) -> dict[str, tf.Tensor]:
        """Adds up the losses of a window; with them the states after it."""
        before = self._states(model, batch)
        seed = dropout.encoder_seed(dropout_seed, self.frozen_encoder)
        found = model(batch[INPUTS], states=before, dropout_seed=seed)
        dropped = found["dropped_output"]
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
            tf.reshape(batch[TARGETS], [-1]),
            model.lm_logits(tf.reshape(dropped, [-1, dropped.shape[-1]])),
        )
        raw = found["sequence_output"]
        ar, tar = ulmfit.regularization(dropped, raw, self.system.config)
        sums = {LOSS: tf.reduce_sum(losses), _AR: ar, _TAR: tar}
        return sums | _by_name(found["states"])

    def _states(self, model, batch):
        """Returns the states that the rows of a batch begin with."""
        goes_on = 1.0
        if self._resets:
            goes_on = tf.cast(1 - batch[STARTS], tf.float32)[:, None]
        return [
            State(*(batch[f"states/{layer}/{part}"] * goes_on for part in "ch"))
            for layer in range(len(model.rnns))
        ]

    def total_loss(
        self, sums: Mapping[str, tf.Tensor], denominators: Mapping[str, tf.Tensor]
    ) -> tf.Tensor:
        """The sum of the means; see Task."""
        return Task.total_loss(self, sums, denominators)

    def predict(self, model: keras.layers.Layer, batch: Batch) -> dict[str, tf.Tensor]:
        """As CausalLanguageModelTask's, a window after the other.

        A row of scores is as long as the vocabulary, and a document may be long.
        """
        ids, mask, size = batch["input_ids"], batch["input_mask"], model.config.bptt
        hidden = model(ids, mask)["sequence_output"]
        zeros = tf.zeros(tf.shape(ids)[:1])

        def add(start, losses, right):
            targets = ids[:, start + 1 : start + 1 + size]
            real = tf.cast(mask[:, start + 1 : start + 1 + size], tf.float32)
            read = hidden[:, start : start + tf.shape(targets)[1]]
            logits = model.lm_logits(tf.reshape(read, [-1, hidden.shape[-1]]))
            found = tf.argmax(logits, axis=-1, output_type=tf.int32)
            values = tf.nn.sparse_softmax_cross_entropy_with_logits(
                tf.reshape(targets, [-1]), logits
            )
            values = tf.reshape(values, tf.shape(targets)) * real
            hits = tf.reshape(found, tf.shape(targets)) == targets
            hits = tf.cast(hits, tf.float32) * real
            sums = (tf.reduce_sum(x, axis=1) for x in (values, hits))
            return start + size, losses + next(sums), right + next(sums)

        _, losses, right = tf.while_loop(
            lambda start, *_: start + 1 < tf.shape(ids)[1],
            add,
            (0, zeros, zeros),
            parallel_iterations=1,
        )
        tokens = tf.reduce_sum(tf.cast(mask[:, 1:], tf.float32), axis=1)
        return {LOSS: losses, "lm_right": right, TOKENS: tokens}


@batching.as_it_is
def _reversed(batch):
    lengths = tf.reduce_sum(batch["input_mask"], axis=1)
    ids = tf.reverse_sequence(batch["input_ids"], lengths, seq_axis=1)
    return batch | {"input_ids": ids}


def _by_name(states: ulmfit.States) -> dict[str, tf.Tensor]:
    """Returns the states of all layers under a name each."""
    return {
        f"states/{layer}/{part}": value
        for layer, state in enumerate(states)
        for part, value in state._asdict().items()
    }
