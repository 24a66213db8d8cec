"""ELMo's pre-training: the next word and the one before (Peters et al. 2018, 3.1).

    sum_k log p(t_k | t_1 ... t_k-1) + log p(t_k | t_k+1 ... t_N)

Training reads endless streams, a row of the batch each, in windows of so many steps,
and both directions go on from the states in which the window before left them. Only a
window that happens to begin where a sentence does begins with zeros: bilm-tf goes on
there as well (here with `state_reset="never"`), which leaves a model that is worth
little without a text before.
Evaluation reads sentences, each from zero states, as the vectors of a sentence are
made: every one on its own, whatever the batch.
"""

from collections.abc import Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

import vocabulary
from data_pipeline import batching
from data_pipeline.corpora import sentence_streams
from data_pipeline.corpora.makers import Sentences
from data_pipeline.corpora.sentence_streams import BACKWARD, DIRECTIONS, STARTS
from data_pipeline.record_rules import Parsed, Rule, as_many_as, has_next
from modeling import ElmoLanguageModel
from modeling.elmo import States
from modeling.layers.lstm import State
from systems.system import PRE_TRAINING, System
from tasks.pretraining import NextTokenTask
from tasks.task import Batch, Records

STATE_RESETS = ("sentence", "never")
_NAMES = {"": "forward", BACKWARD: "backward"}
_TOKENS = "lm_tokens"
# Sentences that show whether a vocabulary is sorted as a sampled softmax needs it.
_CHECKED_SENTENCES = 10_000


class BidirectionalLanguageModelTask(NextTokenTask):
    """Learns the words on both sides; records are those of `sentence_streams`."""

    vocab_size_key = "n_tokens_vocab"
    options = ("unroll_steps", "state_reset")

    def __init__(
        self,
        system: System,
        max_seq_length: int,
        unroll_steps: int = 20,
        *,
        state_reset: str = "sentence",
        **kwargs: bool,
    ):
        """Chooses lengths.

        Args:
          system: of the model.
          max_seq_length: words of the longest record, marks included.
          unroll_steps: T, words of a training window; bilm-tf's 20.
          state_reset: one of STATE_RESETS: a training window that begins with a
            sentence begins with zeros, or goes on, as in bilm-tf.
          **kwargs: see PretrainingTask; static shapes are evaluation's.
        """
        super().__init__(system, Sentences.features({}), max_seq_length, **kwargs)
        self._unroll_steps = unroll_steps
        self._resets = state_reset == "sentence"

    def rules(self, parsed: Parsed, lengths: tf.Tensor) -> list[Rule]:
        """As PretrainingTask's; every id has its word, and a word is predicted."""
        return [
            *super().rules(parsed, lengths),
            has_next(lengths),
            as_many_as("input_ids", "words", parsed),
        ]

    def train_records(self, files: Sequence[str]) -> Records:
        """As PretrainingTask's, with a look at many more of the words.

        Raises:
          UserError: files are no such records, or of another vocabulary, or the
            vocabulary is not sorted by frequency and the softmax sampled.
        """
        records = super().train_records(files)
        ids, _ = self.tokens(files, _CHECKED_SENTENCES)
        if self.system.config.sample_softmax and self.system.vocab_file:
            counts = np.bincount(ids, minlength=self.vocab_size)
            vocabulary.check_sorted(self.system.tokenizer(), counts)
        return records

    def train_batches(
        self, records: Records, *, batch_size: int, seed: int, **kwargs
    ) -> tf.data.Dataset:
        """Windows of streams; see Task and sentence_streams.window_batches."""
        windows = sentence_streams.window_batches(
            list(records.files),
            self.feature_spec,
            batch_size=batch_size,
            unroll_steps=self._unroll_steps,
            seed=seed,
            shuffle_records=self.shuffle_records,
            **kwargs,
        )
        return windows.map(self._spell, tf.data.AUTOTUNE)

    def eval_batches(self, records: Records, **kwargs) -> tf.data.Dataset:
        """Whole sentences; see Task."""
        batches = super().eval_batches(records, **kwargs)
        return batches.map(sentence_streams.shifted).map(self._spell, tf.data.AUTOTUNE)

    @batching.as_it_is
    def _spell(self, batch):
        """Gives the inputs the ids that the model reads, 0 being padding."""
        batch = dict(batch)
        cnn = self.system.config.char_cnn
        for end in DIRECTIONS:
            words, name = batch.pop(f"words{end}"), f"inputs{end}"
            batch[name] = (
                batch[name] + 1
                if cnn is None
                else vocabulary.character_ids(words, cnn.max_characters_per_token)
            )
        return batch

    def build_model(self, *, dtype: str, fused: bool, seed: int) -> keras.layers.Layer:
        """Makes both directions and their softmax."""
        return ElmoLanguageModel(
            self.system.config,
            frozen_encoder=self.frozen_encoder,
            dtype=dtype,
            seed=seed,
            fused=fused,
        )

    def initialize(self, variables: Mapping[str, keras.Variable]) -> None:
        """Fills the model from the initial checkpoint, if there is one."""
        self.system.initialize(variables, PRE_TRAINING)

    def carried_states(
        self, model: keras.layers.Layer, rows: int
    ) -> dict[str, tf.Tensor]:
        """The states of the LSTMs; see Task."""
        return _by_name(model.lm.zero_states(rows))

    def loss_denominators(self, batch: Batch) -> dict[str, tf.Tensor]:
        """Counts the rows.

        As in bilm-tf, the loss adds up the steps of a window: the gradient's size, and
        with it what Adagrad makes of it, goes by that.
        """
        rows = tf.reduce_sum(tf.cast(batch["is_real_example"], tf.float32))
        return {f"{name}_loss": rows for name in _NAMES.values()}

    def loss_sums(
        self, model: keras.layers.Layer, batch: Batch, dropout_seed: tf.Tensor | None
    ) -> dict[str, tf.Tensor]:
        """Adds up the losses of each direction; with them the states after the batch.

        With a seed, a sampled softmax draws its words.
        """
        config = self.system.config.lstm
        before = _nested(batch, config.n_layers, self._resets)
        losses, states = self._losses(model, batch, before, dropout_seed)
        sums = {name: tf.reduce_sum(value) for name, value in losses.items()}
        return sums | _by_name(states)

    def total_loss(
        self, sums: Mapping[str, tf.Tensor], denominators: Mapping[str, tf.Tensor]
    ) -> tf.Tensor:
        """The mean of the directions; see `loss_denominators`."""
        terms = {name: sums[name] for name in denominators}
        return super().total_loss(terms, denominators) / 2

    def predict(self, model: keras.layers.Layer, batch: Batch) -> dict[str, tf.Tensor]:
        """Adds up, row by row, what the metrics are made of; float32 [B] each."""
        losses, _ = self._losses(model, batch, None, None)
        values = losses | {_TOKENS: tf.cast(batch["input_mask"], tf.float32)}
        return {name: tf.reduce_sum(value, axis=1) for name, value in values.items()}

    def _losses(self, model, batch, states, seed):
        """Returns the losses of each direction, [B, T], and the states after."""
        found = model(batch["inputs"], batch[f"inputs{BACKWARD}"], states, seed)
        real = batch["input_mask"] * batch["is_real_example"][:, None]
        losses = {}
        for i, (end, name) in enumerate(_NAMES.items()):
            sampling = seed
            if seed is not None:
                sampling = tf.random.experimental.stateless_fold_in(seed, i)
            values = model.losses(found[name], batch[f"targets{end}"], sampling)
            losses[f"{name}_loss"] = values * tf.cast(real, tf.float32)
        return losses, found["states"]

    def metrics(self, predictions: Mapping[str, np.ndarray]) -> dict[str, float]:
        """`loss` (nats a predicted word) of each direction, their mean, exponentials.

        With them what `compare_with_ngrams` found, to set beside `forward_perplexity`.
        """
        sums = {k: float(v.sum(dtype=np.float64)) for k, v in predictions.items()}
        each = {n: sums[f"{n}_loss"] / sums[_TOKENS] for n in _NAMES.values()}
        loss = sum(each.values()) / 2
        return {
            "loss": loss,
            "log_likelihood": -loss,
            "perplexity": float(np.exp(loss)),
            **{f"{name}_perplexity": float(np.exp(x)) for name, x in each.items()},
            **self.baselines,
        }

    def describe_examples(self, rows: Sequence[int]) -> list[str]:
        """Says which streams are meant: nothing else is known of a window."""
        return [f"the stream of row {row}" for row in rows]


def _by_name(states: States) -> dict[str, tf.Tensor]:
    """Returns the states of both directions under a name each."""
    return {
        f"states/{name}_{layer}/{part}": value
        for name, layers in zip(_NAMES.values(), states, strict=True)
        for layer, state in enumerate(layers)
        for part, value in state._asdict().items()
    }


def _nested(batch: Batch, num_layers: int, resets: bool) -> States | None:
    """Returns the states that a batch begins with, as the model takes them.

    Args:
      batch: with the states that the batch before left.
      num_layers: of each direction.
      resets: whether rows that begin with a sentence begin with zeros.
    """
    names = [
        [f"states/{name}_{layer}/" for layer in range(num_layers)]
        for name in _NAMES.values()
    ]
    if f"{names[0][0]}c" not in batch:
        return None
    goes_on = tf.cast(1 - batch[STARTS], tf.float32)[:, None] if resets else 1.0
    return [
        [State(*(batch[f"{name}{part}"] * goes_on for part in "ch")) for name in row]
        for row in names
    ]
