"""TFRecords to batches: a fixed order, length buckets, replicas and exact resume.

The order of training data is a pure function of (seed, epoch, position). All
randomness is stateless, so neither a global seed, nor prefetching, nor the number
of workers or replicas changes it, and any step can be reached directly.

    records -> shuffled anew every epoch -> pools of whole global batches
            -> sorted by bucket within the pool -> batches -> batch order shuffled
            -> padded to the bucket of the longest row -> rows of each replica

Everything runs in tf.data; no Python touches a record.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import tensorflow as tf

from data_pipeline import cuts, draws, feature_spec, tfrecord
from errors import UserError

_BUCKETS = (16, 32, 48, 64, 96, 128, 160, 192, 256, 320, 384, 512)

# Autograph has nothing to convert in these functions, and takes seconds to find out.
as_it_is = tf.autograph.experimental.do_not_convert

_POOL_BY_PIECES = 16_384  # records


def default_buckets(max_seq_length: int) -> tuple[int, ...]:
    """Lengths that batches are padded to, up to and including `max_seq_length`."""
    return (*(b for b in _BUCKETS if b < max_seq_length), max_seq_length)


@dataclasses.dataclass(frozen=True)
class ByPieces:
    """Training batches of about equally many pieces each, instead of rows.

    Attributes:
      rows: of a global batch on average, at least 1: its pieces, by the records' mean
        length.
      micro_batches: a replica's rows are filled up to a multiple of it.
    """

    rows: float
    micro_batches: int = 1


@dataclasses.dataclass(frozen=True)
class _Slices:
    """How a global batch is cut: B rows, `replicas` parts, of which we want some.

    `batch_size` is None where batches differ in their number of rows.
    """

    batch_size: int | None
    replicas: int
    offset: int
    local: int

    def __post_init__(self):
        size = self.batch_size
        if size is not None and (size < 1 or size % self.replicas):
            raise UserError(
                f"batch_size {size} must be a positive multiple of the "
                f"number of replicas, {self.replicas}"
            )
        if not 0 <= self.offset < self.offset + self.local <= self.replicas:
            raise UserError(
                f"local replicas {self.offset} to {self.offset + self.local - 1} "
                f"are not among the {self.replicas} replicas"
            )


def train_batches(
    files: Sequence[str],
    spec: feature_spec.FeatureSpec,
    *,
    batch_size: int | ByPieces,
    seed: int,
    start_step: int = 0,
    buckets: Sequence[int],
    num_replicas: int = 1,
    replica_offset: int = 0,
    local_replicas: int = 1,
    shuffle: bool = True,
    pool_batches: int = 50,
    shuffle_records: int = 1_000_000,
) -> tf.data.Dataset:
    """Infinite stream of training batches, one per local replica and step.

    Epochs follow one another without a gap: a batch may straddle two, as in the
    parent. Every record occurs once in an epoch. A pool is never larger than the
    data set, so that one batch does not collect copies of one record.

    Args:
      files: TFRecord files.
      spec: what they hold.
      batch_size: rows of a global batch, over all replicas of all workers. By pieces,
        every pool is cut into as many batches as it would have of the mean number of
        rows, and rows that fill one up for replicas and micro-batches repeat a real
        one, with `is_real_example` 0.
      seed: any integer; another one gives another order.
      start_step: number of global batches to leave out, exactly those that the
        stream started at 0 would give first.
      buckets: ascending lengths to pad to; one bucket gives static shapes, and
        batches that are not grouped by length.
      num_replicas: replicas over all workers.
      replica_offset: this worker's first replica.
      local_replicas: this worker's number of replicas.
      shuffle: False keeps the files' order strictly, ungrouped by length.
      pool_batches: global batches grouped by length together.
      shuffle_records: up to so many records an epoch is shuffled completely;
        larger data sets are shuffled file by file and then in blocks of this size.

    Returns:
      Dataset of dicts as `FeatureSpec.to_batch` makes them, for every step this
      worker's replicas in ascending order; all replicas have as many rows.
      `example_index` is what the record says, or -1.

    Raises:
      UserError: no records, or arguments that do not fit together.
    """
    by_pieces = isinstance(batch_size, ByPieces)
    size = None if by_pieces else batch_size
    slices = _Slices(size, num_replicas, replica_offset, local_replicas)
    buckets = _checked_buckets(buckets)
    if pool_batches < 1 or shuffle_records < 1 or start_step < 0:
        raise UserError(
            f"wanted pool_batches and shuffle_records of at least 1 and start_step "
            f"of at least 0, got {pool_batches}, {shuffle_records}, {start_step}"
        )
    rows = batch_size.rows if by_pieces else batch_size
    available = _count_up_to(files, math.ceil(pool_batches * rows))
    pool_batches = max(1, min(pool_batches, int(available / rows)))
    pool_records = int(pool_batches * rows)
    first_pool, first_batch = divmod(start_step, pool_batches)
    stream = record_stream(
        files, seed, first_pool * pool_records, shuffle, shuffle_records
    )
    pools = stream.batch(pool_records, drop_remainder=True).enumerate(first_pool)

    @as_it_is
    def to_batches(pool_index: tf.Tensor, serialized: tf.Tensor) -> tf.data.Dataset:
        columns, lengths = spec.parse(serialized)
        order = tf.range(pool_records)
        batches = tf.range(pool_batches)
        if shuffle:
            order = _by_bucket(lengths, buckets)
            draw = draws.fold(seed, draws.BATCH_ORDER, pool_index)
            batches = draws.shuffled(batches, draw)
        skipped = tf.where(pool_index == first_pool, first_batch, 0)
        batches = batches[skipped:]
        if by_pieces:
            found = cuts.by_pieces(tf.gather(lengths, order), pool_batches)
            starts, ends = (tf.gather(bounds, batches) for bounds in found)
            fillers = (starts - ends) % (num_replicas * batch_size.micro_batches)
            places = starts, ends, ends + fillers
        else:
            starts = batches * batch_size
            ends = starts + batch_size
            places = starts, ends, ends
        return _replica_batches(spec, columns, lengths, order, places, buckets, slices)

    # Of a stream that might end, tf.distribute forgets the number of rows.
    endless = tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY)
    return finish(pools.flat_map(to_batches).apply(endless))


def eval_batches(
    files: Sequence[str],
    spec: feature_spec.FeatureSpec,
    *,
    batch_size: int,
    buckets: Sequence[int],
    num_replicas: int = 1,
    replica_offset: int = 0,
    local_replicas: int = 1,
    num_records: int | None = None,
    pool_batches: int = 50,
) -> tf.data.Dataset:
    """Every record exactly once, grouped by length; the last batch is filled up.

    The rows that fill the last batch repeat a real one, with `is_real_example` 0:
    no mask is empty, and whoever scatters results by `example_index` writes the
    same result twice. Every replica gets the same number of batches.

    Args:
      files: TFRecord files.
      spec: what they hold.
      batch_size: rows of a global batch, over all replicas of all workers; 0: as many
        as have about 8,192 positions, at most 256, so that short ones are computed
        many at a time and long ones fit into memory.
      buckets: ascending lengths to pad to; one bucket gives static shapes.
      num_replicas: replicas over all workers.
      replica_offset: this worker's first replica.
      local_replicas: this worker's number of replicas.
      num_records: takes only so many, from the first on; None takes all.
      pool_batches: global batches grouped by length together.

    Returns:
      Finite dataset of dicts like `train_batches`'. `example_index` is the record's
      position in `files`, counted through, which restores the order.

    Raises:
      UserError: no records, or arguments that do not fit together.
    """
    buckets = _checked_buckets(buckets)
    if not batch_size and len(buckets) == 1:
        (batch_size,) = cuts.rows_by_positions(buckets, num_replicas)
    by_pieces = not batch_size
    slices = _Slices(batch_size or None, num_replicas, replica_offset, local_replicas)
    _count_up_to(files, 1)
    taken = _read(list(files)).take(-1 if num_records is None else num_records)
    pool = _POOL_BY_PIECES if by_pieces else pool_batches * batch_size
    pools = taken.enumerate().batch(pool)

    @as_it_is
    def to_batches(position: tf.Tensor, serialized: tf.Tensor) -> tf.data.Dataset:
        columns, lengths = spec.parse(serialized)
        columns[feature_spec.INDEX] = tf.cast(position, tf.int32)
        order = _by_bucket(lengths, buckets)
        if by_pieces:
            order = order[::-1]  # the longest one says how many rows there are
            most = tf.constant(cuts.rows_by_positions(buckets, num_replicas))
            most = tf.gather(most, _bucket_index(tf.gather(lengths, order), buckets))
            starts, filled = cuts.by_positions(most, num_replicas)
        else:
            starts = tf.range(0, tf.size(order), batch_size)
            filled = starts + batch_size
        places = starts, tf.minimum(filled, tf.size(order)), filled
        return _replica_batches(spec, columns, lengths, order, places, buckets, slices)

    return finish(pools.flat_map(to_batches))


def to_replicas(
    batches: tf.data.Dataset,
    rows: int,
    num_replicas: int = 1,
    replica_offset: int = 0,
    local_replicas: int = 1,
) -> tf.data.Dataset:
    """Cuts endless whole batches into those of a worker's replicas.

    Args:
      batches: dicts of tensors [B, ...], as `train_batches` gives them to one replica.
      rows: B.
      num_replicas: replicas over all workers.
      replica_offset: this worker's first replica.
      local_replicas: this worker's number of replicas.

    Returns:
      Dataset of dicts, for every batch this worker's replicas in ascending order.
    """
    share = rows // num_replicas
    first = replica_offset * share

    @as_it_is
    def cut(batch: Mapping[str, tf.Tensor]) -> tf.data.Dataset:
        mine = {k: v[first : first + local_replicas * share] for k, v in batch.items()}
        return tf.data.Dataset.from_tensor_slices(mine).batch(share, True)

    endless = tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY)
    return finish(batches.flat_map(cut).apply(endless))


def record_stream(
    files: Sequence[str], seed: int, skip: int, shuffle: bool, block_records: int
) -> tf.data.Dataset:
    """Infinite stream of serialised records of epoch after epoch, from `skip` on.

    What is skipped is never parsed, and whole epochs are not even read.

    Args:
      files: TFRecord files.
      seed: of every epoch's order.
      skip: records to leave out.
      shuffle: False keeps the files' order.
      block_records: records shuffled at once, see `train_batches`.

    Returns:
      Dataset of string [].
    """
    # Where the first epoch ends is of interest only to who skips beyond it.
    num_records = tfrecord.count(files, skip + 1)
    first_epoch, skip_records = divmod(skip, num_records)

    @as_it_is
    def epoch_records(epoch: tf.Tensor) -> tf.data.Dataset:
        skipped = tf.where(epoch == first_epoch, tf.constant(skip_records, tf.int64), 0)
        if not shuffle:
            return _read(list(files)).skip(skipped)
        names = draws.shuffled(
            tf.constant(list(files)), draws.fold(seed, draws.FILE_ORDER, epoch)
        )
        first_block = skipped // block_records
        blocks = _read(names).skip(first_block * block_records).batch(block_records)

        @as_it_is
        def shuffle_block(index: tf.Tensor, block: tf.Tensor) -> tf.Tensor:
            order = tf.range(tf.size(block))
            draw = draws.fold(draws.fold(seed, draws.RECORD_ORDER, epoch), index)
            order = draws.shuffled(order, draw)
            start = tf.where(index == first_block, skipped % block_records, 0)
            return tf.gather(block, order[start:])

        return blocks.enumerate(first_block).map(shuffle_block).unbatch()

    epochs = tf.data.Dataset.range(first_epoch, tf.int64.max)
    return epochs.flat_map(epoch_records)


def _replica_batches(
    spec: feature_spec.FeatureSpec,
    columns: dict[str, tf.Tensor | tf.RaggedTensor],
    lengths: tf.Tensor,
    order: tf.Tensor,
    places: tuple[tf.Tensor, tf.Tensor, tf.Tensor],
    buckets: tuple[int, ...],
    slices: _Slices,
) -> tf.data.Dataset:
    """Cuts a parsed pool into padded batches for the local replicas.

    Args:
      spec: what the columns are.
      columns: the parsed pool.
      lengths: int32 [pool].
      order: int32: which row of the pool comes where.
      places: all int32 [n]: where in `order` the batches to give begin, in this order;
        where their rows end; and where those end that fill them up, which repeat the
        last one and are not real examples.
      buckets: ascending lengths.
      slices: which rows of a batch are whose.
    """
    with tf.control_dependencies([_check_lengths(lengths, buckets)]):
        order = tf.identity(order)
    # Batch after batch, within it replica after replica.
    replicas = tf.tile(
        tf.range(slices.offset, slices.offset + slices.local), [tf.size(places[0])]
    )
    bounds = [tf.repeat(bound, slices.local) for bound in places]

    @as_it_is
    def to_batch(
        start: tf.Tensor, end: tf.Tensor, filled: tf.Tensor, replica: tf.Tensor
    ):
        size = slices.batch_size or filled - start
        longest = tf.reduce_max(tf.gather(lengths, order[start:end]))
        length = _bucket_of(longest, buckets)
        number = size // slices.replicas
        positions = start + replica * number + tf.range(number)
        rows = tf.gather(order, tf.minimum(positions, end - 1))
        chosen = {name: tf.gather(column, rows) for name, column in columns.items()}
        chosen[feature_spec.REAL] *= tf.cast(positions < end, tf.int32)
        return spec.to_batch(chosen, tf.gather(lengths, rows), number, length)

    return tf.data.Dataset.from_tensor_slices((*bounds, replicas)).map(to_batch)


def _by_bucket(lengths: tf.Tensor, buckets: tuple[int, ...]) -> tf.Tensor:
    """Row numbers in the order of their buckets, otherwise in the given order.

    Sorting by the exact length would cost the same padding and give less random
    batches.
    """
    rows = tf.range(tf.size(lengths))
    # Unique keys: the order does not rest on the sort being stable.
    keys = tf.cast(_bucket_index(lengths, buckets), tf.int64) * tf.size(rows, tf.int64)
    return tf.cast(tf.argsort(keys + tf.cast(rows, tf.int64)), tf.int32)


def _bucket_index(lengths: tf.Tensor, buckets: tuple[int, ...]) -> tf.Tensor:
    """Places in `buckets` of the smallest that hold these lengths; few operations."""
    return tf.math.count_nonzero(lengths[..., None] > buckets, axis=-1)


def _bucket_of(longest: tf.Tensor, buckets: tuple[int, ...]) -> int | tf.Tensor:
    """The smallest bucket that holds `longest`; an int where there is only one."""
    if len(buckets) == 1:
        return buckets[0]
    return tf.gather(tf.constant(buckets), _bucket_index(longest, buckets))


def _check_lengths(lengths: tf.Tensor, buckets: tuple[int, ...]) -> tf.Operation:
    """Asserts that the largest bucket holds every row."""
    longest = tf.reduce_max(lengths)
    fault = f"a record is longer than the largest bucket, {buckets[-1]}:"
    return feature_spec.assertion(longest <= buckets[-1], fault, longest)


def _checked_buckets(buckets: Sequence[int]) -> tuple[int, ...]:
    """The buckets as a tuple, if they are positive and ascending."""
    buckets = tuple(int(bucket) for bucket in buckets)
    if not buckets or buckets[0] < 1 or sorted(set(buckets)) != list(buckets):
        raise UserError(f"buckets must be positive and ascending, got {buckets}")
    return buckets


def _count_up_to(files: Sequence[str], limit: int) -> int:
    """Number of records, counted no further than `limit`; none is an error."""
    if not files:
        raise UserError("no TFRecord files were given")
    found = tfrecord.count(files, limit)
    if not found:
        raise UserError(f"no records in {', '.join(files)}")
    return found


def _read(files: list[str] | tf.Tensor) -> tf.data.Dataset:
    return tf.data.TFRecordDataset(files, buffer_size=1 << 20)


def finish(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Keeps the order under every optimisation, and one step ahead of the model."""
    options = tf.data.Options()
    options.deterministic = True
    # They find nothing to do here, in as much time as it takes to begin.
    options.experimental_optimization.apply_default_optimizations = False
    # Already cut for the replicas: tf.distribute must not cut again.
    options.experimental_distribute.auto_shard_policy = (
        tf.data.experimental.AutoShardPolicy.OFF
    )
    options.autotune.enabled = False
    return dataset.prefetch(4).with_options(options)
