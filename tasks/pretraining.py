"""What pre-training tasks share: files of records as they are, and a whole system."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import tensorflow as tf

from data_pipeline import batching, tfrecord
from data_pipeline.feature_spec import Feature, FeatureSpec
from data_pipeline.record_faults import Search, named
from data_pipeline.record_rules import Parsed, Rule, at_most, in_range
from errors import UserError
from metrics.ngram import KneserNey, perplexity
from optimization.groups import ParameterGroup
from optimization.optimizers import OptimizerConfig
from systems.system import System
from tasks.task import Records, Task

# Records looked at, at the start of every file, before anything is computed.
_CHECKED_RECORDS = 16
_PARSED_RECORDS = 1024


class PretrainingTask(Task):
    """A task over the records of create_pretraining_data.py.

    Attributes:
      system: of the model.
      options: the flags of run_pretraining.py that are keywords of the constructor,
        and shape the weights: a run that goes on must have the same.
      vocab_size_key: what its config calls the number of its words or pieces.
    """

    options: ClassVar[tuple[str, ...]] = ()
    vocab_size_key: ClassVar[str]
    # The records were shuffled when they were made; a block of them fits in memory.
    shuffle_records = 100_000

    def __init__(
        self,
        system: System,
        features: Sequence[Feature],
        max_seq_length: int,
        *,
        static_shapes: bool = False,
        frozen_encoder: bool = False,
    ):
        """Chooses lengths.

        Args:
          system: of the model; its vocabulary, if known, is kept beside it.
          features: of the records.
          max_seq_length: pieces of the longest record.
          static_shapes: pads every batch to `max_seq_length`, as a TPU needs.
          frozen_encoder: turns dropout off in the encoder, which is not trained: a head
            is, on top of it.

        Raises:
          UserError: `max_seq_length` is beyond the position table.
        """
        system.check_length(max_seq_length)
        self.frozen_encoder = frozen_encoder
        self.system = system
        self.feature_spec = FeatureSpec(
            features, rules=self.rules, source="create_pretraining_data.py"
        )
        self.buckets = (
            (max_seq_length,)
            if static_shapes
            else batching.default_buckets(max_seq_length)
        )
        self._max_seq_length = max_seq_length
        self._static_shapes = static_shapes

    def train_records(self, files: Sequence[str]) -> Records:
        """Takes files as they are, after a look at the start of each.

        Nobody counts their records: there may be terabytes of them.

        Args:
          files: TFRecord files of create_pretraining_data.py, the parent's or ours.

        Raises:
          UserError: a file is empty or damaged, its records are of another kind, or
            they do not fit into the lengths declared.
        """
        for fault in Search(files, self.feature_spec, _CHECKED_RECORDS):
            raise UserError(fault)
        return Records(tuple(files), None)

    def eval_records(
        self, files: Sequence[str], max_examples: int | None = None
    ) -> Records:
        """Takes files, up to so many examples from the first on; None takes all.

        The rest as `train_records`.
        """
        found = PretrainingTask.train_records(self, files)
        return Records(found.files, tfrecord.count(files, max_examples))

    @property
    def vocab_size(self) -> int:
        """Ids are below it."""
        return getattr(self.system.config, self.vocab_size_key)

    def rules(self, parsed: Parsed, lengths: tf.Tensor) -> list[Rule]:
        """Says what every record must be; see FeatureSpec."""
        return [
            at_most("max_seq_length", lengths, self._max_seq_length),
            self.in_vocabulary("input_ids", parsed),
        ]

    def in_vocabulary(self, name: str, parsed: Parsed) -> Rule:
        """Says that a feature holds ids of the vocabulary."""
        model = f"the model has {self.vocab_size_key}={self.vocab_size}"
        hint = "were the records made with another --vocab_file?"
        return in_range(name, parsed[name], self.vocab_size, f", as {model}: {hint}")

    def save_beside(self, folder: str) -> None:
        """Writes the config and, as far as known, what tokenizes."""
        self.system.save_beside(folder)

    def parameter_groups(self, config: OptimizerConfig) -> list[ParameterGroup]:
        """The system's."""
        return self.system.parameter_groups(config)

    def describe_examples(self, rows: Sequence[int]) -> list[str]:
        """Says what is known of a record: its number, where the record has one."""
        return [f"record {row}" if row >= 0 else "an unnumbered record" for row in rows]


class NextTokenTask(PretrainingTask):
    """A task that predicts what comes next, beside n-grams if asked for.

    `main_metric` is `log_likelihood`, the loss with its sign changed, for more of it is
    better. Accuracy still grows where a model overfits and its perplexity does, too.

    Attributes:
      baselines: name -> what `compare_with_ngrams` found, for `metrics` to show.
      ngram_probabilities: float64 [tokens], what n-grams give the tokens that are
        predicted, in the order of the records; None before `compare_with_ngrams`.
    """

    main_metric = "log_likelihood"

    def __init__(self, *args, **kwargs):
        """Begins without a baseline; the arguments are PretrainingTask's."""
        super().__init__(*args, **kwargs)
        self.baselines: dict[str, float] = {}
        self.ngram_probabilities: np.ndarray | None = None

    def compare_with_ngrams(
        self, order: int, train_files: Sequence[str], dev: Records
    ) -> None:
        """Lets `metrics` show how well n-grams predict the same tokens.

        They see what the model sees: in training the records of `train_files`, all of
        them in memory, and of `dev` the record up to the token.

        Args:
          order: tokens of the longest n-gram.
          train_files: the records to count.
          dev: the records that are evaluated.
        """
        ngrams = KneserNey(*self.tokens(train_files), self.vocab_size, order)
        found = ngrams.probabilities(*self.tokens(dev.files, dev.num_examples))
        self.ngram_probabilities = found
        self.baselines = {"ngram_perplexity": perplexity(found)}

    def tokens(
        self, files: Sequence[str], num_records: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns the tokens of records, the first so many, and how many each has."""
        records = tf.data.TFRecordDataset(list(files)).take(num_records or -1)
        ids, lengths = [], []
        with named([(files, self.feature_spec)]):
            for serialized in records.batch(_PARSED_RECORDS):
                columns, found = self.feature_spec.parse(serialized)
                ids.append(columns["input_ids"].values.numpy())
                lengths.append(found.numpy())
        return np.concatenate(ids), np.concatenate(lengths)
