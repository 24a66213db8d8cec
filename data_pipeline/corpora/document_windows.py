"""Windows of streams of documents, after fastai's data loaders.

    records -> shuffled anew every epoch -> a stream a batch row -> windows

A row of a training batch reads document after document, whichever is next of all when
it comes to the end of one; how many words a window has is drawn anew for each batch.
"""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

from data_pipeline import batching
from data_pipeline.corpora.sentence_streams import STARTS, deal, parsed, row_batches
from data_pipeline.feature_spec import INDEX, REAL, FeatureSpec

INPUTS, TARGETS = "inputs", "targets"
# Merity et al. 2018, section 5: 70 words, 5 up or down, one window of twenty half.
_HALF_SHARE = 0.05
_DEVIATION = 1 / 14


def window_batches(
    files: Sequence[str],
    spec: FeatureSpec,
    *,
    batch_size: int,
    bptt: int,
    backward: bool,
    varies: bool,
    seed: int,
    start_step: int = 0,
    shuffle_records: int,
    num_replicas: int = 1,
    replica_offset: int = 0,
    local_replicas: int = 1,
) -> tf.data.Dataset:
    """Endless stream of windows, row by row where the batch before left off.

    Every row of every batch is a function of seed and position. To begin later, the
    documents before are dealt out again.

    Args:
      files: TFRecord files of document_streams.create.
      spec: what they hold.
      batch_size: rows of a global batch.
      bptt: words of a window.
      backward: whether documents are read from their end.
      varies: whether the words of a window are drawn, see `window_length`.
      seed: of the documents' order, and of that.
      start_step: global batches to leave out.
      shuffle_records: see batching.train_batches.
      num_replicas: replicas over all workers.
      replica_offset: this worker's first replica.
      local_replicas: this worker's number of replicas.

    Returns:
      Dataset of dicts, a replica's rows each: INPUTS and TARGETS, the words and those
      after them, int32 [B, T]; STARTS, int32 [B], whether a row begins with a document;
      `is_real_example`, and `example_index`, the row's number in the global batch.
    """
    stream = parsed(
        batching.record_stream(files, seed, 0, True, shuffle_records),
        lambda serialized: _parse(spec, serialized),
    )
    rows = batch_size // num_replicas

    def steps():
        lengths = itertools.repeat(bptt)
        if varies:
            lengths = (window_length(bptt, seed, step) for step in itertools.count())
        return deal(_documents(stream, backward), batch_size, lengths)

    ids = tf.TensorSpec([rows, None if varies else bptt], tf.int32)
    return row_batches(
        steps,
        _window,
        {INPUTS: ids, TARGETS: ids},
        rows=rows,
        replicas=range(replica_offset, replica_offset + local_replicas),
        start_step=start_step,
    )


def window_length(bptt: int, seed: int, step: int) -> int:
    """Draws how many words a batch's window has.

    Args:
      bptt: most windows are about as long, one of twenty is half as long.
      seed: of the run.
      step: of the batch.
    """
    draw = np.random.default_rng([seed, step])
    mean = bptt / 2 if draw.random() < _HALF_SHARE else bptt
    return max(round(draw.normal(mean, bptt * _DEVIATION)), 1)


def _parse(spec: FeatureSpec, serialized: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    ids = spec.parse(serialized)[0]["input_ids"]
    return ids.values, ids.row_splits


def _documents(
    stream: tf.data.Dataset, backward: bool
) -> Iterator[tuple[np.ndarray, int]]:
    """Yields each record, int32 [n], and n."""
    for ids, splits in stream.as_numpy_iterator():
        for start, end in itertools.pairwise(splits.tolist()):
            record = ids[start:end]
            yield record[::-1] if backward else record, end - start


def _window(rows: Sequence[list[tuple]], first_row: int) -> dict[str, np.ndarray]:
    """Copies the pieces of some rows into one batch."""
    inputs, targets = (
        np.stack(
            [
                np.concatenate([ids[a + shift : b + shift] for ids, a, b in pieces])
                for pieces in rows
            ]
        )
        for shift in (0, 1)
    )
    index = np.arange(first_row, first_row + len(rows), dtype=np.int32)
    starts = np.array([pieces[0][1] == 0 for pieces in rows], np.int32)
    marks = {INDEX: index, REAL: np.ones_like(index), STARTS: starts}
    return {INPUTS: inputs, TARGETS: targets} | marks
