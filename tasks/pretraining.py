"""What pre-training tasks share: files of records as they are, and a whole system."""

import abc
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from data_pipeline import batching, tfrecord
from data_pipeline.feature_spec import FeatureSpec
from errors import UserError
from metrics.ngram import KneserNey
from optimization import OptimizerConfig, ParameterGroup
from tasks.system import System
from tasks.task import Records, Task

# Records looked at, at the start of every file, before anything is computed.
_CHECKED_RECORDS = 16
_PARSED_RECORDS = 1024


class PretrainingTask(Task):
    """A task over the records of create_pretraining_data.py.

    Attributes:
      system: of the model.
    """

    # The records were shuffled when they were made; a block of them fits in memory.
    shuffle_records = 100_000

    def __init__(
        self,
        system: System,
        feature_spec: FeatureSpec,
        max_seq_length: int,
        *,
        static_shapes: bool = False,
        frozen_encoder: bool = False,
    ):
        """Chooses lengths.

        Args:
          system: of the model; its vocabulary, if known, is kept beside it.
          feature_spec: of the records.
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
        self.feature_spec = feature_spec
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
        for path in files:
            self._check_file(path)
        return Records(tuple(files), None)

    def eval_records(
        self, files: Sequence[str], max_examples: int | None = None
    ) -> Records:
        """Takes files, up to so many examples from the first on; None takes all.

        The rest as `train_records`.
        """
        found = PretrainingTask.train_records(self, files)
        return Records(found.files, tfrecord.count(files, max_examples))

    def limits(
        self, columns: Mapping[str, tf.Tensor | tf.RaggedTensor], lengths: tf.Tensor
    ) -> dict[str, tuple[tf.Tensor, int]]:
        """Which flags limit records; the first two arguments as FeatureSpec.parse's.

        Returns:
          Name of the flag -> (what each record needs of it, what it is).
        """
        del columns
        return {"max_seq_length": (lengths, self._max_seq_length)}

    def _check_file(self, path):
        try:
            head = tf.data.TFRecordDataset(path).take(_CHECKED_RECORDS)
            serialized = list(head.as_numpy_iterator())
        except tf.errors.OpError as error:
            raise UserError(f"{path}: no TFRecord file: {error.message}") from None
        if not serialized:
            raise UserError(f"{path} holds no examples")
        try:
            columns, lengths = self.feature_spec.parse(tf.constant(serialized))
        except tf.errors.InvalidArgumentError as error:
            raise UserError(
                f"{path}: no examples of create_pretraining_data.py: {error.message}"
            ) from None
        for flag, (found, wanted) in self.limits(columns, lengths).items():
            row = int(tf.argmax(found))
            if found[row] > wanted:
                raise UserError(
                    f"{path}: record {row} has length {int(found[row])}, but "
                    f"--{flag}={wanted}: give what the records were made with"
                )

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
    """

    main_metric = "log_likelihood"

    def __init__(self, *args, **kwargs):
        """Begins without a baseline; the arguments are PretrainingTask's."""
        super().__init__(*args, **kwargs)
        self.baselines: dict[str, float] = {}

    @property
    @abc.abstractmethod
    def vocab_size(self) -> int:
        """Ids are below it."""

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
        found = ngrams.perplexity(*self.tokens(dev.files, dev.num_examples))
        self.baselines = {"ngram_perplexity": found}

    def tokens(
        self, files: Sequence[str], num_records: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns the tokens of records, the first so many, and how many each has."""
        records = tf.data.TFRecordDataset(list(files)).take(num_records or -1)
        ids, lengths = [], []
        for serialized in records.batch(_PARSED_RECORDS):
            columns, found = self.feature_spec.parse(serialized)
            ids.append(columns["input_ids"].values.numpy())
            lengths.append(found.numpy())
        return np.concatenate(ids), np.concatenate(lengths)
