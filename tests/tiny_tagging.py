"""Sentences with entities that are learnt in seconds: "good" and "bad" begin them."""

import numpy as np
import tiny


def sentences(number, seed=0, longest=12):
    """Words and BIO tags: "good" and a word from 25 on are a PER, "bad" is a LOC."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(number):
        words, tags = [], []
        for _ in range(rng.integers(1, longest)):
            kind = rng.choice(["O", "PER", "LOC"], p=[0.6, 0.2, 0.2])
            other, last = rng.integers([0, 25], [25, 30])
            found_words = {"O": [f"word{other}"], "PER": ["good", f"word{last}"]}
            words += found_words.get(kind, ["bad"])
            tags += {"O": ["O"], "PER": ["B-PER", "I-PER"], "LOC": ["B-LOC"]}[kind]
        found.append((words, tags))
    return found


def columns(found):
    """The text of a CoNLL file; the part of speech is always X."""
    return "\n".join(
        "".join(f"{word} X {tag}\n" for word, tag in zip(*sentence, strict=True))
        for sentence in found
    )


def flags(folder, output, train=80, dev=23, test=9):
    """Writes model and data; returns run_tagger.py's flags for them."""
    vocab, config = tiny.write_model(folder)
    sizes = {"train": train, "dev": dev, "test": test}
    for seed, (name, number) in enumerate(sizes.items()):
        (folder / f"{name}.txt").write_text(columns(sentences(number, seed)))
    return [
        *(f"--{name}_file={folder / name}.txt" for name in sizes),
        f"--vocab_file={vocab}",
        f"--bert_config_file={config}",
        f"--output_dir={output}",
        "--tag_scheme=BIO",
        "--max_seq_length=24",
        "--train_batch_size=8",
        "--learning_rate=1e-2",
    ]
