"""Writes the vectors of all words of tokenized sentences, whatever a system reads.

    python -m lineage.words --init_checkpoint=elmo --sentences=sentences.txt \
        --output_file=vectors.npy

float32 [words of all lines, width]; several layers stand beside one another. Of a
system of pieces a word's vector is the mean of its pieces'. A word without a vector has
zeros.
"""

import pathlib

import startup

import numpy as np
from absl import flags

from inference.pretrained import Pretrained

FLAGS = flags.FLAGS
_TOGETHER = 512  # sentences
_LONGEST = 400  # words of a line, so that the pieces of few are cut


def define_flags() -> None:
    """What the command line says."""
    flags.DEFINE_string("init_checkpoint", None, "Any model that gives vectors.")
    flags.DEFINE_string("sentences", None, "A sentence a line, words between spaces.")
    flags.DEFINE_list("layers", [], "Which; default: the last, ELMo's: all.")
    flags.DEFINE_string("output_file", None, "A .npy file.")


def main(_) -> None:
    """Opens the model, reads the sentences, writes the vectors."""
    model = Pretrained(FLAGS.init_checkpoint)
    options = {"layers": tuple(map(int, FLAGS.layers))} if FLAGS.layers else {}
    text = pathlib.Path(FLAGS.sentences).read_text(encoding="utf-8")
    sentences = [line.split()[:_LONGEST] for line in text.splitlines()]
    found = []
    for start in range(0, len(sentences), _TOGETHER):
        part = sentences[start : start + _TOGETHER]
        found += [v.reshape(len(v), -1) for v in model.encode_words(part, **options)]
    np.save(FLAGS.output_file, np.concatenate(found))


if __name__ == "__main__":
    define_flags()
    startup.run(main, required=["init_checkpoint", "sentences", "output_file"])
