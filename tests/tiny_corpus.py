"""A corpus for pre-training small enough to be made into instances in no time."""

import numpy as np
import tensorflow as tf

from data_pipeline.corpora.bert_instances import InstanceConfig

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
STEMS = [f"w{chr(97 + i)}" for i in range(20)]
ENDS = [f"##e{chr(97 + i)}" for i in range(7)]
VOCAB = [*SPECIAL, *STEMS, *ENDS]
NUM_CHOSEN = {"masked_lm_positions", "masked_lm_ids", "masked_lm_weights"}


def config(**changed):
    """Settings for the tiny vocabulary."""
    usual = {
        "max_seq_length": 24,
        "max_predictions_per_seq": 6,
        "masked_lm_prob": 0.2,
        "mask_probability": 0.8,
        "random_probability": 0.1,
        "keep_probability": 0.1,
        "short_seq_prob": 0.1,
        "do_whole_word_mask": False,
        "dupe_factor": 2,
        "random_seed": 7,
        "vocab_size": len(VOCAB),
        "cls_id": 2,
        "sep_id": 3,
        "mask_id": 4,
    }
    return InstanceConfig(**{**usual, **changed})


def write_vocab(folder):
    """Writes vocab.txt; returns its path."""
    path = folder / "vocab.txt"
    path.write_text("\n".join(VOCAB) + "\n")
    return str(path)


def documents(number, seed=0, longest=9):
    """Documents of 1 to `longest` sentences of 1 to 11 words."""
    rng = np.random.default_rng(seed)

    def word():
        end = rng.choice(ENDS)[2:] if rng.random() < 0.4 else ""
        return rng.choice(STEMS) + end

    return [
        [
            " ".join(word() for _ in range(rng.integers(1, 12)))
            for _ in range(rng.integers(1, longest + 1))
        ]
        for _ in range(number)
    ]


def write_corpus(path, number, seed=0):
    """Writes documents to a text file; returns its path."""
    text = "\n\n".join("\n".join(d) for d in documents(number, seed))
    path.write_text(text + "\n")
    return str(path)


def read(*paths):
    """Reads records as {feature: list of numbers}, file after file."""
    found = []
    for record in tf.data.TFRecordDataset([str(p) for p in paths]).as_numpy_iterator():
        features = tf.train.Example.FromString(record).features.feature
        found.append(
            {
                name: list(feature.int64_list.value or feature.float_list.value)
                for name, feature in sorted(features.items())
            }
        )
    return found
