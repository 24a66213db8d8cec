"""Word vectors in files: bytes of the originals, any format to any, what is broken."""

import gzip
import hashlib
import itertools
import pathlib
import random
import re
import struct

import numpy as np
import pytest

from checkpoints import CheckpointError, decimals, word_vectors
from checkpoints.word_vectors import FORMATS, WordVectors
from errors import MissingExtra

GOLDEN = pathlib.Path(__file__).parent / "golden/word_vectors"
# Of word2vec.c's text for the same vectors.
TEXT_SHA256 = "015c7ffcc82a5cde28c151690ae4be74bee3ca21b16953fc7f6c220a4fd275be"
# How far a number may be from what was written.
STEP = {"word2vec": 5.1e-7, "glove": 5.1e-7, "fasttext": 5.1e-5}


def write(folder, vectors, format):
    path = str(folder / format)
    word_vectors.write(path, vectors, format)
    return path


def test_bytes_are_word2vecs(tmp_path):
    golden = GOLDEN / "tiny_sg-ns.bin"
    found = word_vectors.read(str(golden))
    assert found.vectors.shape == (731, 8)
    assert found.words[:2] == ["</s>", "the"]
    binary = pathlib.Path(write(tmp_path, found, "word2vec_binary"))
    assert binary.read_bytes() == golden.read_bytes()
    text = pathlib.Path(write(tmp_path, found, "word2vec"))
    assert hashlib.sha256(text.read_bytes()).hexdigest() == TEXT_SHA256


@pytest.mark.shared_data
def test_text_and_header_are_gloves(golden_dir, tmp_path):
    golden = golden_dir / "glove/vectors_final.txt"
    found = word_vectors.read(str(golden))
    # Its header does not count <unk>.
    assert (len(found.words), found.words[-1]) == (88, "<unk>")
    rows = np.load(golden_dir / "glove/training.npz")["params_final"]
    np.testing.assert_allclose(found.vectors[:87], rows[:, :, :10].sum(0), atol=5.1e-7)
    text = pathlib.Path(write(tmp_path, found, "glove"))
    assert text.read_bytes() == golden.read_bytes().split(b"\n", 1)[1]
    rows.tofile(tmp_path / "vectors.bin")
    vocab = (golden_dir / "glove/train_vocab.txt").read_bytes()
    (tmp_path / "vocab.txt").write_bytes(vocab)
    binary = word_vectors.read(str(tmp_path / "vectors.bin"))
    assert binary.words == found.words[:87]
    np.testing.assert_allclose(binary.vectors, rows[:, :, :10].sum(0), rtol=1e-6)


def random_words(rng, count, formats):
    """Words of odd characters and bytes that formats can hold; the first is plain."""
    letters = ["a", "é", "語", "🙂", "\u00a0", "\u2028", "\x00", "\x1c", '"', "\\", "."]
    letters += ["7", "-", "\udcff", "\udc80", "\r", " ", "\t"]
    words = {"plain"}
    while len(words) < count:
        word = "".join(rng.choices(letters, k=rng.randint(1, 6)))
        data = word.encode("utf-8", "surrogateescape")
        if not any(FORMATS[format].refusal(data) for format in formats):
            words.add(word)
    return sorted(words, key=lambda word: (word != "plain", word))


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("formats", itertools.permutations(FORMATS, 2), ids="-".join)
def test_all_formats_hold_the_same_words_there_and_back(tmp_path, formats, seed):
    rng = random.Random(seed)
    words = random_words(rng, 43, formats)
    vectors = np.random.default_rng(seed).normal(size=(43, 5 + seed))
    vectors = WordVectors(words, vectors.astype(np.float32))
    first, second = formats
    once = word_vectors.read(write(tmp_path, vectors, first))
    other = word_vectors.read(write(tmp_path, once, second))
    again = word_vectors.read(write(tmp_path, other, first))
    for found, done in [(once, formats[:1]), (other, formats), (again, formats)]:
        assert found.words == words
        step = sum(STEP.get(name, 0) for name in done)
        np.testing.assert_allclose(found.vectors, vectors.vectors, atol=step, rtol=0)
    if second not in STEP:
        np.testing.assert_array_equal(again.vectors, once.vectors)


def test_numbers_are_those_of_float_to_the_bit():
    rng = random.Random(1)
    forms = ["%.6f", "%.5g", "%r", "%+.3f", "%.12f", "%.17f", "%e", "%.9g", "%.0f"]
    texts = [
        rng.choice(forms) % (rng.gauss(0, 1) * 10 ** rng.randint(-9, 6))
        for _ in range(20000)
    ]
    texts += ["0", "-0", "7", "1.", ".5", "-.25", "+3", "123456789012345", "1e50"]
    texts += ["12345678.1234567", "9007199254740993", "00000000.5", "99999999.9999999"]
    texts += [t.replace("0.", ".") for t in texts if re.match("-?0[.][0-9]", t)]
    wrong = [".", "-", "", "x", "--1", "1.2.3", "1..2", "1x", "-.", "1_0", "0x10"]
    wrong += ["nan", "12345678.12.4", "1.3456789.1", "1:2", "1/2", "1,5", "123456789.x"]
    block = " " * decimals.PADDING + " ".join(texts + wrong) + " "
    lengths = np.array([len(text) for text in texts + wrong])
    ends = decimals.PADDING + np.cumsum(lengths + 1) - 1
    found = decimals.parse(block.encode(), ends - lengths, ends)
    with np.errstate(over="ignore"):
        wanted = np.array([float(text) for text in texts]).astype(np.float32)
    np.testing.assert_array_equal(
        found[: len(texts)].view(np.int32), wanted.view(np.int32)
    )
    assert np.isnan(found[len(texts) :]).all()


def test_text_is_read_alike_however_its_lines_fall_into_blocks(tmp_path, monkeypatch):
    vectors = WordVectors(
        random_words(random.Random(5), 60, ["word2vec"]),
        np.random.default_rng(5).normal(size=(60, 9)).astype(np.float32),
    )
    path = write(tmp_path, vectors, "word2vec")
    text = pathlib.Path(path).read_bytes()
    wanted = word_vectors.read(path)
    plain = tmp_path / "windows.txt"
    plain.write_bytes(text.replace(b" \n", b"  \r\n").removesuffix(b"\r\n"))
    packed = tmp_path / "packed"  # told by its contents
    packed.write_bytes(gzip.compress(text))
    for size in (7, 100, 1000):
        monkeypatch.setattr(word_vectors.word_vector_text, "_BLOCK", size)
        for other in (path, str(plain), str(packed)):
            found = word_vectors.read(other)
            assert found.words == wanted.words
            np.testing.assert_array_equal(found.vectors, wanted.vectors)


def test_binary_without_line_ends_and_in_small_blocks(tmp_path, monkeypatch):
    rows = [struct.pack("<3f", i, 10, 32) for i in range(9)]  # line ends and spaces
    data = b"9 3\n" + b"".join(b"w%d " % i + row for i, row in enumerate(rows))
    (tmp_path / "w.bin").write_bytes(data)
    monkeypatch.setattr(word_vectors.word_vector_binary, "_BLOCK", 5)
    found = word_vectors.read(str(tmp_path / "w.bin"))
    assert found.words == [f"w{i}" for i in range(9)]
    np.testing.assert_array_equal(found.vectors, [[i, 10, 32] for i in range(9)])


def test_of_a_word_that_is_there_twice_the_first_is_kept_and_it_is_said(
    tmp_path, caplog
):
    (tmp_path / "w.txt").write_text("a 1 2\nb 3 4\na 5 6\nb 7 8\nc 9 0\n")
    found = word_vectors.read(str(tmp_path / "w.txt"))
    assert found.words == ["a", "b", "c"]
    np.testing.assert_array_equal(found.vectors, [[1, 2], [3, 4], [9, 0]])
    assert "w.txt: 2 words are there more than once" in caplog.text


def test_same_vectors_same_bytes_packed_too(tmp_path):
    vectors = WordVectors(["a", "b"], np.ones([2, 3], np.float32))
    for name in ("one.gz", "two.gz"):
        word_vectors.write(str(tmp_path / name), vectors, "glove")
    packed = (tmp_path / "one.gz").read_bytes()
    assert packed == (tmp_path / "two.gz").read_bytes()
    assert gzip.decompress(packed).startswith(b"a 1.000000 1.0")


def test_a_projector_goes_among_events_and_tensorboard_reads_it(tmp_path):
    from google.protobuf import text_format
    from tensorboard.plugins.projector import projector_config_pb2

    (tmp_path / "events.out.tfevents.1").write_text("kept")
    vectors = WordVectors(["a", "b"], np.float32([[1, 2e-9], [3, 4]]))
    word_vectors.write(str(tmp_path), vectors, "projector")
    assert (tmp_path / "events.out.tfevents.1").read_text() == "kept"
    config = (tmp_path / "projector_config.pbtxt").read_text()
    parsed = text_format.Parse(config, projector_config_pb2.ProjectorConfig())
    [embedding] = parsed.embeddings
    rows = np.loadtxt(tmp_path / embedding.tensor_path, np.float32, delimiter="\t")
    np.testing.assert_array_equal(rows, vectors.vectors)
    assert (tmp_path / embedding.metadata_path).read_text() == "a\nb\n"
    assert len(list(tmp_path.iterdir())) == 4
    # A projector of others may have columns of other things beside the words.
    (tmp_path / "metadata.tsv").write_text("word\tcount\nc\t7\nd\t5\n")
    assert word_vectors.read(str(tmp_path)).words == ["c", "d"]


def test_words_of_a_parquet_need_pyarrow(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    np.save(tmp_path / "glove_6B_50d_emb.npy", np.ones([2, 3], np.float32))
    (tmp_path / "glove_6B_index.parquet").write_bytes(b"PAR1")
    with pytest.raises(MissingExtra, match=r"index\.parquet: .* need pyarrow.*pip"):
        word_vectors.read(str(tmp_path))


@pytest.mark.parametrize("format", FORMATS)
def test_numbers_of_float64_are_rounded_once_and_binary_files_hold_float32(
    tmp_path, format
):
    # As float32 the first is 0.1234565005, whose sixth decimal is another.
    table = np.array([[0.12345649999, -3.0], [1e-3, 7.0]])
    path = write(tmp_path, WordVectors(["a", "b"], table), format)
    found = word_vectors.read(path)
    assert found.words == ["a", "b"]
    if format in ("word2vec", "glove"):
        assert found.vectors[0, 0] == np.float32("0.123456")
    elif format == "fasttext":
        assert found.vectors[0, 0] == np.float32("0.12346")
    else:
        np.testing.assert_array_equal(found.vectors, table.astype(np.float32))


def binary(*rows, head=b"2 2\n"):
    return head + b"".join(word + b" " + struct.pack("<2f", *v) for word, v in rows)


NPY = b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, 'shape': "
NPY2 = (NPY + b"(2, 2), }").ljust(127) + b"\n" + struct.pack("<4f", 1, 2, 3, 4)

BROKEN = {
    "empty": (b"", "no word vectors in it"),
    "header alone": (b"2 2\n", "no word vectors in it"),
    "none said": (b"0 2\n", "line 1 says that there are no word vectors"),
    "no width": (b"2 0\na\nb\n", "line 1 says that there are no word vectors"),
    "blank line": (b"a 1 2\n\nb 1 2\n", "line 2: wanted a word and 2 numbers, got ''"),
    "one line": (b"hello world\n", "line 1: got 'hello world', wanted a word and"),
    "prose": (
        b"To be or not to be\nthat is\n",
        "line 2: wanted a word and 5 n.*'that is'",
    ),
    "short row": (b"a 1 2\nb 1\nc 1 2\n", "line 2: wanted a word and 2 numbers"),
    "long row": (b"a 1 2\nb 1 2\nc 1 2 3\n", "line 3: .* 2 numbers, got 'c 1 2 3'"),
    "no number": (b"a 1 2\nb 1 x\n", "line 2: got 'x', wanted 2 numbers"),
    "NaN": (b"a 1 2\nb nan 2\n", "line 2: got 'b' and nan, wanted .* 2 finite numbers"),
    "NaN first": (b"a 1 nan\nb 1 2\n", "line 1: got 'a' and nan, wanted"),
    "infinite": (b"a 1 2\nb 1e99 2\n", "line 2: got 'b' and inf, wanted"),
    "written inf": (b"a 1 2\nb 3 -inf\n", "line 2: got 'b' and -inf, wanted"),
    "no word": (b"a 1 2\n 3 4\n", "line 2: got '' and 3.0, wanted a word"),
    "width": (b"2 3\na 1 2\nb 1 2\n", "line 1 says .* 3 numbers, .* line 2 has 2"),
    "more said": (
        b"3 2\na 1 2\nb 1 2\n",
        "says that there are 3 vectors, but 2 follow: is the file cut short",
    ),
    "less said": (
        b"1 2\na 1 2\nb 1 2\n",
        "says that there are 1 vectors, but 2 follow$",
    ),
    "cut line": (b"2 2\na 0.5 0.25\nb 0.", "line 3: wanted a word and 2 numbers"),
    "binary cut": (binary((b"a", (1, 2)), (b"b", (3, 4)))[:-3], "damaged, at word 2:"),
    "binary less": (binary((b"a", (1, 2))), "damaged, at word 2: line 1 says .* 2"),
    "binary more": (
        binary((b"a", (1, 2)), (b"b", (3, 4)), (b"c", (5, 6))),
        "goes on behind the 2 vectors of 2 numbers",
    ),
    "binary NaN": (
        binary((b"a", (1, 2)), (b"b", (3, np.nan))),
        "word 2: got 'b' and n",
    ),
    "binary no word": (binary((b"a", (1, 2)), (b"", (3, 4))), "word 2: got '' and 3.0"),
    "giant": (b"9 999999999\na " + bytes(99), "damaged, at word 1: line 1 says .* 9, "),
    "other binary": (b"PK\x03\x04" + bytes(60), r"starts with b'PK.*; wanted word vec"),
    "gzip cut": (
        gzip.compress(b"a 1 2\n" * 99)[:-9],
        "cannot be read: .* ended before",
    ),
    "gzip damaged": (b"\x1f\x8b\x08" + bytes(40), "cannot be read: "),
    "npy cut": (NPY2[:-3], "is cut short, behind 3 values"),
    "npy alone": (NPY2, "its words are not beside it: wanted words.txt"),
    "npy no array": (NPY2[:60], "not numpy's: "),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_one_line_that_names_file_and_place(tmp_path, name):
    data, message = BROKEN[name]
    path = tmp_path / "w.x"
    path.write_bytes(data)
    if name in ("npy cut", "npy no array"):
        (tmp_path / "words.txt").write_text("a\nb\n")
    with pytest.raises(CheckpointError) as error:
        word_vectors.read(str(path))
    text = str(error.value)
    assert "\n" not in text
    assert text.startswith(str(path))
    assert re.search(message, text), text


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.ones([3, 2], np.float32), "3 vectors, but 2 words"),
        (np.ones([2, 2], np.int32), r"an array of int32 \[2, 2\]; wanted rows"),
        (np.ones([2], np.float32), r"an array of float32 \[2\]"),
        (np.array([[1, np.inf], [2, 3]]), "row 1: got 'a' and inf"),
        (np.array([["x", 1], [2, 3]], object), "an array of object"),
    ],
)
def test_arrays_that_are_no_vectors_of_the_words(tmp_path, array, message):
    np.save(tmp_path / "vectors.npy", array)
    (tmp_path / "words.txt").write_text("a\nb\n")
    with pytest.raises(CheckpointError, match=message):
        word_vectors.read(str(tmp_path))


def test_gloves_parameters_of_another_vocabulary(tmp_path):
    vectors = WordVectors(["a", "b", "c"], np.ones([3, 4], np.float32))
    folder = pathlib.Path(write(tmp_path, vectors, "glove_binary"))
    (folder / "vocab.txt").write_text("a 3\nb 2\n")
    with pytest.raises(CheckpointError, match="240 bytes are not .* each of 2 words"):
        word_vectors.read(str(folder))


def test_folders_with_no_vectors_or_several(tmp_path):
    with pytest.raises(CheckpointError, match="a folder with nothing in it; wanted"):
        word_vectors.read(str(tmp_path))
    (tmp_path / "vectors.txt").write_text("a 1 2\n")
    (tmp_path / "tensors.tsv").write_text("1\t2\n")  # only a view of others
    (tmp_path / "cooccurrences.bin").write_bytes(bytes(16))  # what they came of
    assert word_vectors.read(str(tmp_path)).words == ["a"]
    (tmp_path / "vectors.vec").write_text("a 1 2\n")
    with pytest.raises(
        CheckpointError, match=r"holds vectors\.txt and vectors\.vec; n"
    ):
        word_vectors.read(str(tmp_path))
    with pytest.raises(CheckpointError, match="none: cannot be read"):
        word_vectors.read(str(tmp_path / "none"))


@pytest.mark.parametrize(
    ("format", "word", "message"),
    [
        ("word2vec_binary", "a b", "word 2 is 'a b': it has a space"),
        ("word2vec", "a 1", "word 2 is 'a 1': what is behind its first space would"),
        ("glove", "a 1 -2.5", "1 of the 2 words; word 2 is"),
        ("projector", "a\tb", "it has a tab"),
        ("npy", "a\nb", "it has an end of line"),
        ("fasttext", "", "word 2: got '' and 1.0, wanted a word"),
    ],
)
def test_words_that_a_format_cannot_hold_leave_what_was_there(
    tmp_path, format, word, message
):
    vectors = WordVectors(["x", word], np.ones([2, 3], np.float32))
    path = tmp_path / "w"
    if not FORMATS[format].files:
        path.write_text("before")
    with pytest.raises(CheckpointError, match=message):
        word_vectors.write(str(path), vectors, format)
    assert not path.exists() or path.read_text() == "before"
    assert {p.name for p in tmp_path.iterdir()} <= {"w"}


def test_numbers_that_are_not_finite_are_not_written(tmp_path):
    vectors = WordVectors(["x", "y"], np.float32([[1, 2], [3, np.nan]]))
    with pytest.raises(CheckpointError, match="word 2: got 'y' and nan"):
        word_vectors.write(str(tmp_path / "w"), vectors)
    with pytest.raises(CheckpointError, match="no words"):
        word_vectors.write(str(tmp_path / "w"), WordVectors([], np.ones([0, 2])))
    with pytest.raises(CheckpointError, match="one number each"):
        word_vectors.write(
            str(tmp_path / "w"), WordVectors(["a"], np.ones([1, 1])), "glove"
        )
    assert not list(tmp_path.iterdir())


def test_memory_is_the_tables_and_a_block(tmp_path):
    import tracemalloc

    vectors = WordVectors(
        [f"w{i}" for i in range(20000)],
        np.random.default_rng(1).normal(size=(20000, 100)).astype(np.float32),
    )
    for format in ("word2vec", "glove", "word2vec_binary", "npy", "glove_binary"):
        path = write(tmp_path, vectors, format)
        tracemalloc.start()
        word_vectors.read(path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 1.2 * vectors.vectors.nbytes + 20e6, format
