r"""Learns a WordPiece vocabulary from text files and writes it as vocab.txt.

python create_vocab.py --input_file='text/*.txt' --output_file=vocab.txt \
    --vocab_size=30522
"""

import time

import tensorflow as tf
from absl import app, flags, logging

from data_pipeline import corpus, tfrecord, wordpiece_learner

FLAGS = flags.FLAGS

flags.DEFINE_string("input_file", None, "Text files: names and globs, by commas.")
flags.DEFINE_string("output_file", "vocab.txt", "The vocabulary to write.")
flags.DEFINE_integer("vocab_size", 30522, "The most pieces, special tokens included.")
flags.DEFINE_bool("do_lower_case", True, "True for an uncased vocabulary.")
flags.DEFINE_integer(
    "min_frequency", 2, "Occurrences of the pair that a new piece is made from.", 1
)
flags.DEFINE_integer(
    "num_unused",
    0,
    "Rows [unused0] and on, for tokens of your own. From 99 on, [UNK], [CLS], [SEP] "
    "and [MASK] have the released ids, 100 to 103.",
    0,
)


def main(_):
    """Counts words, learns, writes, and tells how the text fares."""
    start = time.perf_counter()
    files = corpus.find_files(FLAGS.input_file)
    lines = (line for path in files for _, some in corpus.chunks(path) for line in some)
    words = wordpiece_learner.count_words(lines, FLAGS.do_lower_case)
    logging.info("%d words, %d distinct", sum(words.values()), len(words))
    if not words:
        raise ValueError(f"--input_file={FLAGS.input_file}: no word in {files}")
    vocabulary = wordpiece_learner.learn(
        words,
        FLAGS.vocab_size,
        FLAGS.min_frequency,
        FLAGS.do_lower_case,
        FLAGS.num_unused,
    )
    text = "".join(f"{piece}\n" for piece in vocabulary.pieces)
    with (
        tfrecord.atomic_path(FLAGS.output_file) as path,
        tf.io.gfile.GFile(path, "w") as file,
    ):
        file.write(text)
    print(f"words = {sum(words.values())}")
    print(f"distinct_words = {len(words)}")
    print(f"pieces = {len(vocabulary.pieces)}")
    print(f"dropped_pieces = {len(vocabulary.dropped)}")
    print(f"tokens = {vocabulary.tokens}")
    print(f"unk_rate = {vocabulary.unknown / vocabulary.tokens:.6f}")
    print(f"seconds = {time.perf_counter() - start:.1f}")


if __name__ == "__main__":
    flags.mark_flag_as_required("input_file")
    app.run(main)
