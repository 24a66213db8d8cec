"""Long work on a corpus tells how far it is, now and then, and changes nothing."""

import re

import pytest

from data_pipeline.corpora import corpus, progress_log


@pytest.fixture
def told(monkeypatch):
    """What is logged while every look at the clock takes four seconds."""
    seconds, lines = iter(range(0, 10**6, 4)), []
    monkeypatch.setattr(progress_log.time, "monotonic", lambda: next(seconds))
    monkeypatch.setattr(
        progress_log.logging, "info", lambda text, *values: lines.append(text % values)
    )
    return lines


def test_items_come_in_order_with_a_line_every_ten_seconds(told):
    assert list(progress_log.watch(range(3, 11), "working")) == list(range(3, 11))
    assert told == ["working: 37.5 %, 20 s left", "working: 75.0 %, 8 s left"]


def test_reading_is_told_as_a_share_of_all_files_bytes(tmp_path, monkeypatch, told):
    monkeypatch.setattr(corpus, "_CHUNK_BYTES", 16)
    paths = [tmp_path / name for name in ("a", "empty", "b")]
    for path, lines in zip(paths, (7, 0, 21), strict=True):
        path.write_text("é b\n\n" * lines)
    files = [str(path) for path in paths]
    portions = list(corpus.watched(files, corpus.portions))
    assert portions == [lines for path in files for lines in corpus.portions(path)]
    shares = [float(re.search(r"3 files: (\S+) %", line)[1]) for line in told]
    assert shares == sorted(shares)
    assert shares[0] == 25.0  # a quarter of the bytes is in the first
    assert shares[-1] > 90
