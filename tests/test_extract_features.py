"""The script and its library: the parent's numbers and files, and what is new."""

import dataclasses
import json
import os
import pathlib
import sys
import threading

import forks
import numpy as np
import pytest
import scripts
import tensorflow as tf
import tiny
from absl.flags import Error as FlagError

import modeling
from checkpoints import google_bert
from data_pipeline.features import lines as sentences
from errors import UserError
from inference import extraction
from inference.extraction import FeatureExtractor
from inference.extraction_config import ExtractionConfig
from systems.bert import BertSystem
from training import progress

pytestmark = pytest.mark.long

REDUCED = pathlib.Path(__file__).parent / "golden/bert/reduced.npz"
CONFIG = dataclasses.replace(tiny.CONFIG, num_hidden_layers=2)
LINES = [e.text_a for e in tiny.examples(13, seed=3)]
LINES[4], LINES[9] = "", "word1 good ||| word2 bad nonsense"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A folder with a tiny model of random weights."""
    folder = tmp_path_factory.mktemp("model")
    vocab, _ = tiny.write_model(folder)
    variables = modeling.named_variables(modeling.BertModel(CONFIG, seed=5))
    tensors = {name: variable.numpy() for name, variable in variables.items()}
    google_bert.save_folder(str(folder), tensors, CONFIG, vocab, True)
    return folder


@pytest.fixture
def text(tmp_path):
    """A file of lines of 1 to 20 words, one empty, one a pair."""
    path = tmp_path / "input.txt"
    path.write_text("".join(f"{line}\n" for line in LINES))
    return path


def extractor(model, strategy=None, **config):
    """Makes an extractor for short inputs."""
    config = ExtractionConfig(**({"max_seq_length": 24} | config))
    system = BertSystem(CONFIG, str(model / "vocab.txt"), init_checkpoint=str(model))
    return FeatureExtractor(config, system, strategy=strategy)


def values(model, lines=LINES, **kwargs):
    """Computes the values of lines; pooled ones as one array."""
    found = [row.values for row in extractor(model, **kwargs).extract(lines)]
    return found if kwargs.get("pooling", "none") == "none" else np.stack(found)


def run(model, text, output, *flags):
    """Runs the script in this process."""
    command = [f"--input_file={text}", f"--output_file={output}"]
    command += [f"--init_checkpoint={model}", "--max_seq_length=24", *flags]
    scripts.run("extract_features", *command)


def read_jsonl(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def encode(model, ids, segments=None):
    """Runs the plain model on one input; returns its layers [L, S, H]."""
    plain = modeling.BertModel(CONFIG, seed=5)
    segments = tf.constant([segments]) if segments else None
    outputs = plain(tf.constant([ids]), segment_ids=segments)
    return np.concatenate(outputs["all_encoder_layers"])


def ids_of(line):
    words = ["[CLS]", *line.split(), "[SEP]"]
    return [tiny.VOCAB.index(word) for word in words]


def test_layers_equal_the_originals_through_to_the_json(tmp_path, monkeypatch):
    golden = np.load(REDUCED)
    weights = {k[8:]: golden[k] for k in golden if k.startswith("weights/")}
    config = modeling.BertConfig(
        vocab_size=len(weights["bert/embeddings/word_embeddings"]),
        hidden_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=96,
        max_position_embeddings=24,
        type_vocab_size=2,
    )
    pieces = ["[UNK]", "[CLS]", "[SEP]"]
    pieces += [f"piece{i}" for i in range(len(pieces), config.vocab_size)]
    vocab = tmp_path / "vocab.txt"
    vocab.write_text("\n".join(pieces))
    model = str(tmp_path / "model")
    google_bert.save_folder(model, weights, config, str(vocab), True)
    # The original was given ids, not text.
    rows = []
    for i in range(2):
        size = golden["inputs/input_mask"][i].sum()
        ids, segments = (
            golden[f"inputs/{name}"][i, :size] for name in ("input_ids", "segment_ids")
        )
        content, window = np.ones(size, bool), np.arange(size)
        rows.append(sentences.Sentence(ids, segments, content, (window,), 0))
    monkeypatch.setattr(sentences, "to_sentences", lambda *_: rows)
    (tmp_path / "text").write_text("one\ntwo\n")
    output = tmp_path / "output.jsonl"
    run(model, tmp_path / "text", output, "--layers=-1,-3,1")
    for i, line in enumerate(read_jsonl(output)):
        assert line["linex_index"] == i
        assert len(line["features"]) == len(rows[i].input_ids)
        for place, feature in enumerate(line["features"]):
            assert feature["token"] == pieces[rows[i].input_ids[place]]
            assert [layer["index"] for layer in feature["layers"]] == [-1, -3, 1]
            np.testing.assert_allclose(
                [layer["values"] for layer in feature["layers"]],
                golden["outputs/all_layers"][[2, 0, 1], i, place],
                rtol=0,
                atol=1e-4,
            )


def test_json_has_the_parents_shape_tokens_and_pairs(model, text, tmp_path):
    run(model, text, tmp_path / "out", "--layers=-1,-2", "--use_one_hot_embeddings")
    found = read_jsonl(tmp_path / "out")
    assert [line["linex_index"] for line in found] == list(range(13))
    assert all(list(line) == ["linex_index", "features"] for line in found)
    pair = found[9]["features"]
    words = ["[CLS]", "word1", "good", "[SEP]", "word2", "bad", "[UNK]", "[SEP]"]
    assert [feature["token"] for feature in pair] == words
    assert [len(line["features"]) for line in found] == [
        2 + len(line.replace("|||", "[SEP]").split()) for line in LINES
    ]
    assert list(pair[1]) == ["token", "layers"]
    assert [list(layer) for layer in pair[1]["layers"]] == [["index", "values"]] * 2
    ids = [tiny.VOCAB.index(word) for word in words]
    layers = encode(model, ids, [0] * 4 + [1] * 4)
    for i, index in ((0, -1), (1, -2)):
        printed = [feature["layers"][i]["values"] for feature in pair]
        np.testing.assert_allclose(printed, layers[index], atol=1e-5)
        assert all(v == round(v, 6) for vector in printed for v in vector)


def test_neither_batches_nor_pools_change_order_or_values(model, monkeypatch):
    one = extractor(model, layers=(-1, 0))
    alone = [next(one.extract([line])).values for line in LINES]
    monkeypatch.setattr(extraction, "_CHUNK_LINES", 3)
    for batch_size, pool_batches in ((1, 5), (4, 1), (32, 50)):
        monkeypatch.setattr(extraction, "_POOL_BATCHES", pool_batches)
        found = values(model, layers=(-1, 0), batch_size=batch_size)
        for row, expected in zip(found, alone, strict=True):
            np.testing.assert_allclose(row, expected, atol=1e-5)


def test_lines_are_read_only_as_vectors_are_taken(model, monkeypatch):
    monkeypatch.setattr(extraction, "_CHUNK_LINES", 8)
    monkeypatch.setattr(extraction, "_POOL_BYTES", 4 * 15 * 10)
    taken = []
    endless = (taken.append(i) or "word1" for i in range(10**9))
    rows = extractor(model, pooling="mean").extract(endless)
    for number in (1, 20, 100):
        while next(rows).line < number:
            pass
        assert len(taken) <= number + 8 + 10


@pytest.mark.parametrize("strategy", ["cls", "mean", "max", "mean_max", "last"])
def test_pooled_vectors_are_pools_of_the_piece_vectors(model, strategy):
    pools = {
        "cls": lambda x: x[0],
        "mean": lambda x: x.mean(axis=0),
        "max": lambda x: x.max(axis=0),
        "mean_max": lambda x: np.append(x.mean(axis=0), x.max(axis=0)),
        "last": lambda x: x[-1],
    }
    pieces = values(model, layers=(-2,), layer_combination="concat")
    found = values(model, layers=(-2,), pooling=strategy)
    expected = np.stack([pools[strategy](x) for x in pieces])
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert not np.allclose(found, values(model, layers=(-1,), pooling=strategy))


def test_cls_pooled_is_the_poolers_output(model):
    plain = modeling.named_variables(modeling.BertModel(CONFIG, seed=5))
    kernel, bias = (plain[f"bert/pooler/dense/{x}"] for x in ("kernel", "bias"))
    first = values(model, layers=(-1,), pooling="cls", long="window")
    found = values(model, pooling="CLS_POOLED", long="window", batch_size=4)
    np.testing.assert_allclose(found, np.tanh(first @ kernel + bias), atol=1e-5)
    assert extractor(model, pooling="cls_pooled").row_shape == (15,)


def test_without_a_pooler_there_is_no_cls_pooled(model, tmp_path):
    variables = modeling.named_variables(modeling.BertModel(CONFIG))
    tensors = {k: v.numpy() for k, v in variables.items() if "pooler" not in k}
    vocab = str(model / "vocab.txt")
    google_bert.save_folder(str(tmp_path), tensors, CONFIG, vocab, True)
    with pytest.raises(UserError, match="as of a masked language model, has no pooler"):
        extractor(tmp_path, pooling="cls_pooled")
    for more in ({"layers": (-2,)}, {"layer_combination": "separate"}):
        with pytest.raises(UserError, match="cls_pooled: the pooler reads the last"):
            extractor(model, pooling="cls_pooled", **more)


def test_without_cls_and_sep_only_words_count(model):
    lines = [line for line in LINES if line]
    kwargs = {"layers": (-1,), "mask_cls_sep": True}
    pieces = values(model, lines, layer_combination="mean", **kwargs)
    words = [line.replace("|||", "").split() for line in lines]
    assert [len(x) for x in pieces] == [len(line) for line in words]
    for strategy, pool in (
        ("mean", lambda x: x.mean(axis=0)),
        ("first", lambda x: x[0]),
        ("last", lambda x: x[-1]),
    ):
        found = values(model, lines, pooling=strategy, **kwargs)
        np.testing.assert_allclose(found, [pool(x) for x in pieces], atol=1e-5)


def test_pieces_that_are_given_are_read_as_those_of_the_text(model):
    made = extractor(model, layers=(-1,))
    lines = [LINES[0], LINES[9], "word1 nonsense"]
    pieces = [["word1", "Good", "nonsense"], LINES[9].split(), LINES[0].split()]
    texts, given = made.lines(lines), made.lines(pieces)
    for text, line in ((texts[0], given[2]), (texts[1], given[1])):
        np.testing.assert_array_equal(line.input_ids, text.input_ids)
        np.testing.assert_array_equal(line.segment_ids, text.segment_ids)
    assert made.tokens(given[0]) == ("[CLS]", "word1", "[UNK]", "[UNK]", "[SEP]")
    (cut,) = made.lines([["word1"] * 30])
    assert (len(cut.input_ids), cut.dropped_tokens) == (24, 8)


def test_what_is_hidden_is_not_seen_by_attention(model):
    kwargs = {"pooling": "mean", "layers": (-1,), "mask_cls_sep": True}
    lines = [line for line in LINES if line]
    found = values(model, lines, hide_cls_sep=True, **kwargs)
    for line, vector in zip(lines[:3], found, strict=False):
        ids, mask = [ids_of(line)], np.ones([1, len(ids_of(line))], np.int32)
        mask[0, [0, -1]] = 0
        outputs = modeling.BertModel(CONFIG, seed=5)(tf.constant(ids), mask)
        expected = outputs["all_encoder_layers"][-1][0, 1:-1].numpy().mean(axis=0)
        np.testing.assert_allclose(vector, expected, atol=1e-5)
    assert not np.allclose(found, values(model, lines, **kwargs), atol=1e-4)


def test_layers_are_combined_as_asked(model):
    each = [values(model, pooling="mean", layers=(i,)) for i in (0, 1)]
    kwargs = {"pooling": "mean", "layers": (0, 1)}
    for how, expected in (
        ("mean", (each[0] + each[1]) / 2),
        ("concat", np.concatenate(each, axis=1)),
        ("separate", np.stack(each, axis=1)),
    ):
        found = values(model, layer_combination=how, **kwargs)
        np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_array_equal(
        values(model, **kwargs), values(model, layer_combination="concat", **kwargs)
    )


def test_normalized_vectors_have_length_one_and_the_same_direction(model):
    plain = values(model, pooling="mean", mask_cls_sep=True)
    found = values(model, pooling="mean", mask_cls_sep=True, normalize=True)
    lengths = np.linalg.norm(plain, axis=1, keepdims=True)
    assert lengths[4] == 0  # the empty line has no word; its vector stays 0
    np.testing.assert_allclose(found * lengths, plain, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1)[:4], 1, atol=1e-6)


def test_a_long_line_is_the_average_of_its_windows(model):
    words = [tiny.WORDS[i % 29] for i in range(22)]
    parts = [" ".join(words[i:j]) for i, j in ((0, 8), (8, 15), (15, 22))]
    line = " ".join(words)
    kwargs = {"max_seq_length": 10, "layers": (-1,)}
    for strategy in ("mean", "max", "cls"):
        pooled = {**kwargs, "pooling": strategy}
        found = values(model, ["good", line, "bad"], long="window", **pooled)
        expected = values(model, ["good", *parts, "bad"], **pooled)
        expected = [expected[0], expected[1:4].mean(axis=0), expected[4]]
        np.testing.assert_allclose(found, expected, atol=1e-5)
    kwargs["layer_combination"] = "mean"
    (pieces,) = values(model, [line], long="window", **kwargs)
    windows = values(model, parts, **kwargs)
    assert len(pieces) == 24
    ends = [np.mean([w[i] for w in windows], axis=0) for i in (0, -1)]
    inner = np.concatenate([w[1:-1] for w in windows])
    np.testing.assert_allclose(pieces, [ends[0], *inner, ends[1]], atol=1e-5)


def test_a_long_line_is_cut_and_said_so(model, caplog):
    long = " ".join(tiny.WORDS)
    found = values(model, [long, "good"], pooling="mean")
    expected = values(model, [" ".join(tiny.WORDS[:22])], pooling="mean")
    np.testing.assert_allclose(found[0], expected[0], atol=1e-5)
    assert "1 of 2 lines were longer" in caplog.text
    assert "by 10 pieces" in caplog.text


def test_every_format_holds_the_same(model, text, tmp_path):
    pooled = ["--pooling=REDUCE_MEAN", "--layers=-1,-2"]
    for name in ("a.jsonl", "a.npy", "a.tfrecord"):
        run(model, text, tmp_path / name, *pooled)
    array = np.load(tmp_path / "a.npy")
    assert (array.shape, array.dtype) == ((13, 30), np.float32)
    np.testing.assert_array_equal(
        array, values(model, pooling="mean", layers=(-1, -2)).astype(np.float32)
    )
    lines = read_jsonl(tmp_path / "a.jsonl")
    np.testing.assert_allclose([line["values"] for line in lines], array, atol=1e-6)
    records = list(tf.data.TFRecordDataset(str(tmp_path / "a.tfrecord")))
    for i, record in enumerate(records):
        feature = tf.train.Example.FromString(record.numpy()).features.feature
        assert feature["linex_index"].int64_list.value == [i]
        assert feature["shape"].int64_list.value == [30]
        np.testing.assert_array_equal(feature["values"].float_list.value, array[i])
    assert len(records) == 13


def _names(record):
    """The names of a record's features, as bytes."""
    found = tf.train.Example.FromString(record).features.feature
    return [name.encode() for name in found]


def test_pieces_in_arrays_are_padded_and_in_records_named(model, text, tmp_path):
    run(model, text, tmp_path / "a", "--layers=-1,-2", "--output_format=npy")
    run(model, text, tmp_path / "b.tfrecords", "--layers=-1,-2")
    array = np.load(tmp_path / "a")
    assert array.shape == (13, 24, 2, 15)
    for i, record in enumerate(tf.data.TFRecordDataset(str(tmp_path / "b.tfrecords"))):
        written = record.numpy()
        # Whatever order a process's maps have: the same vectors are the same bytes.
        places = [written.index(name) for name in sorted(_names(written))]
        assert places == sorted(places)
        feature = tf.train.Example.FromString(written).features.feature
        shape = feature["shape"].int64_list.value
        stored = np.reshape(feature["values"].float_list.value, shape)
        np.testing.assert_array_equal(array[i, : len(stored)], stored.astype("f4"))
        assert not array[i, len(stored) :].any()
        tokens = [t.decode() for t in feature["tokens"].bytes_list.value]
        assert tokens[0] == "[CLS]"
        assert len(tokens) == shape[0]


def test_two_devices_and_static_shapes_compute_the_same(model):
    expected = values(model, pooling="mean", batch_size=6)
    devices = [d.name for d in tf.config.list_logical_devices("CPU")]
    assert len(devices) == 2
    kwargs = {"pooling": "mean", "batch_size": 5}
    mirrored = tf.distribute.MirroredStrategy(devices)
    for found in (
        values(model, strategy=mirrored, **kwargs),
        values(model, strategy=mirrored, static_shapes=True, **kwargs),
    ):
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_bfloat16_is_near_float32_and_written_as_float32(model):
    exact = values(model, pooling="mean", normalize=True)
    found = values(model, pooling="mean", normalize=True, mixed_precision="bfloat16")
    assert found.dtype == np.float32
    error = np.abs(found - exact).max()
    assert 1e-5 < error < 3e-2


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--layers=-3"], r"--layers has -3, but the model has 2 layers"),
        (["--layers=2"], r"--layers has 2, but the model has 2 layers"),
        (["--layers=last"], "flag --layers=.*whole numbers"),
        (["--pooling=median"], "unknown pooling 'median'"),
        (["--max_seq_length=41", "--layers=0"], "=41; wanted 3 to 40, the model's"),
        (["--max_seq_length=4", "--layers=0", "--long=window"], "=4; wanted 5 to 40"),
        (
            ["--layers=0", "--long=window", "--output_format=npy"],
            "npy with --pooling=none",
        ),
    ],
)
def test_what_cannot_be_is_refused_and_the_old_output_stays(
    model, text, tmp_path, flags, message
):
    output = tmp_path / "output"
    output.write_text("old")
    with pytest.raises((ValueError, FlagError), match=message):
        run(model, text, output, *flags)
    assert output.read_text() == "old"


def test_a_pipe_gives_what_its_file_gives(model, text, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    content = text.read_text()
    threading.Thread(
        target=(tmp_path / "pipe").write_text, args=(content,), daemon=True
    ).start()
    for name in ("input.txt", "pipe"):
        run(model, tmp_path / name, tmp_path / f"{name}.npy", "--pooling=mean")
    wanted, found = (np.load(tmp_path / f"{n}.npy") for n in ("input.txt", "pipe"))
    np.testing.assert_array_equal(found, wanted)
    assert len(found) == len(LINES)


def test_a_line_of_many_windows_may_be_read_for_long(model, tmp_path, monkeypatch):
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_LINES", 0.0)
    (tmp_path / "text").write_text(" ".join(tiny.WORDS))
    flags = ("--long=window", "--batch_size=1", "--pooling=mean", "--max_seq_length=9")
    run(model, tmp_path / "text", tmp_path / "out.npy", *flags)
    assert np.load(tmp_path / "out.npy").shape == (1, 15)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "the file is empty"), (b"good\n\xff\n", "line 2: not UTF-8, byte 0xff")],
)
def test_a_bad_input_file_leaves_no_output(model, tmp_path, content, message):
    path, output = tmp_path / "input.txt", tmp_path / "output"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        run(model, path, output, "--layers=0")
    assert [p.name for p in tmp_path.iterdir()] == ["input.txt"]


def test_a_folder_as_output_is_refused(model, text, tmp_path):
    with pytest.raises(ValueError, match="is a folder; wanted a file"):
        run(model, text, tmp_path, "--layers=0")


def test_a_vocabulary_of_another_model_is_refused(model, text, tmp_path):
    vocab = tmp_path / "vocab.txt"
    vocab.write_text("\n".join([*tiny.VOCAB, "more"]))
    with pytest.raises(ValueError, match="38 rows.*vocab_size=37"):
        run(model, text, tmp_path / "out", "--layers=0", f"--vocab_file={vocab}")
    config = tmp_path / "bert_config.json"
    other = dataclasses.replace(CONFIG, intermediate_size=20)
    config.write_text(other.to_json_string())
    with pytest.raises(ValueError, match="intermediate/dense/kernel is"):
        run(model, text, tmp_path / "out", "--layers=0", f"--bert_config_file={config}")


def test_an_interrupted_run_leaves_the_old_output(model, text, tmp_path, monkeypatch):
    output = tmp_path / "output.npy"
    run(model, text, output, "--pooling=mean")
    before = output.read_bytes()
    monkeypatch.setattr(extraction, "_POOL_BYTES", 1)
    batches = []

    def fail(*args):
        batches.append(args)
        if len(batches) == 5:
            raise KeyboardInterrupt
        return np.zeros([1, 15], np.float32)

    monkeypatch.setattr(FeatureExtractor, "run_batch", fail)
    with pytest.raises(KeyboardInterrupt):
        run(model, text, output, "--pooling=mean")
    assert output.read_bytes() == before
    assert {p.name for p in tmp_path.iterdir()} == {"input.txt", "output.npy"}
    monkeypatch.undo()
    run(model, text, output, "--pooling=max")
    assert output.read_bytes() != before


def test_the_parents_command_runs(model, text, tmp_path):
    output = tmp_path / "output.jsonl"
    done = forks.run(
        [
            sys.executable,
            str(tiny.ROOT / "extract_features.py"),
            f"--input_file={text}",
            f"--output_file={output}",
            f"--vocab_file={model}/vocab.txt",
            f"--bert_config_file={model}/bert_config.json",
            f"--init_checkpoint={model}/bert_model.ckpt",
            "--layers=-1,-2",
            "--max_seq_length=24",
            "--batch_size=8",
        ]
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "13 lines in" in done.stderr
    assert len(read_jsonl(output)) == 13
