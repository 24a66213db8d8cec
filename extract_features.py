"""Writes the feature vectors of a text file's lines, or of all their pieces.

ELMo and word vectors read words, and write vectors of words.

python extract_features.py --input_file=input.txt --output_file=vectors.npy \
    --init_checkpoint=all-MiniLM-L6-v2 --pooling=mean --normalize
python extract_features.py --input_file=input.txt --output_file=attentions.npz \
    --init_checkpoint=all-MiniLM-L6-v2 --attentions --plot_file=first_line.png
python extract_features.py --input_file=tokenized.txt --output_file=vectors.hdf5 \
    --init_checkpoint=elmo_folder
"""

import re
from collections.abc import Iterator

import startup

from absl import flags

import common_flags
import model_flags
import pictures
from inference import attentions, extraction, vector_files
from inference.extraction import FeatureExtractor
from inference.extraction_config import (
    COMBINATIONS,
    LONG,
    WEIGHTINGS,
    ExtractionConfig,
)
from modeling.layers import pooling
from training.strategy import make_strategy

FLAGS = flags.FLAGS

model_flags.define_model_flags()
common_flags.define_distribution_flags()
common_flags.define_precision_flag()
model_flags.define_word_flags()
model_flags.define_word_rule_flags()
model_flags.define_language_flag()
flags.DEFINE_string("input_file", None, "One text a line, or a pair as `a ||| b`.")
flags.DEFINE_string("output_file", None, "File to write; replaced when complete.")
flags.DEFINE_list(
    "layers",
    None,
    "The encoder's layers; -1 is the last. Default: -1,-2,-3,-4; with --pooling, -1; "
    "ELMo's: all, 0 being the words without context.",
)
flags.DEFINE_integer("max_seq_length", 128, "Pieces of the longest input.", 1)
flags.DEFINE_enum(
    "long",
    "truncate",
    LONG,
    "A longer line is cut, or read in windows whose vectors are averaged.",
)
flags.DEFINE_integer("batch_size", 32, "Inputs in a batch, over all devices.", 1)
flags.DEFINE_bool(
    "use_one_hot_embeddings", False, "The parent's; it does not change the values."
)
flags.DEFINE_string(
    "pooling",
    "none",
    f"One vector a line: {', '.join(pooling.STRATEGIES[1:])}, or bert-as-service's "
    "names (REDUCE_MEAN ...). none: a vector for every piece.",
)
flags.DEFINE_enum(
    "word_weighting",
    None,
    WEIGHTINGS,
    "Word vectors with --pooling=mean, of a whole file: weights by inverse document "
    "frequency; or by SIF, which also takes the first principal component away.",
)
flags.DEFINE_enum(
    "layer_combination",
    None,
    COMBINATIONS,
    "Vectors of several layers: each for itself, averaged, or one after the other. "
    "Default: separate; with --pooling, concat.",
)
flags.DEFINE_bool(
    "mask_cls_sep", False, "Whether to leave out [CLS] and [SEP]; GPT has none."
)
flags.DEFINE_bool(
    "stateful",
    False,
    "ELMo's: a sentence begins in the states in which the one before ended, as in "
    "bilm-tf; else the same sentence always has the same vectors.",
)
flags.DEFINE_bool(
    "attentions",
    False,
    "BERT, GPT, XLM: writes what the heads attend to instead: a .npz with pieces_0 and "
    "attentions_0, [layers, heads, pieces, pieces], of line 0, and so on.",
)
flags.DEFINE_string(
    "plot_file",
    None,
    f"--attentions: a picture of one line's ({', '.join(pictures.ENDINGS)}).",
)
flags.DEFINE_integer("plot_line", 0, "Of which line, from 0 on.", 0)
flags.DEFINE_bool("normalize", False, "Whether to scale every vector to length 1.")
flags.DEFINE_enum(
    "output_format",
    None,
    sorted(vector_files.WRITERS),
    "Default: by --output_file's ending (.npy, .tfrecord, .hdf5), else jsonl.",
)


def check_flags() -> Iterator[str]:
    """Yields what is wrong with the flags."""
    yield from common_flags.check_run()
    layers = FLAGS.layers or ()
    if not all(re.fullmatch("-?[0-9]{1,4}", layer) for layer in layers):
        given = ",".join(layers)
        yield f"flag --layers={given}: wants whole numbers, as in -1,-2"
    yield from _attention_problems()


def _attention_problems():
    """What is wrong with --attentions, and where it is missing."""
    plot = FLAGS.plot_file
    if plot and not plot.endswith(pictures.ENDINGS):
        yield f"--plot_file={plot}: wanted one of {', '.join(pictures.ENDINGS)}"
    if not FLAGS.attentions:
        if plot:
            yield "--plot_file is of --attentions"
        return
    if FLAGS.output_file and not FLAGS.output_file.endswith(".npz"):
        yield f"--output_file={FLAGS.output_file}: --attentions wants a .npz"
    vectors = ("layers", "pooling", "layer_combination", "normalize", "mask_cls_sep")
    vectors += ("long", "stateful", "output_format", "word_weighting")
    for name in vectors:
        if FLAGS[name].present:
            yield f"--{name} is of vectors, which --attentions does not write"


def extraction_config() -> ExtractionConfig:
    """Reads which vectors are wanted."""
    return ExtractionConfig(
        pooling=FLAGS.pooling,
        word_weighting=FLAGS.word_weighting,
        layers=FLAGS.layers and tuple(map(int, FLAGS.layers)),
        layer_combination=FLAGS.layer_combination,
        mask_cls_sep=FLAGS.mask_cls_sep,
        normalize=FLAGS.normalize,
        max_seq_length=FLAGS.max_seq_length,
        long=FLAGS.long,
        batch_size=FLAGS.batch_size,
        stateful=FLAGS.stateful,
        mixed_precision=FLAGS.mixed_precision,
        static_shapes=common_flags.static_shapes(),
    )


def main(_) -> None:
    """Reads the flags, loads the model and writes the vectors."""
    common_flags.check_output("output_file", "input_file")
    system = model_flags.in_language(model_flags.system("extracts"))
    if FLAGS.attentions:
        if FLAGS.plot_file:
            common_flags.check_output("plot_file", "input_file")
        reader = attentions.AttentionReader(system, FLAGS.max_seq_length)
        files = FLAGS.input_file, FLAGS.output_file
        attentions.read_file(reader, *files, FLAGS.plot_file, FLAGS.plot_line)
        return
    strategy = make_strategy(common_flags.distribution_config())
    extractor = FeatureExtractor(extraction_config(), system, strategy=strategy)
    form = FLAGS.output_format or vector_files.format_of(FLAGS.output_file)
    extraction.extract_file(extractor, FLAGS.input_file, FLAGS.output_file, form)


if __name__ == "__main__":
    required = ["input_file", "output_file", "init_checkpoint"]
    startup.run(main, check_flags, required=required, pipes=["input_file"])
