"""Every system's vocabulary reads back what was written, whatever white space is in it.

Python, Unicode and the tokenizers disagree on what white space and a line's end are, so
every character that anyone takes for one is tried.
"""

import sys
import unicodedata

import pytest
import scripts
import tiny
import tiny_tagging
import tiny_taglm
from test_training import tensors

import tokenization
import tokenization_bpe
import vocabulary
from checkpoints import taglm as taglm_files
from modeling import TaglmConfig
from systems import taglm

pytestmark = pytest.mark.long

CHARACTERS = [
    c
    for c in map(chr, range(sys.maxunicode + 1))
    if c.isspace()
    or unicodedata.category(c) in ("Cc", "Zl", "Zp", "Zs")
    or len(f"a{c}b".splitlines()) > 1
]
# A word of a file of words has any character but the one that ends its line.
WORDS = [
    word
    for c in CHARACTERS
    if c != "\n"
    for word in (c, f"{c}a", f"a{c}", f"a{c}b", f"{c}{c}")
]


def test_the_characters_are_all_that_python_and_unicode_know():
    known = " \t\r\n\v\f\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2003\u2028\u2029\u202f\u3000"
    assert set(known) < set(CHARACTERS)


def write_taglm(folder, words):
    """Writes the files of a new TagLM; returns the system that wrote them."""
    system = taglm.begin(tiny_taglm.CONFIG, [*words, *words])
    taglm_files.save_beside(str(folder), system.config, system.words)
    return system


def test_taglms_words_are_read_as_they_were_in_training(tmp_path):
    written = write_taglm(tmp_path, WORDS)
    assert len(written.words) > len(CHARACTERS)
    config = TaglmConfig.from_json_file(str(tmp_path / "taglm_config.json"))
    read = taglm.TaglmSystem(config, str(tmp_path / "vocab.txt")).match_vocabulary()
    assert read.vocabulary().words == written.words
    assert read.fingerprint() == written.fingerprint()
    for one, other in zip(
        read.tokenizer().ids(WORDS), written.tokenizer().ids(WORDS), strict=True
    ):
        assert one.tolist() == other.tolist()


def test_pairs_of_pieces_are_read_as_they_were_learnt(tmp_path):
    letters = [c for c in CHARACTERS if c not in " \n"]
    merges = [(letter, f"{letter}</w>") for letter in letters]
    pieces = ["<unk>", *letters, *(f"{c}</w>" for c in letters)]
    pieces += map("".join, merges)
    texts = tokenization_bpe.file_texts(pieces, merges)
    for name, text in zip(("vocab.json", "merges.txt"), texts, strict=True):
        (tmp_path / name).write_bytes(text.encode())
    found = tokenization_bpe.load(str(tmp_path / "vocab.json"))
    assert list(found.encoder) == pieces
    assert list(found.bpe_ranks) == merges


def learnt_texts(folder, model_type, name):
    """Learns a vocabulary from text with all the characters; returns its files."""
    lines = [f"xx{c}yy {c} xx{c}{c} {c}yy" for c in CHARACTERS] * 3
    (folder / "text.txt").write_bytes("\n".join(lines).encode())
    scripts.run(
        "create_vocab",
        f"--model_type={model_type}",
        f"--input_file={folder / 'text.txt'}",
        f"--output_file={folder / name}",
        "--vocab_size=300",
    )
    return [
        path.read_bytes().decode()
        for path in (folder / name, folder / "merges.txt")
        if path.exists()
    ]


def test_learnt_vocabularies_are_read_as_they_were_written(tmp_path):
    [text] = learnt_texts(tmp_path, "bert", "vocab.txt")
    pieces = list(tokenization.load_vocab(str(tmp_path / "vocab.txt")))
    assert text == "".join(f"{piece}\n" for piece in pieces)
    assert {"xx", "yy"} <= set(pieces)
    [text] = learnt_texts(tmp_path, "elmo", "words.txt")
    words = vocabulary.Vocabulary.from_file(str(tmp_path / "words.txt")).words
    assert text == vocabulary.file_text(words)
    assert {"xx", "yy"} <= set(words)
    texts = learnt_texts(tmp_path, "gpt", "vocab.json")
    found = tokenization_bpe.load(str(tmp_path / "vocab.json"))
    assert texts == list(tokenization_bpe.file_texts(found.encoder, found.bpe_ranks))


def test_a_file_of_words_that_cannot_be_read_is_named(tmp_path):
    path = tmp_path / "vocab.txt"
    with pytest.raises(FileNotFoundError, match="vocab.txt: no such file"):
        vocabulary.Vocabulary.from_file(str(path))
    path.write_bytes(b"<S>\nzo\xeb\n")
    for read in (
        vocabulary.Vocabulary.from_file,
        vocabulary.Vocabulary.from_exact_file,
    ):
        with pytest.raises(ValueError, match="vocab.txt, line 2: .*0xeb"):
            read(str(path))


@pytest.mark.slow
def test_a_tagger_knows_words_that_end_in_blanks_when_it_is_used_again(tmp_path):
    # "ann" is a person; with a blank that lines of columns do not part at, a place.
    known = {"PER": "ann", "LOC": "ann\xa0", "O": "the\x85"}
    for seed, name in enumerate(("train", "dev")):
        sentences = [
            ([known[tag[2:] or "O"] for tag in tags], tags)
            for _, tags in tiny_tagging.sentences(40, seed)
        ]
        path = tmp_path / f"{name}.txt"
        path.write_bytes(tiny_tagging.columns(sentences).encode())
    data = {name: (tmp_path / f"{name}.txt").read_bytes() for name in ("train", "dev")}
    flags = tiny_taglm.flags(tmp_path, tmp_path / "out")
    for name, text in data.items():
        (tmp_path / f"{name}.txt").write_bytes(text)
    flags += ["--do_eval", "--num_train_epochs=8", "--save_checkpoints_steps=20"]
    scripts.run("run_tagger", *flags, "--do_train")
    results = tiny.read_results(tmp_path / "out/eval_results.txt")
    assert results["eval_f1"] == 1
    again = [flag for flag in flags if not flag.startswith("--config_file")]
    scripts.run("run_tagger", *again)
    assert tiny.read_results(tmp_path / "out/eval_results.txt") == results
    # And a resumed training goes on to the same weights.
    whole = tensors(tmp_path / "out/model.ckpt-40")
    for file in (tmp_path / "out").glob("model.ckpt-40.*"):
        file.unlink()
    (tmp_path / "out/checkpoint").write_text('model_checkpoint_path: "model.ckpt-20"\n')
    scripts.run("run_tagger", *again, "--do_train")
    for name, tensor in tensors(tmp_path / "out/model.ckpt-40").items():
        assert (tensor == whole[name]).all(), name
