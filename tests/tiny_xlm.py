"""XLM's architecture and byte pairs, small enough to train in a second."""

import tiny

from modeling import XlmConfig
from tokenization_xlm import BytePairs

_LETTERS = "abdeghiorwx0123456789."
# Letters within a word and at its end, then what the codes make of them. Of the words
# of `tiny` those from word20 on are several pieces.
CODES = [
    *(("g", "o"), ("go", "o"), ("goo", "d</w>")),
    *(("b", "a"), ("ba", "d</w>")),
    *(("w", "o"), ("wo", "r"), ("wor", "d")),
    *(("1", f"{i}</w>") for i in range(10)),
    *(("word", f"{i}</w>") for i in range(20)),
]
PIECES = [
    *("good", "bad", "word@@", "wor@@", "wo@@", "goo@@", "go@@", "ba@@"),
    *(f"word{i}" for i in range(20)),
    *(f"1{i}" for i in range(10)),
    *(letter + end for letter in _LETTERS for end in ("@@", "")),
]
CONFIG = XlmConfig(
    ("de", "en", "zh"),
    n_words=14 + len(PIECES),
    emb_dim=15,
    n_layers=1,
    n_heads=3,
    max_position_embeddings=48,
)


def write_model(folder):
    """Writes vocab with codes and xlm_config.json; returns the paths of two."""
    vocab, config = folder / "vocab", folder / "xlm_config.json"
    rows = [f"{piece} {1000 - i}\n" for i, piece in enumerate(PIECES)]
    vocab.write_text("".join(rows))
    rows = [f"{a} {b} {900 - i}\n" for i, (a, b) in enumerate(CODES)]
    (folder / "codes").write_text("".join(rows))
    config.write_text(CONFIG.to_json_string())
    return str(vocab), str(config)


def pieces(folder):
    """Writes the vocabulary, and reads it."""
    return BytePairs(write_model(folder)[0])


def model_flags(folder):
    """Returns the flags that name the model, and suit it."""
    vocab, config = write_model(folder)
    return [
        f"--vocab_file={vocab}",
        f"--config_file={config}",
        "--max_seq_length=48",
        "--train_batch_size=8",
        "--learning_rate=5e-3",
    ]


def write_data(folder, languages=("de", "en"), **numbers):
    """Writes tiny.write_data's files with a column of languages, which take turns."""
    tiny.write_data(folder, **numbers)
    for name in ("train", "dev", "test"):
        path = folder / f"{name}.tsv"
        header, *rows = path.read_text().splitlines()
        told = [languages[i % len(languages)] for i in range(len(rows))]
        rows = [f"{row}\t{language}" for row, language in zip(rows, told, strict=True)]
        path.write_text("\n".join([f"{header}\tlang", *rows]) + "\n")
    return str(folder)
