"""The compute threads: whose turn it is, what is batched, what fails, what is left."""

import threading
import time

import pytest

from serving import engine
from serving.engine import Engine, Limits, Stopped


class Recorded:
    """Doubles numbers; the first batch waits until the queue is as a test wants it.

    Attributes:
      batches: rows and size of each.
    """

    padding_cost = 1.0

    def __init__(self):
        self.batches, self.go = [], threading.Event()

    def run(self, rows, size):
        self.go.wait(10)
        self.batches.append((list(rows), size))
        if "bad" in rows:
            raise ArithmeticError("bad numbers")
        return [2 * row for row in rows] + [None] * (size - len(rows))


@pytest.fixture
def busy():
    """A work, and an engine that is held up by one of its rows."""
    work = Recorded()
    made = Engine(Limits(max_batch_size=8, max_batch_tokens=64, priority_batch_size=2))
    first = made.submit(work, [0], [8])
    while made.waiting():
        time.sleep(0.001)
    yield work, made, first
    work.go.set()
    made.stop()


def test_values_come_in_the_order_of_rows_whatever_their_lengths(busy):
    work, made, first = busy
    lengths = [8, 16, 8, 32, 16, 8, 8, 8, 8, 8, 8, 8]
    futures = [made.submit(work, range(i, i + 12), lengths) for i in (100, 200, 300)]
    work.go.set()
    assert first.result(10) == [0]
    for start, future in zip((100, 200, 300), futures, strict=True):
        assert future.result(10) == [2 * (start + i) for i in range(12)]
    for rows, size in work.batches:
        assert len(rows) <= size <= 8
    assert sum(len(rows) for rows, _ in work.batches) == 37
    assert made.counters.rows == 37


def test_a_batch_is_of_one_length_within_its_tokens():
    limits = Limits(max_batch_size=100, max_batch_tokens=1000)
    assert [limits.most(n) for n in (5, 10, 300, 2000, 0)] == [100, 100, 3, 1, 100]
    assert list(limits.sizes(200)) == [1, 2, 4, 5]


def test_a_batch_has_most_tokens_for_what_it_costs(busy, monkeypatch):
    work, made, _ = busy
    monkeypatch.setattr(engine, "_A_CALL", 8)
    made.submit(work, ["long"], [16])
    made.submit(work, ["short", "tiny"], [12, 1])
    made.submit(work, ["long2"], [16])
    work.go.set()
    made.stop()
    # Shares of real tokens: 32 of 8 + 2 x 16; all rows 45 of 8 + 4 x 16.
    assert work.batches[1:] == [(["long", "long2"], 2), (["short"], 1), (["tiny"], 1)]


def test_padding_is_cheaper_than_calls_that_cost_much(busy, monkeypatch):
    work, made, _ = busy
    monkeypatch.setattr(engine, "_A_CALL", 100)
    made.submit(work, ["short"], [8])
    made.submit(work, ["long", "short2"], [16, 8])
    made.submit(work, ["longer"], [64])
    work.go.set()
    made.stop()
    # Of 64, a batch has room for one, which would not be the first in line.
    assert work.batches[1] == (["short", "long", "short2"], 4)


def test_what_is_left_out_of_a_batch_costs_little(busy, monkeypatch):
    work, made, _ = busy
    monkeypatch.setattr(engine, "_A_CALL", 8)
    work.padding_cost = 0.1
    made.submit(work, ["long"], [16])
    made.submit(work, ["short", "short2"], [12, 12])
    work.go.set()
    made.stop()
    # Shares: 40 of 8 + 40 + .1 x 24; were padding paid for, rather 28 of 8 + 2 x 16.
    assert work.batches[1:] == [(["long", "short", "short2"], 4)]


class Together:
    """Answers when as many batches are computed at a time as there should be."""

    padding_cost = 1.0

    def __init__(self, number):
        self.batches, self._all = [], threading.Barrier(number)

    def run(self, rows, size):
        del size
        self._all.wait(10)
        self.batches.append(list(rows))
        if "bad" in rows:
            raise ArithmeticError("bad numbers")
        return [2 * row for row in rows]


def test_free_threads_share_a_request_and_its_values_keep_their_order():
    work = Together(2)
    made = Engine(Limits(max_batch_size=8), num_threads=2)
    while made._free < 2:
        time.sleep(0.001)
    assert made.submit(work, range(6), [80] * 6).result(20) == [0, 2, 4, 6, 8, 10]
    assert sorted(map(len, work.batches)) == [3, 3]
    assert (made.counters.batches, made.counters.rows) == (2, 6)
    with pytest.raises(ArithmeticError, match="bad numbers"):
        made.submit(work, ["bad"] * 6, [80] * 6).result(20)
    assert made.alive
    made.stop()
    assert made.counters.failed_batches == 2
    assert not made.alive


def test_few_tokens_are_not_worth_a_second_call():
    work = Together(1)
    made = Engine(Limits(max_batch_size=8), num_threads=2)
    while made._free < 2:
        time.sleep(0.001)
    made.submit(work, range(6), [8] * 6).result(20)
    made.stop()
    assert list(map(len, work.batches)) == [6]


def test_those_who_are_answered_together_are_computed_together_again(busy, monkeypatch):
    work, made, _ = busy
    monkeypatch.setattr(engine, "_AGAIN", 60.0)
    answered = [made.submit(work, [i], [8]) for i in (1, 2, 3)]
    work.go.set()
    assert [future.result(10) for future in answered] == [[2], [4], [6]]
    again = [made.submit(work, [i], [8]) for i in (4, 5)]
    time.sleep(0.02)
    assert made.waiting() == 2
    again.append(made.submit(work, [6], [8]))
    assert [future.result(10) for future in again] == [[8], [10], [12]]
    assert [len(rows) for rows, _ in work.batches[1:]] == [3, 3]
    last = made.submit(work, [7], [8])
    made.stop()  # waits for nobody
    assert last.result(0) == [14]


def test_a_small_request_overtakes_a_large_one_that_is_not_starved(busy, monkeypatch):
    work, made, _ = busy
    large = made.submit(work, ["l"] * 16, [8] * 16)
    small = made.submit(work, ["s"], [8])
    monkeypatch.setattr(engine, "_PATIENCE", -1.0)
    later = made.submit(work, ["z"] * 3, [8] * 3)  # as if a second had passed
    work.go.set()
    for future in (large, small, later):
        future.result(10)
    order = [row for rows, _ in work.batches[1:] for row in rows]
    assert order[:5] == ["z", "z", "z", "s", "l"]


def test_a_computation_that_fails_answers_its_own_request_and_no_other(busy):
    work, made, _ = busy
    futures = [
        made.submit(work, rows, [8] * 2) for rows in ([1, 2], ["bad", 4], [5, 6])
    ]
    work.go.set()
    assert futures[0].result(10) == [2, 4]
    assert futures[2].result(10) == [10, 12]
    with pytest.raises(ArithmeticError, match="bad numbers"):
        futures[1].result(10)
    assert made.submit(work, [7], [8]).result(10) == [14]
    assert made.alive


def test_a_request_that_is_taken_back_is_not_computed(busy):
    work, made, _ = busy
    gone, kept = (made.submit(work, [name] * 20, [8] * 20) for name in "gk")
    assert gone.cancel()
    assert made.waiting() == 20
    work.go.set()
    kept.result(10)
    assert not any("g" in rows for rows, _ in work.batches)


def test_what_is_queued_is_computed_before_the_end(busy):
    work, made, _ = busy
    queued = made.submit(work, range(20), [8] * 20)
    work.go.set()
    made.stop()
    assert queued.result(0) == [2 * i for i in range(20)]
    assert not made.alive
    with pytest.raises(Stopped, match="being stopped"):
        made.submit(work, [1], [8])
