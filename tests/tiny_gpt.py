"""GPT's architecture, byte pairs and data, small enough to train in a second."""

import itertools
import json

import numpy as np
import tiny

from modeling import GptConfig
from systems.gpt import GptSystem

# Letters alone and at a word's end, then what the merges make of them.
_LETTERS = "abdeghiorwx0123456789."
MERGES = [
    *(("g", "o"), ("go", "o"), ("goo", "d</w>")),
    *(("b", "a"), ("ba", "d</w>")),
    *(("w", "o"), ("wo", "r"), ("wor", "d")),
]
PIECES = [
    "<unk>",
    *(letter + end for letter in _LETTERS for end in ("", "</w>")),
    *map("".join, MERGES),
]
CONFIG = GptConfig(
    n_vocab=len(PIECES),
    n_ctx=40,
    n_embd=15,
    n_layer=2,
    n_head=3,
    **dict.fromkeys(("embd_pdrop", "attn_pdrop", "resid_pdrop", "clf_pdrop"), 0.1),
)


def write_model(folder):
    """Writes the vocabulary and gpt_config.json; returns their paths."""
    vocab, config = folder / "vocab.json", folder / "gpt_config.json"
    vocab.write_text(json.dumps({piece: i for i, piece in enumerate(PIECES)}))
    lines = ["#version: 0.2", *(" ".join(pair) for pair in MERGES)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n")
    config.write_text(CONFIG.to_json_string())
    return str(vocab), str(config)


def system(folder, **kwargs):
    """Writes the vocabulary; returns the system with rows for special tokens."""
    vocab, _ = write_model(folder)
    return GptSystem(CONFIG, vocab, **kwargs).with_special_tokens()


def model_flags(folder):
    """Returns the flags that name the model, and suit it."""
    vocab, config = write_model(folder)
    return [
        f"--vocab_file={vocab}",
        f"--config_file={config}",
        "--max_seq_length=40",
        "--train_batch_size=8",
        "--learning_rate=3e-3",
    ]


def classifier_flags(folder, output, *more):
    """Returns run_classifier.py's flags for the tiny model on the tiny data."""
    data = tiny.write_data(folder / "data")
    return [
        *tiny.COLUMNS,
        f"--data_dir={data}",
        f"--output_dir={output}",
        *model_flags(folder),
        *more,
    ]


def write_stories(folder, number=400, answers_in_test=True):
    """Writes the Story Cloze test's two files; the right ending has "good" in it."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(3)
    header = [
        "InputStoryid",
        *(f"InputSentence{i}" for i in range(1, 5)),
        *("RandomFifthSentenceQuiz1", "RandomFifthSentenceQuiz2"),
        "AnswerRightEnding",
    ]
    for name, rows in (("val", number), ("test", 7)):
        lines = [",".join(header)]
        for i in range(rows):
            story = [f'"{" ".join(rng.choice(tiny.WORDS[2:12], 2))}"' for _ in range(4)]
            right = int(rng.integers(1, 3))
            endings = ["bad", "word1 good"] if right == 2 else ["good word1", "bad"]
            lines.append(",".join([f"id-{name}-{i}", *story, *endings, str(right)]))
        path = folder / f"cloze_test_{name} - cloze_test_ALL_{name}.csv"
        path.write_text("\n".join(lines) + "\n")
    return str(folder)


def pairs(number, seed=0):
    """Two texts that are paraphrases, "1", when they say the same of good and bad."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, number)
    sides = itertools.cycle([("good", "bad"), ("bad", "good")])
    for label, (one, other) in zip(labels, sides, strict=False):
        yield f"word1 {one}", one if label else other, str(label)
