"""Questions that a model can learn to answer in seconds: where is the good word?"""

import json

import numpy as np
import tiny


def questions(number, seed=0, impossible=0.0):
    """Returns SQuAD's `data`: contexts of 8 to 30 words, one of which is "good"."""
    rng = np.random.default_rng(seed)
    paragraphs = []
    for i in range(number):
        words = [f"Word{n}" for n in rng.integers(0, 30, rng.integers(8, 31))]
        without = rng.random() < impossible
        if not without:
            words[rng.integers(0, len(words))] = "good."
        context = " ".join(words)
        answer = {"text": "good", "answer_start": context.find("good")}
        qa = {
            "id": f"question-{seed}-{i}",
            "question": "word7 good",
            "is_impossible": without,
            "answers": [] if without else [answer],
        }
        paragraphs.append({"context": context, "qas": [qa]})
    return [{"title": "tiny", "paragraphs": paragraphs}]


def write(folder, train=60, dev=17, impossible=0.0):
    """Writes train.json and dev.json; returns the flags that name them."""
    flags = []
    for seed, (name, number) in enumerate({"train": train, "dev": dev}.items()):
        data = {"version": "tiny", "data": questions(number, seed, impossible)}
        (folder / f"{name}.json").write_text(json.dumps(data))
        flag = {"train": "train_file", "dev": "predict_file"}[name]
        flags.append(f"--{flag}={folder / name}.json")
    return flags


def flags(folder, output, **data):
    """Returns run_squad.py's flags for the tiny model on the tiny questions."""
    vocab, config = tiny.write_model(folder)
    # "." ends the answer's word, and is a piece of its own.
    text = (folder / "vocab.txt").read_text().replace("word29\n", ".\n")
    (folder / "vocab.txt").write_text(text)
    return [
        *write(folder, **data),
        f"--vocab_file={vocab}",
        f"--bert_config_file={config}",
        f"--output_dir={output}",
        "--max_seq_length=24",
        "--doc_stride=6",
        "--max_query_length=4",
        "--train_batch_size=8",
        "--learning_rate=3e-3",
    ]
