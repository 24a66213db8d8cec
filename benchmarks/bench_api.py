"""Memory and latency of one text: by word2bert.load, and by the SavedModel export.

    python -m benchmarks.bench_api --model_dir=quickstart/model \
        --export_dir=quickstart/saved_model --input_file=articles.txt

Each is measured in a process of its own. "ready" is from the start of Python's imports
to the first answer; latencies are those of one text after the other, when all their
lengths have been seen; memory is what is resident at the end.
"""

import multiprocessing
import os
import time
from collections.abc import Callable

import startup

import numpy as np
from absl import flags

from errors import UserError

FLAGS = flags.FLAGS
flags.DEFINE_string("model_dir", None, "A classifier's folder, of run_classifier.py.")
flags.DEFINE_string("export_dir", None, "Its export, of export_saved_model.py.")
flags.DEFINE_string("input_file", None, "Texts, one a line.")
flags.DEFINE_integer("num_texts", 200, "How many of them, at most.", 1)


def _classify(folder: str) -> Callable:
    import word2bert

    return word2bert.load(folder).classify


def _encode(folder: str) -> Callable:
    import word2bert

    return word2bert.load(folder).encode


def _serve(folder: str) -> Callable:
    import tensorflow as tf
    import tensorflow_text  # noqa: F401  (the operations of the graph)

    model = tf.saved_model.load(folder)
    signature = model.signatures["serving_default"]

    def answer(text, model=model):  # the signature does not keep its variables
        found = signature(text_a=tf.constant([text]))
        return {name: value.numpy() for name, value in found.items()}

    return answer


def measure(
    load: Callable[[str], Callable], folder: str, texts: list[str]
) -> tuple[float, float, np.ndarray]:
    """Measures in this process.

    Returns:
      Seconds until the first answer, resident bytes, and the seconds of each text.
    """
    started = time.monotonic()
    ask = load(folder)
    ask(texts[0])
    ready = time.monotonic() - started
    for text in texts:
        ask(text)
    seconds = []
    for text in texts:
        started = time.monotonic()
        ask(text)
        seconds.append(time.monotonic() - started)
    with open("/proc/self/statm") as file:
        resident = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return ready, resident, np.array(seconds)


def main(_) -> None:
    """Prints a line for each way to ask."""
    with open(FLAGS.input_file, encoding="utf-8") as file:
        texts = [line.strip() for line in file if line.strip()][: FLAGS.num_texts]
    if not texts:
        raise UserError(f"--input_file={FLAGS.input_file}: there is no text in it")
    print(f"{len(texts)} texts of {np.mean([len(t.split()) for t in texts]):.0f} words")
    ways = {
        "load(...).classify": (_classify, FLAGS.model_dir),
        "load(...).encode": (_encode, FLAGS.model_dir),
        "SavedModel": (_serve, FLAGS.export_dir),
    }
    for name, (load, folder) in ways.items():
        # A process of its own has loaded nothing yet.
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            ready, resident, seconds = pool.apply(measure, (load, folder, texts))
        median, high = np.percentile(1000 * seconds, [50, 99])
        print(
            f"{name}: ready after {ready:.1f} s, {resident / 1e6:.0f} MB resident, "
            f"median {median:.1f} ms, p99 {high:.1f} ms",
            flush=True,
        )


if __name__ == "__main__":
    startup.run(main, required=["model_dir", "export_dir", "input_file"])
