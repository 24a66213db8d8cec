"""A word vocabulary, its text, and an architecture small enough to train in seconds."""

import numpy as np

from data_pipeline import tfrecord
from data_pipeline.corpora import sentence_streams
from modeling import ElmoConfig
from systems.elmo import ElmoSystem
from tasks.bidirectional_language_model import BidirectionalLanguageModelTask
from vocabulary import Vocabulary

WORDS = ["the", "a", *(f"w{i}" for i in range(9)), "zoë"]
VOCAB = ["<S>", "</S>", "<UNK>", *WORDS]
UNROLL_STEPS = 5
MAX_SEQ_LENGTH = 11
OPTIONS = {
    "bidirectional": True,
    "char_cnn": {
        "activation": "relu",
        "embedding": {"dim": 3},
        "filters": [[1, 4], [2, 7]],
        "max_characters_per_token": 8,
        "n_characters": 261,
        "n_highway": 1,
    },
    "dropout": 0.1,
    "lstm": {
        "cell_clip": 3,
        "dim": 9,
        "n_layers": 2,
        "proj_clip": 3,
        "projection_dim": 6,
        "use_skip_connections": True,
    },
    "n_negative_samples_batch": 5,
    "n_tokens_vocab": len(VOCAB),
    "sample_softmax": False,
}
CONFIG = ElmoConfig.from_dict(OPTIONS)


def write_model(folder):
    """Writes vocab.txt and options.json; returns their paths."""
    (folder / "vocab.txt").write_text("\n".join(VOCAB) + "\n")
    (folder / "options.json").write_text(CONFIG.to_json_string())
    return str(folder / "vocab.txt"), str(folder / "options.json")


def sentences(number, seed=0):
    """Sentences of 1 to 9 words that count up from somewhere; "the" is the most."""
    rng = np.random.default_rng(seed)
    for _ in range(number):
        start = rng.integers(len(WORDS))
        count = rng.integers(1, MAX_SEQ_LENGTH - 1)
        words = [WORDS[(start + i) % len(WORDS)] for i in range(count)]
        if rng.random() < 0.1:
            words[-1] = "never"  # not in the vocabulary
        yield " ".join(words)


def write_records(path, lines):
    """Writes the records of these sentences; returns the file's path."""
    records, _ = sentence_streams.make_records(
        list(lines), Vocabulary(VOCAB), MAX_SEQ_LENGTH - 2
    )
    tfrecord.write(str(path), records)
    return str(path)


def task(config=CONFIG, **kwargs):
    """Returns a task over such records; keywords as System's."""
    return BidirectionalLanguageModelTask(
        ElmoSystem(config, **kwargs), MAX_SEQ_LENGTH, UNROLL_STEPS
    )
