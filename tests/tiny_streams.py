"""A byte pair vocabulary, its text, and records that a tiny GPT can learn."""

import json

import numpy as np

from data_pipeline import tfrecord
from data_pipeline.corpora import token_streams
from modeling import GptConfig
from systems.gpt import GptSystem
from tasks.causal_language_model import CausalLanguageModelTask

MERGES = [("a", "b"), ("ab", "c</w>"), ("d", "a</w>")]
LETTERS = "abcdefgh"
PIECES = ["<unk>", *LETTERS, *(f"{c}</w>" for c in LETTERS), "\n</w>"]
VOCAB = [*PIECES, *("".join(pair) for pair in MERGES)]
BOUNDARY = VOCAB.index("\n</w>")
MAX_SEQ_LENGTH = 13
CONFIG = GptConfig(
    n_vocab=len(VOCAB),
    n_ctx=16,
    n_embd=15,
    n_layer=2,
    n_head=3,
    embd_pdrop=0.05,
    attn_pdrop=0.05,
    resid_pdrop=0.05,
)


def write_vocab(folder, vocab=VOCAB):
    """Writes vocab.json and merges.txt; returns the former's path."""
    encoder = {piece: number for number, piece in enumerate(vocab)}
    (folder / "vocab.json").write_text(json.dumps(encoder))
    (folder / "merges.txt").write_text("\n".join(map(" ".join, MERGES)) + "\n")
    return str(folder / "vocab.json")


def write_model(folder):
    """Writes the vocabulary and gpt_config.json; returns their paths."""
    config = folder / "gpt_config.json"
    config.write_text(CONFIG.to_json_string())
    return write_vocab(folder), str(config)


def documents(number, seed=0):
    """Documents of 1 to 6 lines of 1 to 5 words; some words merge."""
    rng = np.random.default_rng(seed)

    def word():
        return str(
            rng.choice(["abc", "da", "h", "".join(rng.choice(list(LETTERS), 3))])
        )

    return [
        [
            " ".join(word() for _ in range(rng.integers(1, 6)))
            for _ in range(rng.integers(1, 7))
        ]
        for _ in range(number)
    ]


def write_corpus(path, number, seed=0):
    """Writes documents to a text file; returns its path."""
    text = "\n\n".join("\n".join(document) for document in documents(number, seed))
    path.write_text(text + "\n")
    return str(path)


def rows(number, seed=0):
    """Runs that count up, each from somewhere on, in steps of one or two."""
    rng = np.random.default_rng(seed)
    for _ in range(number):
        length, step = rng.integers(3, MAX_SEQ_LENGTH + 1), rng.integers(1, 3)
        yield (rng.integers(17) + step * np.arange(length)) % 17


def write(path, number, seed=0):
    """Writes a TFRecord file of `rows`; returns its path."""
    found = list(rows(number, seed))
    tfrecord.write(str(path), token_streams.encode_rows(found))
    return str(path)


def task(config=CONFIG, **kwargs):
    """Returns a task over the tiny records; keywords as its constructor's."""
    return CausalLanguageModelTask(GptSystem(config), MAX_SEQ_LENGTH, **kwargs)
