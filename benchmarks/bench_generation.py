"""Tokens a second that GPT writes, with its cache and with a whole pass for each token.

Weights are random. A pass for each token makes a text of twice the length cost four
times as much; the cache, twice.

    python -m benchmarks.bench_generation --config_file=configs/models/gpt.json
"""

import time

import startup

import numpy as np
import tensorflow as tf
from absl import flags

from inference.generation import GenerationConfig, Generator
from modeling import GptConfig, GptLanguageModel

FLAGS = flags.FLAGS
flags.DEFINE_string("config_file", None, "The architecture.")
flags.DEFINE_multi_integer("length", [64, 256], "Tokens written.", 2)
flags.DEFINE_integer("batch_size", 1, "Texts written at a time.", 1)


def cached(model: GptLanguageModel, length: int) -> tuple[np.ndarray, float]:
    """Writes texts as generate.py does; the first call of a Generator traces it."""
    config = GenerationConfig(length, temperature=0, batch_size=FLAGS.batch_size)
    generator = Generator(model, config)
    prompts = [[1]] * FLAGS.batch_size
    next(generator.stream(prompts[0]))
    list(generator.generate(prompts))
    start = time.perf_counter()
    texts = list(generator.generate(prompts))
    return np.array(texts), time.perf_counter() - start


def uncached(model: GptLanguageModel, length: int) -> tuple[np.ndarray, float]:
    """Writes the same texts, reading each from its beginning for every token."""
    spec = tf.TensorSpec([None, None], tf.int32)

    @tf.function(input_signature=[spec], autograph=False)
    def best(ids):
        logits = model.lm_logits(model(ids)["sequence_output"][:, -1])
        return tf.argmax(logits[:, : model.config.n_vocab], -1, tf.int32)

    ids = np.ones([FLAGS.batch_size, 1], np.int32)
    best(ids)
    start = time.perf_counter()
    for _ in range(length):
        ids = np.concatenate([ids, best(ids).numpy()[:, None]], axis=1)
    return ids[:, 1:], time.perf_counter() - start


def main(_):
    """Times both at every length, and checks that they write the same."""
    model = GptLanguageModel(GptConfig.from_json_file(FLAGS.config_file))
    for length in FLAGS.length:
        (ours, fast), (whole, slow) = cached(model, length), uncached(model, length)
        if not np.array_equal(ours, whole):
            raise AssertionError("The cache changes the text.")
        tokens = ours.size
        print(
            f"{FLAGS.batch_size} x {length} tokens: cache {tokens / fast:.1f} /s, "
            f"without {tokens / slow:.1f} /s, ratio {slow / fast:.1f}",
            flush=True,
        )


if __name__ == "__main__":
    startup.run(main, required=["config_file"])
