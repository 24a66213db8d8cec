"""The order of data: exact resume, any number of replicas, every example once."""

import collections
import functools
import itertools

import numpy as np
import pytest
import tensorflow as tf

from data_pipeline import batching, cuts, draws, tfrecord
from data_pipeline.feature_spec import Feature, FeatureSpec

pytestmark = pytest.mark.long

SPEC = FeatureSpec(
    [
        Feature("input_ids", tf.int32, (None,)),
        Feature("positions", tf.int32, (None,), pad_to=3),
        Feature("label_ids", tf.int32, is_input=False),
    ]
)
BUCKETS = (4, 8, 13)
LENGTHS = np.random.default_rng(5).integers(1, 14, 103)


def record(index):
    values = {
        "input_ids": np.full(LENGTHS[index], index + 1),
        "positions": [index] * (index % 4),
        "label_ids": index,
    }
    return SPEC.to_example(values, index)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """103 records in two files of unequal size."""
    folder = tmp_path_factory.mktemp("records")
    paths = [str(folder / "a"), str(folder / "b")]
    tfrecord.write(paths[0], [record(i) for i in range(37)])
    tfrecord.write(paths[1], [record(i) for i in range(37, len(LENGTHS))])
    return paths


@functools.cache
def first_batches(*files):
    """The batches that most tests look at; they are not to be written to."""
    return read(files, 75)


def train(files, count, **changes):
    """Returns the first batches."""
    return read(files, count, **changes) if changes else first_batches(*files)[:count]


def read(files, count, **changes):
    """Reads the first batches."""
    arguments = {"batch_size": 8, "seed": 1, "buckets": BUCKETS, "pool_batches": 5}
    dataset = batching.train_batches(list(files), SPEC, **{**arguments, **changes})
    return list(dataset.take(count).as_numpy_iterator())


def evaluate(files, **changes):
    arguments = {"batch_size": 8, "buckets": BUCKETS, "pool_batches": 3}
    dataset = batching.eval_batches(files, SPEC, **{**arguments, **changes})
    return list(dataset.as_numpy_iterator())


def indices(batches):
    return [batch["example_index"].tolist() for batch in batches]


def assert_same(batches, others):
    assert len(batches) == len(others)
    for batch, other in zip(batches, others, strict=True):
        assert set(batch) == set(other)
        for name in batch:
            np.testing.assert_array_equal(batch[name], other[name], err_msg=name)


@pytest.mark.parametrize("block", [1_000_000, 20])
def test_resuming_gives_the_batches_the_uninterrupted_stream_would(files, block):
    whole = train(files, 75, shuffle_records=block)
    # In a pool, at its end, in the next one, and in later epochs (13 batches each).
    for start in (1, 4, 5, 12, 14, 38, 66):
        resumed = train(files, 9, start_step=start, shuffle_records=block)
        assert_same(resumed, whole[start : start + 9])


def test_resuming_in_the_files_order_is_exact_too(files):
    whole = train(files, 31, shuffle=False)
    assert_same(train(files, 9, shuffle=False, start_step=22), whole[22:])


@pytest.mark.parametrize("replicas", [2, 4])
def test_replicas_together_get_the_rows_of_one_device(files, replicas):
    one = train(files, 20)
    parts = train(files, 20 * replicas, num_replicas=replicas, local_replicas=replicas)
    for step, whole in enumerate(one):
        mine = parts[step * replicas : (step + 1) * replicas]
        for name, value in whole.items():
            joined = np.concatenate([part[name] for part in mine])
            np.testing.assert_array_equal(joined, value, err_msg=name)


def test_two_workers_share_the_rows_of_one_also_after_resuming(files):
    common = {"num_replicas": 4, "start_step": 7}
    one = train(files, 40, **common, local_replicas=4)
    workers = [
        train(files, 20, **common, replica_offset=offset, local_replicas=2)
        for offset in (0, 2)
    ]
    for step in range(10):
        here = slice(2 * step, 2 * step + 2)
        assert_same(one[4 * step : 4 * step + 4], workers[0][here] + workers[1][here])


@pytest.mark.parametrize("block", [1_000_000, 20])
def test_every_epoch_of_the_stream_holds_each_record_once(files, block):
    # One batch a pool: the batches are the stream.
    batches = train(files, 3 * 103, batch_size=1, pool_batches=1, shuffle_records=block)
    stream = np.concatenate(indices(batches)).reshape(3, 103)
    for epoch in stream:
        assert sorted(epoch) == list(range(103))
    assert (stream[0] != stream[1]).any()


def test_pools_only_rearrange_the_stream(files):
    grouped = indices(train(files, 30))
    stream = indices(train(files, 240, batch_size=1, pool_batches=1))
    for pool in range(6):
        inside = itertools.chain(*grouped[pool * 5 : pool * 5 + 5])
        expected = itertools.chain(*stream[pool * 40 : pool * 40 + 40])
        assert sorted(inside) == sorted(expected)


def test_pool_never_exceeds_the_data_set(files):
    # 12 whole batches in 103 records: a pool of 500 would gather 39 copies of each.
    batches = train(files, 12, pool_batches=500)
    seen = collections.Counter(itertools.chain(*indices(batches)))
    assert max(seen.values()) == 1
    assert len(seen) == 96


def test_batch_larger_than_the_data_set_takes_several_epochs(files):
    (batch,) = train(files, 1, batch_size=250)
    seen = collections.Counter(batch["example_index"].tolist())
    assert set(seen) == set(range(103))
    assert sorted(set(seen.values())) == [2, 3]


def test_order_follows_the_seed_alone(files):
    tf.random.set_seed(11)
    first = indices(read(files, 15))
    tf.random.set_seed(12)
    assert indices(read(files, 15)) == first
    assert indices(read(files, 15, seed=2)) != first


def test_order_of_files_is_drawn_too_when_blocks_are_small(files):
    first_files = set()
    for seed in range(9):
        (batch,) = train(files, 1, seed=seed, shuffle_records=2, batch_size=2)
        first_files.add(batch["example_index"][0] >= 37)
        if len(first_files) == 2:
            return
    pytest.fail("every seed began with the same file")


def test_grouping_saves_padding_and_pads_to_the_smallest_bucket(files):
    batches = train(files, 26)
    for batch in batches:
        longest = batch["input_mask"].sum(axis=1).max()
        width = batch["input_ids"].shape[1]
        assert width == min(b for b in BUCKETS if b >= longest)
    padded = sum(batch["input_ids"].size for batch in batches)
    ungrouped = sum(
        batch["input_ids"].size for batch in train(files, 26, pool_batches=1)
    )
    assert padded < 0.85 * ungrouped


def test_batches_of_each_pool_come_in_an_order_of_its_own(files):
    widths = [batch["input_ids"].shape[1] for batch in train(files, 60)]
    pools = [widths[i : i + 5] for i in range(0, 60, 5)]
    # In a fixed order one place would hold the narrowest batch of every pool.
    for place in range(5):
        assert any(pool[place] > min(pool) for pool in pools)


def test_rows_hold_their_record_masked_and_padded(files):
    for batch in train(files, 13):
        for row, index in enumerate(batch["example_index"]):
            length = LENGTHS[index]
            ids = batch["input_ids"][row]
            assert ids[:length].tolist() == [index + 1] * length
            assert not ids[length:].any()
            assert batch["input_mask"][row].tolist() == [1] * length + [0] * (
                len(ids) - length
            )
            positions = [index] * (index % 4) + [0] * (3 - index % 4)
            assert batch["positions"][row].tolist() == positions
            assert batch["label_ids"][row] == index
        assert batch["is_real_example"].tolist() == [1] * 8


def test_files_order_is_kept_without_shuffling(files):
    batches = train(files, 14, shuffle=False)
    stream = list(itertools.chain(*indices(batches)))
    assert stream == [i % 103 for i in range(112)]


def test_one_bucket_gives_static_shapes(files):
    for make in (batching.train_batches, batching.eval_batches):
        seed = {"seed": 0} if make is batching.train_batches else {}
        dataset = make(files, SPEC, batch_size=6, buckets=(13,), num_replicas=2, **seed)
        for name, spec in dataset.element_spec.items():
            assert spec.shape.is_fully_defined(), name
        assert dataset.element_spec["input_ids"].shape == (3, 13)


def test_several_replicas_know_their_rows_when_tracing(files):
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    dataset = batching.train_batches(
        files,
        SPEC,
        batch_size=6,
        seed=0,
        buckets=BUCKETS,
        num_replicas=2,
        local_replicas=2,
    )
    iterator = iter(strategy.distribute_datasets_from_function(lambda _: dataset))

    @tf.function
    def shapes():
        for batch in strategy.experimental_local_results(next(iterator)):
            assert {value.shape[0] for value in batch.values()} == {3}

    shapes()


# Of 60 pieces on average, in pools of 45 records.
BY_PIECES = batching.ByPieces(60 / LENGTHS.mean())


@functools.cache
def batches_by_pieces(*files):
    """The first batches, which are not to be written to."""
    return read(files, 25, batch_size=BY_PIECES)


def pieces(batches):
    """Returns the pieces of each batch, without the rows that fill it up."""
    return np.array([np.sum(b["input_mask"].T * b["is_real_example"]) for b in batches])


def test_training_by_pieces_rearranges_pools_into_equally_full_batches(files):
    batches = batches_by_pieces(*files)
    full = pieces(batches)
    assert full.mean() == pytest.approx(60, rel=0.02)
    assert full.std() < 0.4 * pieces(train(files, 25)).std()
    stream = indices(train(files, 225, batch_size=1, pool_batches=1))
    for pool in range(5):
        inside = itertools.chain(*indices(batches[pool * 5 : pool * 5 + 5]))
        expected = itertools.chain(*stream[pool * 45 : pool * 45 + 45])
        assert sorted(inside) == sorted(expected)
    for start in (5, 17):  # at the end of a pool, and in one of the next epoch
        resumed = train(files, 4, batch_size=BY_PIECES, start_step=start)
        assert_same(resumed, batches[start : start + 4])


def test_replicas_and_micro_batches_leave_batches_by_pieces_as_they_are(files):
    whole = batches_by_pieces(*files)[:5]
    parted = batching.ByPieces(BY_PIECES.rows, micro_batches=3)
    workers = [
        train(files, 5, batch_size=parted, num_replicas=2, replica_offset=replica)
        for replica in (0, 1)
    ]
    fillers = 0
    for one, *parts in zip(whole, *workers, strict=True):
        assert [len(part["label_ids"]) % 3 for part in parts] == [0, 0]
        assert len(parts[0]["label_ids"]) == len(parts[1]["label_ids"])
        for name, value in one.items():
            joined = np.concatenate([part[name] for part in parts])
            real = joined[: len(value)]
            np.testing.assert_array_equal(real, value, err_msg=name)
        filled = np.concatenate([part["is_real_example"] for part in parts])
        assert not filled[len(one["label_ids"]) :].any()
        fillers += np.sum(filled == 0)
    assert fillers > 0


@pytest.mark.parametrize(
    ("lengths", "batches", "ends"),
    [
        # Shares of 5.2: each end is as near to one as a row can be.
        ([1, 1, 1, 2, 3, 3, 4, 5, 6], 5, [4, 6, 7, 8, 9]),
        ([5, 5, 5], 1, [3]),
        # Two rows have almost all; the others still get one each.
        ([40, 40, 1, 1, 1], 5, [1, 2, 3, 4, 5]),
        ([1, 1, 1, 40], 3, [2, 3, 4]),
        # 9 rows would be best: 8 or 10 are of those that XLA compiles for.
        ([1] * 27, 3, [8, 18, 27]),
    ],
)
def test_rows_are_cut_where_equal_shares_end(lengths, batches, ends):
    found = cuts.by_pieces(tf.constant(lengths), batches)
    np.testing.assert_array_equal(found, [[0, *ends[:-1]], ends])


@pytest.mark.parametrize("pool_batches", [1, 3, 50])
def test_evaluation_sees_every_record_once_and_can_restore_the_order(
    files, pool_batches
):
    batches = evaluate(files, pool_batches=pool_batches)
    assert len(batches) == 13
    labels = np.full(103, -1)
    seen = 0
    for batch in batches:
        real = batch["is_real_example"] == 1
        labels[batch["example_index"][real]] = batch["label_ids"][real]
        seen += real.sum()
        assert batch["input_ids"].shape[0] == 8
        assert (batch["input_mask"].sum(axis=1) > 0).all()
    assert seen == 103
    assert labels.tolist() == list(range(103))


def test_evaluation_groups_by_length(files):
    sizes = [
        sum(batch["input_ids"].size for batch in evaluate(files, pool_batches=pools))
        for pools in (50, 1)
    ]
    assert sizes[0] < 0.85 * sizes[1]


def test_workers_evaluate_the_same_number_of_batches_and_all_rows(files):
    one = evaluate(files)
    workers = [
        evaluate(files, num_replicas=4, replica_offset=offset, local_replicas=2)
        for offset in (0, 2)
    ]
    assert [len(batches) for batches in workers] == [26, 26]
    for step, whole in enumerate(one):
        here = slice(2 * step, 2 * step + 2)
        parts = workers[0][here] + workers[1][here]
        for name, value in whole.items():
            joined = np.concatenate([part[name] for part in parts])
            np.testing.assert_array_equal(joined, value, err_msg=name)


@pytest.fixture
def few_pieces(monkeypatch):
    """Batches by pieces of at most 40 positions, or 7 rows."""
    monkeypatch.setattr(cuts, "_POSITIONS", 40)
    monkeypatch.setattr(cuts, "_MOST_ROWS", 7)
    monkeypatch.setattr(batching, "_POOL_BY_PIECES", 50)


def test_batches_by_pieces_are_full_of_short_rows_or_of_few_long_ones(
    files, few_pieces
):
    batches = evaluate(files, batch_size=0)
    found = [index for row in indices(batches) for index in row]
    reals = np.concatenate([batch["is_real_example"] for batch in batches])
    assert sorted(np.array(found)[reals == 1]) == list(range(103))
    shapes = [batch["input_ids"].shape for batch in batches]
    # 3 x 13, 5 x 8 and 7 x 4 positions; less only in the last batch of 50 records.
    full = {13: 3, 8: 5, 4: 7}
    others = [shape for shape in shapes if shape[0] != full[shape[1]]]
    assert set(full.items()) <= {(length, rows) for rows, length in shapes}
    assert len(others) <= 3
    assert all(rows < full[length] for rows, length in others)
    # What fills up a batch is less than a quarter of its real rows.
    assert (reals == 0).sum() <= 3


def test_replicas_share_batches_by_pieces(files, few_pieces):
    one = evaluate(files, batch_size=0, num_replicas=2, local_replicas=2)
    assert {len(batch["label_ids"]) for batch in one} <= {1, 2, 3, 4}
    workers = [
        evaluate(files, batch_size=0, num_replicas=2, replica_offset=offset)
        for offset in (0, 1)
    ]
    for place, worker in enumerate(workers):
        assert_same(worker, one[place::2])
    lengths = [batch["input_ids"].shape for batch in one]
    assert lengths[::2] == lengths[1::2]
    real = [batch["label_ids"][batch["is_real_example"] == 1] for batch in one]
    assert sorted(np.concatenate(real)) == list(range(103))


def test_one_bucket_by_pieces_keeps_its_static_shape(files, few_pieces):
    dataset = batching.eval_batches(files, SPEC, batch_size=0, buckets=(13,))
    assert dataset.element_spec["input_ids"].shape == (3, 13)


def test_record_longer_than_the_largest_bucket_is_an_error(files):
    for run in (train, evaluate):
        arguments = {"count": 13} if run is train else {}
        with pytest.raises(tf.errors.InvalidArgumentError, match="largest bucket, 9"):
            run(files, **arguments, buckets=(4, 9))


def test_no_records_is_an_error_not_an_endless_wait(tmp_path):
    empty = str(tmp_path / "empty.tfrecord")
    tfrecord.write(empty, [])
    with pytest.raises(ValueError, match=r"no records in .*empty\.tfrecord"):
        train([empty], 1)
    with pytest.raises(ValueError, match="no TFRecord files"):
        evaluate([])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 7, "num_replicas": 2}, "batch_size 7 must be"),
        ({"num_replicas": 4, "replica_offset": 3, "local_replicas": 2}, "3 to 4"),
        ({"buckets": (8, 4)}, "ascending"),
        ({"buckets": ()}, "ascending"),
        ({"start_step": -1}, "start_step"),
    ],
)
def test_arguments_that_do_not_fit_are_named(files, change, message):
    with pytest.raises(ValueError, match=message):
        train(files, 1, **change)


def test_default_buckets_end_with_the_maximum():
    assert batching.default_buckets(128) == (16, 32, 48, 64, 96, 128)
    assert batching.default_buckets(100) == (16, 32, 48, 64, 96, 100)
    assert batching.default_buckets(9) == (9,)
    assert batching.default_buckets(1000)[-2:] == (512, 1000)


@pytest.mark.parametrize("seed", [0, -5, 2**40])
def test_draws_are_those_of_tensorflows_own_functions(seed):
    expected = tf.constant([seed, 0], tf.int64)
    for number in (3, 77):
        number = tf.constant(number, tf.int64)
        expected = tf.random.fold_in(expected, number, alg="philox")
    draw = draws.fold(seed, 3, 77)
    np.testing.assert_array_equal(draw, expected)
    shuffled = tf.random.experimental.stateless_shuffle
    np.testing.assert_array_equal(
        draws.shuffled(tf.range(99), draw),
        shuffled(tf.range(99), draw, alg="philox"),
    )
