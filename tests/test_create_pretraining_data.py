"""The script: same bytes for any number of workers, whole files, faults by name."""

import os
import pathlib
import re
import signal
import sys
import time

import forks
import numpy as np
import pytest
import scripts
import tensorflow as tf
import tiny
import tiny_streams
from tiny import ROOT
from tiny_corpus import config, read, write_corpus, write_vocab

from atomic_files import is_aside
from data_pipeline.corpora import bert_pairs as streaming
from data_pipeline.corpora.blocks import Blocks
from systems.bert import BertSystem
from tasks.language_model import MaskedLanguageModelTask

pytestmark = pytest.mark.long


def command(tmp_path, *more):
    return [
        sys.executable,
        str(ROOT / "create_pretraining_data.py"),
        f"--vocab_file={write_vocab(tmp_path)}",
        f"--output_file={tmp_path / 'out' / 'examples.tfrecord'}",
        "--max_seq_length=24",
        "--max_predictions_per_seq=6",
        "--masked_lm_prob=0.2",
        "--dupe_factor=3",
        "--num_workers=1",
        *more,
    ]


def report_of(command, capsys):
    """Runs the script here; returns what it prints."""
    capsys.readouterr()
    scripts.run("create_pretraining_data", *command[2:])
    lines = capsys.readouterr().out.splitlines()
    return dict(line.split(" = ") for line in lines)


def create(tmp_path, files, num_workers, **changed):
    outputs = [str(tmp_path / f"{num_workers}-{part}") for part in "abc"]
    report = streaming.create(
        files, write_vocab(tmp_path), True, config(**changed), outputs, num_workers
    )
    return report, [pathlib.Path(path).read_bytes() for path in outputs], outputs


def test_bytes_do_not_depend_on_the_number_of_workers(tmp_path):
    files = [write_corpus(tmp_path / f"{i}.txt", 90, seed=i) for i in range(2)]
    made = [create(tmp_path, files, n, dupe_factor=20) for n in (1, 2, 3)]
    assert made[0][1] == made[1][1] == made[2][1]
    report, _, outputs = made[0]
    assert report.documents == 180
    assert Blocks(180, report.tokens, 20, 7).num_blocks > 2
    shares = [len(read(path)) for path in outputs]
    assert sum(shares) == report.instances
    assert max(shares) - min(shares) <= 1
    assert create(tmp_path, files, 1, dupe_factor=20, random_seed=8)[1] != made[0][1]


def test_records_hold_real_lengths_and_both_files_words(tmp_path, capsys):
    a = write_corpus(tmp_path / "a.txt", 21)
    b = tmp_path / "b.txt"
    b.write_text("wt wt wt wt\nwt wt wt\n\n" * 9)
    flags = (f"--input_file={a},{b}", "--num_workers=2")
    report = report_of(command(tmp_path, *flags), capsys)
    records = read(tmp_path / "out" / "examples.tfrecord")
    assert len(records) == int(report["instances"]) > 50
    assert report["documents"] == "30"
    lengths, mixed = set(), 0
    for record in records:
        length = len(record["input_ids"])
        lengths.add(length)
        assert record["input_mask"] == [1] * length
        assert len(record["segment_ids"]) == length
        count = len(record["masked_lm_positions"])
        assert len(record["masked_lm_ids"]) == count
        assert record["masked_lm_weights"] == [1.0] * count
        second = record["input_ids"][record["segment_ids"].index(1) :]
        first = record["input_ids"][: -len(second)]
        of_b = [sum(t == 24 for t in side) > len(side) / 3 for side in (first, second)]
        mixed += record["next_sentence_labels"] == [1] and of_b[0] != of_b[1]
    assert len(lengths) > 5
    assert mixed > 5  # next sentences from the other file
    tokens = sum(len(record["input_ids"]) for record in records)
    padding = 1 - tokens / (24 * len(records))
    assert float(report["padding_share"]) == pytest.approx(padding, abs=1e-4)
    random = sum(record["next_sentence_labels"][0] for record in records)
    assert float(report["random_next_share"]) == pytest.approx(
        random / len(records), abs=1e-4
    )
    assert sorted(os.listdir(tmp_path / "out")) == ["examples.tfrecord"]


def test_shards_of_one_output_are_named_and_hold_everything(tmp_path, capsys):
    text = write_corpus(tmp_path / "a.txt", 21)
    report_of(command(tmp_path, f"--input_file={text}"), capsys)
    whole = read(tmp_path / "out" / "examples.tfrecord")
    flags = (f"--input_file={text}", "--num_output_shards=2")
    report_of(command(tmp_path, *flags), capsys)
    shards = [
        read(tmp_path / "out" / f"examples.tfrecord-0000{i}-of-00002") for i in range(2)
    ]
    assert shards == [whole[::2], whole[1::2]]


def test_padded_records_are_read_by_the_original_and_are_the_same_to_us(
    tmp_path, capsys
):
    text = write_corpus(tmp_path / "a.txt", 21)
    made = []
    for name, more in (("real", ()), ("padded", ("--padded_records",))):
        report_of(command(tmp_path, f"--input_file={text}", *more), capsys)
        path = tmp_path / "out" / "examples.tfrecord"
        made.append(str(path.rename(tmp_path / name)))
    real, padded = (read(path) for path in made)
    original = {  # name_to_features of google-research/bert's run_pretraining.py
        "input_ids": tf.io.FixedLenFeature([24], tf.int64),
        "input_mask": tf.io.FixedLenFeature([24], tf.int64),
        "segment_ids": tf.io.FixedLenFeature([24], tf.int64),
        "masked_lm_positions": tf.io.FixedLenFeature([6], tf.int64),
        "masked_lm_ids": tf.io.FixedLenFeature([6], tf.int64),
        "masked_lm_weights": tf.io.FixedLenFeature([6], tf.float32),
        "next_sentence_labels": tf.io.FixedLenFeature([1], tf.int64),
    }
    for record, short in zip(tf.data.TFRecordDataset(made[1]), real, strict=True):
        for name, found in tf.io.parse_single_example(record, original).items():
            wanted = np.zeros(found.shape, found.dtype.as_numpy_dtype)
            wanted[: len(short[name])] = short[name]
            np.testing.assert_array_equal(found, wanted, err_msg=name)
    assert {len(record["masked_lm_ids"]) for record in padded} == {6}
    task = MaskedLanguageModelTask(BertSystem(tiny.CONFIG), 24, 6)
    batches = [
        task.eval_batches(task.eval_records([path]), batch_size=8) for path in made
    ]
    for ours, theirs in zip(*batches, strict=True):
        assert ours.keys() == theirs.keys()
        for name in ours:
            np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)


FAULTS = {
    "one document": (b"wa wb\nwc\n\n", r"at least two documents.*got 1 \(.*line 1"),
    "no text": (b"\n\n", r"at least two documents.*got 0"),
    "single sentences": (b"wa\n\nwb wc\n\nwd\n", r"at least two sentences.*line 1"),
    "no blank line": (b"wa\nwb\nwc", r"bad\.txt, lines 1 to 3: no blank line"),
    "bad bytes": (b"wa\nwb\n\nw\xff\nwb\n", r"bad\.txt, line 4: not UTF-8"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_corpus_is_named_and_leaves_nothing(tmp_path, fault):
    data, message = FAULTS[fault]
    bad = tmp_path / "bad.txt"
    bad.write_bytes(data)
    output = tmp_path / "out" / "x.tfrecord"
    with pytest.raises(ValueError, match=message):
        streaming.create(
            [str(bad)], write_vocab(tmp_path), True, config(), [str(output)], 1
        )
    assert os.listdir(tmp_path / "out") == []


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--max_predictions_per_seq=4"], "max_predictions_per_seq=4 is too small"),
        (["--max_predictions_per_seq=0"], "--max_predictions_per_seq=0: "),
        (["--dupe_factor=0"], "--dupe_factor=0: "),
        (["--masked_lm_prob=1.5"], "--masked_lm_prob=1.5: "),
        (["--short_seq_prob=-0.1"], "--short_seq_prob=-0.1: "),
        (["--segmenter=jieba"], "--segmenter=jieba needs --do_whole_word_mask"),
        (["--compatible", "--pipeline=beam"], "excludes --pipeline=beam"),
        (["--beam_args=--streaming"], "--beam_args needs --pipeline=beam"),
        (["--num_output_shards=2", "--output_file=a,b"], "one --output_file, got 2"),
        (["--pipeline=beam", "--output_file=a[1]"], "takes the name for a pattern"),
    ],
)
def test_flags_that_do_not_fit_are_refused(tmp_path, flags, message):
    text = write_corpus(tmp_path / "a.txt", 5)
    with pytest.raises(ValueError, match=re.escape(message)):
        scripts.run(
            "create_pretraining_data",
            *command(tmp_path, f"--input_file={text}", *flags)[2:],
        )


def create_streams(tmp_path, *more):
    scripts.run(
        "create_pretraining_data",
        "--model_type=gpt",
        f"--vocab_file={tiny_streams.write_vocab(tmp_path)}",
        f"--input_file={tiny_streams.write_corpus(tmp_path / 'a.txt', 40)}",
        f"--output_file={tmp_path / 'out' / 'streams.tfrecord'}",
        *more,
    )


def test_gpts_streams_go_to_shards_of_contiguous_tokens(tmp_path, capsys):
    flags = ("--max_seq_length=24", "--num_output_shards=2", "--num_workers=1")
    create_streams(tmp_path, *flags)
    lines = capsys.readouterr().out.splitlines()
    report = dict(line.split(" = ") for line in lines)
    names = [f"streams.tfrecord-0000{i}-of-00002" for i in range(2)]
    assert sorted(os.listdir(tmp_path / "out")) == names
    records = read(*(tmp_path / "out" / name for name in names))
    assert int(report["instances"]) == len(records) > 5
    assert sorted(len(record["input_ids"]) for record in records)[1:] == [24] * (
        len(records) - 1
    )
    boundaries = sum(r["input_ids"].count(tiny_streams.BOUNDARY) for r in records)
    assert boundaries == int(report["documents"]) - 1 == 39
    tokens = sum(len(record["input_ids"]) for record in records)
    assert int(report["tokens"]) == tokens - boundaries
    assert {"unk_rate", "seconds", "tokens_per_second"} < set(report)
    assert not {"masked_share", "random_next_share"} & set(report)


@pytest.mark.parametrize(
    "flag",
    [
        *("max_predictions_per_seq=9", "masked_lm_prob=0.2", "short_seq_prob=0.3"),
        *("do_whole_word_mask", "dupe_factor=2", "do_lower_case", "compatible"),
        *("segmenter=jieba", "pipeline=beam", "beam_args=--streaming"),
        *("padded_records", "mask_probability=0.7"),
    ],
)
def test_berts_flags_are_refused_for_gpt_by_name(tmp_path, flag):
    with pytest.raises(ValueError, match=f"--{flag.partition('=')[0]}"):
        create_streams(tmp_path, f"--{flag}")
    assert not (tmp_path / "out").exists()


def test_a_killed_run_leaves_no_final_file_and_no_process(tmp_path, capsys):
    text = write_corpus(tmp_path / "a.txt", 100)
    flags = (f"--input_file={text}", "--dupe_factor=100000", "--num_workers=2")
    with open(os.devnull, "w") as nowhere:
        process = forks.start(command(tmp_path, *flags), stdout=nowhere, stderr=nowhere)
    children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children")
    unfinished = tmp_path / "out"
    for _ in range(1200):
        if any("tfrecord" in p.name and p.stat().st_size for p in unfinished.glob("*")):
            break
        assert process.poll() is None
        time.sleep(0.1)
    workers = [int(child) for child in children.read_text().split()]
    assert len(workers) >= 2
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (unfinished / "examples.tfrecord").exists()
    for _ in range(300):
        if not any(alive(worker) for worker in workers):
            break
        time.sleep(0.1)
    assert not any(alive(worker) for worker in workers)
    left = os.listdir(unfinished)
    assert len(left) == 2
    assert all(map(is_aside, left))
    report_of(command(tmp_path, f"--input_file={text}"), capsys)
    assert os.listdir(unfinished) == ["examples.tfrecord"]


def alive(process):
    try:
        state = pathlib.Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2]
    except OSError:
        return False
    return not state.startswith("Z")


def test_beam_makes_the_records_of_the_local_pipeline(tmp_path, capsys):
    pytest.importorskip("apache_beam")
    names = [write_corpus(tmp_path / f"{i}.txt", 40, seed=i) for i in range(3)]
    text = f"--input_file={','.join(names)}"
    local = report_of(command(tmp_path, text), capsys)
    wanted = read(tmp_path / "out" / "examples.tfrecord")
    beam = report_of(
        command(
            tmp_path,
            text,
            "--pipeline=beam",
            "--beam_args=--runner=FnApiRunner",
            "--num_output_shards=2",
        ),
        capsys,
    )
    shards = [
        tmp_path / "out" / f"examples.tfrecord-0000{i}-of-00002" for i in range(2)
    ]
    assert sorted(map(str, read(*shards))) == sorted(map(str, wanted))
    for name in ("documents", "sentences", "tokens", "unk_rate", "instances"):
        assert beam[name] == local[name]
