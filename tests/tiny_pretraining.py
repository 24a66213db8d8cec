"""Pre-training records that a tiny model can learn, padded as the parent's or not."""

import dataclasses

import numpy as np
import tensorflow as tf
import tiny

import modeling
from data_pipeline import tfrecord
from systems.bert import BertSystem
from tasks.language_model import MaskedLanguageModelTask

MAX_SEQ_LENGTH, MAX_PREDICTIONS = 24, 4
CLS, SEP, MASK = (tiny.VOCAB.index(piece) for piece in ("[CLS]", "[SEP]", "[MASK]"))
NAMES = ("input_ids", "input_mask", "segment_ids", "masked_lm_positions")
NAMES = (*NAMES, "masked_lm_ids", "masked_lm_weights", "next_sentence_labels")


def rows(number, seed=0):
    """Two sentences of one word each, repeated; random ones are of two words."""
    rng = np.random.default_rng(seed)
    for _ in range(number):
        label = int(rng.integers(2))
        first, second = rng.choice(np.arange(5, 11), 2, replace=False)
        words = [first] * rng.integers(3, 10)
        words_b = [second if label else first] * rng.integers(3, 10)
        ids = np.array([CLS, *words, SEP, *words_b, SEP])
        sides = np.array([0] * (len(words) + 2) + [1] * (len(words_b) + 1))
        places = np.sort(rng.choice(len(words), rng.integers(1, 3), replace=False)) + 1
        if rng.random() < 0.5:
            places = np.append(places, len(ids) - 2)
        targets = ids[places]
        ids[places] = MASK
        yield {
            "input_ids": ids,
            "input_mask": np.ones_like(ids),
            "segment_ids": sides,
            "masked_lm_positions": places,
            "masked_lm_ids": targets,
            "masked_lm_weights": np.ones(len(places), np.float32),
            "next_sentence_labels": np.array([label]),
        }


def pad(row, length=MAX_SEQ_LENGTH, predictions=MAX_PREDICTIONS):
    """Fills a row with zeros, as the parent writes it."""
    sizes = dict.fromkeys(NAMES[:3], length) | dict.fromkeys(NAMES[3:6], predictions)
    return {
        name: np.pad(value, (0, sizes.get(name, 1) - len(value)))
        for name, value in row.items()
    }


def to_example(row):
    """Serialises a row of integers and floats."""
    features = {}
    for name, value in row.items():
        if value.dtype.kind == "f":
            kind = {"float_list": tf.train.FloatList(value=value)}
        else:
            kind = {"int64_list": tf.train.Int64List(value=value)}
        features[name] = tf.train.Feature(**kind)
    features = tf.train.Features(feature=features)
    return tf.train.Example(features=features).SerializeToString()


def write(path, number, seed=0, padded=False):
    """Writes a TFRecord file; returns its path."""
    found = rows(number, seed)
    tfrecord.write(
        str(path), (to_example(pad(row) if padded else row) for row in found)
    )
    return str(path)


def task(*, static_shapes=False, **kwargs):
    """Returns a task over the tiny records; other keywords as System's."""
    return MaskedLanguageModelTask(
        BertSystem(tiny.CONFIG, do_lower_case=None, **kwargs),
        MAX_SEQ_LENGTH,
        MAX_PREDICTIONS,
        static_shapes=static_shapes,
    )


def golden_batch(folder):
    """Returns the batch of the original's golden file."""
    arrays = np.load(folder / "golden.npz")
    rows = len(arrays["input_ids"])
    batch = {name: tf.constant(arrays[name]) for name in NAMES}
    batch |= {"is_real_example": tf.ones(rows, tf.int32)}
    return batch | {"example_index": tf.range(rows)}


def golden_task(folder, *, static_shapes=False, **kwargs):
    """Returns the task of the original's model, without dropout."""
    config = modeling.BertConfig.from_json_file(str(folder / "bert_config.json"))
    config = dataclasses.replace(
        config, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0
    )
    checkpoint = str(folder / "bert_model.ckpt")
    system = BertSystem(config, init_checkpoint=checkpoint, **kwargs)
    return MaskedLanguageModelTask(system, 24, 6, static_shapes=static_shapes)
