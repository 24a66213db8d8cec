r"""Learns a vocabulary from text files: BERT's word pieces or GPT's byte pairs.

python create_vocab.py --input_file='text/*.txt' --output_file=vocab.txt \
    --vocab_size=30522
python create_vocab.py --model_type=gpt --input_file='text/*.txt' \
    --output_file=gpt/vocab.json --vocab_size=40478

GPT's merges come to lie beside its vocabulary, as merges.txt.
"""

import contextlib
import time
from collections.abc import Mapping

import tensorflow as tf
from absl import app, flags, logging

import tokenization_bpe
from data_pipeline import bpe_learner, corpus, tfrecord, wordpiece_learner

FLAGS = flags.FLAGS
_OUTPUT_FILES = {"bert": "vocab.txt", "gpt": tokenization_bpe.VOCAB}

flags.DEFINE_enum("model_type", "bert", list(_OUTPUT_FILES), "Whose vocabulary.")
flags.DEFINE_string("input_file", None, "Text files: names and globs, by commas.")
flags.DEFINE_string(
    "output_file",
    None,
    "The vocabulary to write; default: vocab.txt, GPT's vocab.json.",
)
flags.DEFINE_integer("vocab_size", 30522, "The most pieces, special tokens included.")
flags.DEFINE_bool("do_lower_case", True, "True for an uncased vocabulary; GPT's is.")
flags.DEFINE_integer(
    "min_frequency", 2, "Occurrences of the pair that a new piece is made from.", 1
)
flags.DEFINE_integer(
    "num_unused",
    0,
    "Rows [unused0] and on, for tokens of your own (BERT). From 99 on, [UNK], [CLS], "
    "[SEP] and [MASK] have the released ids, 100 to 103.",
    0,
)


def main(_):
    """Counts words, learns, writes, and tells how the text fares."""
    start = time.perf_counter()
    gpt = FLAGS.model_type == "gpt"
    output = FLAGS.output_file or _OUTPUT_FILES[FLAGS.model_type]
    if gpt:
        _check_gpt_flags(output)
    files = corpus.find_files(FLAGS.input_file)
    lines = (line for path in files for _, some in corpus.chunks(path) for line in some)
    if gpt:
        words = bpe_learner.count_words(lines)
    else:
        words = wordpiece_learner.count_words(lines, FLAGS.do_lower_case)
    logging.info("%d words, %d distinct", sum(words.values()), len(words))
    if not words:
        raise ValueError(f"--input_file={FLAGS.input_file}: no word in {files}")
    vocabulary, texts, note = (_byte_pairs if gpt else _word_pieces)(words, output)
    with contextlib.ExitStack() as stack:  # all files or none
        for path, text in texts.items():
            aside = stack.enter_context(tfrecord.atomic_path(path))
            with tf.io.gfile.GFile(aside, "w") as file:
                file.write(text)
    print(f"words = {sum(words.values())}")
    print(f"distinct_words = {len(words)}")
    print(f"pieces = {len(vocabulary.pieces)}")
    print(note)
    print(f"tokens = {vocabulary.tokens}")
    print(f"unk_rate = {vocabulary.unknown / vocabulary.tokens:.6f}")
    print(f"seconds = {time.perf_counter() - start:.1f}")


def _word_pieces(
    words: Mapping[str, int], output: str
) -> tuple[wordpiece_learner.Vocabulary, dict[str, str], str]:
    """Returns BERT's vocabulary, what to write where, and a line to print."""
    vocabulary = wordpiece_learner.learn(
        words,
        FLAGS.vocab_size,
        FLAGS.min_frequency,
        FLAGS.do_lower_case,
        FLAGS.num_unused,
    )
    text = "".join(f"{piece}\n" for piece in vocabulary.pieces)
    return vocabulary, {output: text}, f"dropped_pieces = {len(vocabulary.dropped)}"


def _byte_pairs(
    words: Mapping[str, int], output: str
) -> tuple[bpe_learner.Vocabulary, dict[str, str], str]:
    """Returns GPT's vocabulary, what to write where, and a line to print."""
    vocabulary = bpe_learner.learn(words, FLAGS.vocab_size, FLAGS.min_frequency)
    names = (output, tokenization_bpe.merges_beside(output))
    texts = tokenization_bpe.file_texts(vocabulary.pieces, vocabulary.merges)
    note = f"merges = {len(vocabulary.merges)}"
    return vocabulary, dict(zip(names, texts, strict=True)), note


def _check_gpt_flags(output: str) -> None:
    """Refuses, before any work, what byte pairs do not have."""
    tokenization_bpe.merges_beside(output)
    if not FLAGS.do_lower_case or FLAGS.num_unused:
        raise ValueError(
            f"--do_lower_case={FLAGS.do_lower_case} --num_unused={FLAGS.num_unused} "
            "with --model_type=gpt: its words are always lower-cased, and it has no "
            "unused rows"
        )


if __name__ == "__main__":
    flags.mark_flag_as_required("input_file")
    app.run(main)
