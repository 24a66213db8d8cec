"""A record that cannot be used is named by file and number, whenever it is met."""

import itertools
import pathlib
import re

import numpy as np
import pytest
import scripts
import tensorflow as tf
import tiny
import tiny_elmo
import tiny_pretraining
import tiny_streams
from test_language_model import trainer

from data_pipeline import record_faults, tfrecord
from data_pipeline.corpora import sentence_streams, token_streams
from data_pipeline.record_faults import Search
from errors import UserError
from tasks.task import Records

pytestmark = pytest.mark.long

BAD = 25  # the number of the record that is wrong


def write(path, change, number=30):
    """Writes records, one of them changed; returns the file's path."""
    rows = list(tiny_pretraining.rows(number))
    change(rows[BAD])
    tfrecord.write(str(path), map(tiny_pretraining.to_example, rows))
    return str(path)


def put(name, value, place=-1):
    """Returns a change of one value."""

    def change(row):
        kind = np.float32 if isinstance(value, float) else np.int64
        row[name] = row[name].astype(kind)
        row[name][place] = value

    return change


def leave_out(name):
    """Returns a change that forgets a feature."""
    return lambda row: row.pop(name)


def lengthen(row):
    """Makes a record longer than --max_seq_length."""
    for name in tiny_pretraining.NAMES[:3]:
        row[name] = np.resize(row[name], 25)


VOCABULARY = len(tiny.VOCAB)
FAULTS = {
    "id": (put("input_ids", VOCABULARY), rf"input_ids {VOCABULARY}; wanted 0 to 36"),
    "negative": (put("input_ids", -1), "has input_ids -1; wanted 0 to 36, as the"),
    "64 bits": (put("input_ids", 2**40 + 5), f"has input_ids {2**40 + 5}; wanted"),
    "label": (put("masked_lm_ids", 99), "has masked_lm_ids 99; wanted 0 to 36"),
    "segment": (
        put("segment_ids", 2),
        "has segment_ids 2; wanted 0 to 1, .*type_vocab",
    ),
    "order": (put("next_sentence_labels", 2), "next_sentence_labels 2; wanted 0 to 1"),
    "place": (put("masked_lm_positions", 24), "positions 24, outside its real length"),
    "mask": (put("input_mask", 3), "has input_mask 3; wanted 0 to 1"),
    "weight": (
        put("masked_lm_weights", np.nan),
        "lm_weights nan; wanted 0 to 1",
    ),
    "long": (lengthen, "has length 25, but --max_seq_length=24"),
    "no mask": (
        leave_out("input_mask"),
        "has 0 input_mask, not one for each of",
    ),
    "no segments": (leave_out("segment_ids"), "has 0 segment_ids, not one for each"),
    "no places": (leave_out("masked_lm_positions"), "has no masked_lm_positions"),
    "no labels": (leave_out("masked_lm_ids"), "has 0 masked_lm_ids, not one for each"),
    "no weights": (leave_out("masked_lm_weights"), "0 masked_lm_weights, not one for"),
}


def meet(task, files):
    """Reads training batches until a fault is met; looks at no file before."""
    with record_faults.named([(files, task.feature_spec)]):
        records = Records(tuple(files), None)
        batches = task.train_batches(records, batch_size=8, seed=0)
        for _ in itertools.islice(batches, 30):
            pass


@pytest.mark.parametrize("fault", FAULTS)
def test_what_a_record_must_not_be_is_refused_and_found(tmp_path, fault):
    change, message = FAULTS[fault]
    good = tiny_pretraining.write(tmp_path / "good", 20)
    bad = write(tmp_path / "bad", change)
    spec = tiny_pretraining.task().feature_spec
    search = Search([good, bad], spec)
    (found,) = search
    assert re.search(f"bad: record {BAD} .*{message}", found)
    assert search.num_records == 50
    records = list(tf.data.TFRecordDataset(bad).as_numpy_iterator())
    spec.parse(tf.constant(records[:BAD] + records[BAD + 1 :]))
    with pytest.raises(tf.errors.InvalidArgumentError):
        spec.parse(tf.constant(records))


@pytest.mark.parametrize("fault", ["id", "no segments", "long"])
def test_training_meets_it_whatever_the_order(tmp_path, fault):
    change, message = FAULTS[fault]
    good = tiny_pretraining.write(tmp_path / "good", 20)
    bad = write(tmp_path / "bad", change)
    with pytest.raises(UserError, match=f"bad: record {BAD} .*{message}"):
        meet(tiny_pretraining.task(), [good, bad])


def test_good_records_have_no_fault_padded_or_not(tmp_path):
    task = tiny_pretraining.task()
    files = [
        tiny_pretraining.write(tmp_path / str(padded), 30, padded=padded)
        for padded in (False, True)
    ]
    meet(task, files)
    assert list(Search(files, task.feature_spec)) == []


@pytest.mark.parametrize("name", ["input_ids", "next_sentence_labels"])
def test_what_is_no_example_ends_its_file(tmp_path, name):
    bad = write(tmp_path / "bad", leave_out(name))
    task = tiny_pretraining.task()
    message = f"bad: no examples of create_pretrain.*: record {BAD}: .*{name}"
    with pytest.raises(UserError, match=message):
        meet(task, [bad])
    search = Search([bad, bad], task.feature_spec)
    assert len(list(search)) == 2
    assert search.num_records == 2 * BAD


def flip(path):
    """Changes one byte of the bad record."""
    data = bytearray(pathlib.Path(path).read_bytes())
    records = list(tf.data.TFRecordDataset(path).take(BAD).as_numpy_iterator())
    data[sum(len(record) + 16 for record in records) + 30] ^= 1
    pathlib.Path(path).write_bytes(data)
    return path


def test_a_flipped_byte_is_named_with_what_stands_before_it(tmp_path):
    def change(row):
        del row["segment_ids"]

    path = write(tmp_path / "bad", change)
    two = list(tf.data.TFRecordDataset(path).as_numpy_iterator())
    two[7] = two[BAD]
    tfrecord.write(path, two)
    task = tiny_pretraining.task()
    assert len(list(Search([path], task.feature_spec))) == 2
    first, second = Search([flip(path)], task.feature_spec)
    assert "record 7 has 0 segment_ids" in first
    assert re.search(rf"bad: record {BAD} is damaged: corrupted record at \d+$", second)
    clean = flip(tiny_pretraining.write(tmp_path / "clean", 30))
    with pytest.raises(UserError, match=f"clean: record {BAD} is damaged"):
        meet(task, [clean])


def test_gpts_records_are_checked_too(tmp_path):
    rows = list(tiny_streams.rows(30))
    rows[BAD][0] = len(tiny_streams.VOCAB)
    bad = str(tmp_path / "bad")
    tfrecord.write(bad, token_streams.encode_rows(rows))
    with pytest.raises(UserError, match=f"bad: record {BAD} has input_ids 21; wanted"):
        meet(tiny_streams.task(), [bad])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda row: row.update(input_ids=[0, 15, 1]), "has input_ids 15; wanted 0 to"),
        (
            lambda row: row.update(words=[]),
            "has 0 words, not one for each of",
        ),
        (None, "is damaged"),
    ],
)
def test_elmos_records_are_checked_too(tmp_path, change, message):
    rows = [{"input_ids": [0, 4, 1], "words": ["<S>", "a", "</S>"]} for _ in range(30)]
    if change:
        change(rows[BAD])
    bad = str(tmp_path / "bad")
    tfrecord.write(bad, map(sentence_streams.SPEC.to_example, rows))
    if not change:
        flip(bad)
    task = tiny_elmo.task()
    with pytest.raises(UserError, match=f"bad: record {BAD} {message}"):
        task.train_records([bad])
    with pytest.raises(UserError, match=f"bad: record {BAD} {message}"):
        meet(task, [bad])


def test_training_and_evaluation_name_it(tmp_path):
    task = tiny_pretraining.task()
    bad = write(tmp_path / "bad", put("masked_lm_ids", VOCABULARY))
    run = trainer(task, tmp_path / "out", num_train_steps=40)
    message = f"bad: record {BAD} has masked_lm_ids {VOCABULARY}"
    with pytest.raises(UserError, match=message):
        run.evaluate(task.eval_records([bad]))
    with pytest.raises(UserError, match=message):
        run.train(task.train_records([bad]), None, {})


def test_an_error_that_no_record_explains_stays_what_it_is(tmp_path):
    task = tiny_pretraining.task()
    good = tiny_pretraining.write(tmp_path / "good", 5)
    with (
        pytest.raises(tf.errors.InvalidArgumentError, match="not of a record"),
        record_faults.named([([good], task.feature_spec)]),
    ):
        raise tf.errors.InvalidArgumentError(None, None, "not of a record")


def check_input(tmp_path, *more):
    _, config = tiny.write_model(tmp_path)
    scripts.run(
        "run_pretraining",
        f"--bert_config_file={config}",
        f"--output_dir={tmp_path}/out",
        "--max_seq_length=24",
        "--max_predictions_per_seq=4",
        "--check_input",
        *more,
    )


def test_all_records_are_checked_on_request(tmp_path, capsys):
    files = [tiny_pretraining.write(tmp_path / name, 20) for name in "ab"]
    check_input(tmp_path, f"--input_file={files[0]}", f"--eval_input_file={files[1]}")
    assert capsys.readouterr().out == "checked_files = 2\nchecked_records = 40\n"
    assert not (tmp_path / "out").exists()
    wrong = [put("segment_ids", 5), put("input_ids", 77, 0)]
    for number, change in enumerate(wrong):
        write(tmp_path / f"bad-{number}", change)
    with pytest.raises(UserError) as caught:
        check_input(tmp_path, f"--input_file={tmp_path}/bad-?", "--do_train")
    lines = str(caught.value).splitlines()
    assert lines[0] == "records that cannot be used:"
    assert [f"bad-{i}: record {BAD} has" in lines[1 + i] for i in range(2)] == [
        True
    ] * 2
    assert len(lines) == 3
    assert not (tmp_path / "out").exists()
