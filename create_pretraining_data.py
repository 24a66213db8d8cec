"""Makes records for pre-training from text: pairs, streams, sentences or documents.

    python create_pretraining_data.py --input_file='text/*.txt' \
        --output_file=examples.tfrecord --vocab_file=vocab.txt
    python create_pretraining_data.py --model_type=gpt --vocab_file=vocab.json \
        --input_file='text/*.txt' --output_file=examples.tfrecord --max_seq_length=512
    python create_pretraining_data.py --model_type=elmo --vocab_file=vocab.txt \
        --input_file='tokenized/*.txt' --output_file=examples.tfrecord
    python create_pretraining_data.py --model_type=ulmfit --vocab_file=vocab.txt \
        --input_file='text/*.txt' --output_file=examples.tfrecord --max_seq_length=512
    python create_pretraining_data.py --model_type=xlm --vocab_file=xlm/vocab \
        --languages=en,de --input_file='en:text/*.en,de:text/*.de' \
        --parallel=en-de:pairs.en,pairs.de --output_file=records

Text files hold one sentence a line and a blank line between documents. ELMo's hold
tokenized sentences, what white space separates being the words; blank lines mean
nothing there. XLM's hold sentences as they are, those of --parallel line by line each
other's translation; every language and pair gets its own files: records.en-de.
"""

import os
import re
import time
from collections.abc import Iterator

import startup

from absl import flags

import command_line
import registry
import word_rules

FLAGS = flags.FLAGS

flags.DEFINE_enum(
    "model_type",
    "bert",
    registry.model_types("makes_records"),
    "bert: masked pairs of sentences; gpt: the documents joined and cut; elmo: "
    "sentences of words; ulmfit: documents in words; xlm: streams of a language, and "
    "pairs.",
)
flags.DEFINE_string(
    "input_file",
    None,
    "Text files: names and globs, by commas. XLM: en:FILES,de:FILES.",
)
flags.DEFINE_list("languages", [], "XLM: the languages of the text, as in en,de.")
flags.DEFINE_string(
    "parallel",
    None,
    "XLM: en-de:FILE,FILE, more by commas; line by line translations of one another.",
)
flags.DEFINE_integer(
    "max_vocab",
    None,
    "XLM: so many pieces, where the model has no more. Default: all.",
    15,
)
flags.DEFINE_string("output_file", None, "TFRecord files to write, by commas.")
flags.DEFINE_string(
    "vocab_file",
    None,
    "vocab.txt; vocab.json, merges beside it; XLM's vocab, codes beside it.",
)
flags.DEFINE_bool("do_lower_case", True, "True for uncased models.")
flags.DEFINE_bool("do_whole_word_mask", False, "Masks all pieces of a word together.")
flags.DEFINE_integer(
    "max_seq_length",
    None,
    "Pieces of the longest record; XLM leaves longer pairs out. Default: 128, XLM 256.",
    2,
)
flags.DEFINE_integer(
    "max_predictions_per_seq", 20, "The most masked pieces of a pair.", 1
)
flags.DEFINE_integer("random_seed", 12345, "Of everything drawn.", 0)
flags.DEFINE_integer("dupe_factor", 10, "Passes over the text, masked differently.", 1)
flags.DEFINE_float(
    "masked_lm_prob", 0.15, "Share of a pair's pieces to mask.", 0.0, 1.0
)
flags.DEFINE_float(
    "mask_probability", 0.8, "Of the chosen pieces, the share that is [MASK].", 0.0, 1.0
)
flags.DEFINE_float(
    "random_probability", 0.1, "The share that is any piece instead.", 0.0, 1.0
)
flags.DEFINE_float(
    "keep_probability", 0.1, "The share that stays as it is; all three are 1.", 0.0, 1.0
)
flags.DEFINE_float(
    "short_seq_prob", 0.1, "Share of documents cut into short pairs.", 0.0, 1.0
)
flags.DEFINE_bool(
    "compatible",
    False,
    "Writes google-research/bert's examples exactly: one process, all in memory.",
)
flags.DEFINE_bool(
    "padded_records",
    False,
    "Fills all features up to full length, as google-research/bert's own "
    "run_pretraining.py wants them and as --compatible writes them.",
)
flags.DEFINE_integer("num_workers", os.cpu_count(), "Processes; same bytes.", 1)
flags.DEFINE_integer(
    "num_output_shards",
    1,
    "Divides the one --output_file into NAME-00000-of-0000N and so on.",
    1,
)
flags.DEFINE_enum(
    "tokenizer",
    None,
    word_rules.TOKENIZERS,
    "ELMo, NNLM: what finds words: white space, or spaCy's rules for English. Default: "
    "as the vocabulary's words were found.",
)
flags.DEFINE_enum(
    "segmenter",
    None,
    word_rules.SEGMENTERS,
    "Finds words in Chinese text, for --do_whole_word_mask (jieba) and for ELMo, NNLM "
    "and ULMFiT, by default as those of the vocabulary were found.",
)
flags.DEFINE_enum(
    "pipeline", "local", ("local", "beam"), "On this machine, or as Apache Beam's."
)
flags.DEFINE_multi_string(
    "beam_args", [], "An option of Beam's pipeline, as --runner=FlinkRunner; repeat."
)


def check_flags() -> Iterator[str]:
    """Yields what is wrong with the flags: those that exclude one another."""
    yield from command_line.unread(FLAGS.model_type, "makes_records")
    maker = registry.need(FLAGS.model_type, "makes_records")
    yield from maker.problems(FLAGS.flag_values_dict())
    masks = "do_whole_word_mask" in maker.reads
    if FLAGS.segmenter and masks and not FLAGS.do_whole_word_mask:
        yield f"--segmenter={FLAGS.segmenter} needs --do_whole_word_mask"
    if FLAGS.segmenter == "characters" and masks:
        yield "--segmenter=characters: wanted jieba, for BERT masks characters alone"
    for flag, usual in (("segmenter", None), ("pipeline", "local")):
        if FLAGS.compatible and FLAGS[flag].value != usual:
            yield (
                f"--compatible is the original's way; it excludes "
                f"--{flag}={FLAGS[flag].value}"
            )
    pattern = re.search(r"[*?\[\]{}\\]", FLAGS.output_file or "")
    if FLAGS.pipeline == "beam" and pattern:
        yield (
            f"--output_file={FLAGS.output_file}: Apache Beam takes the name for a "
            "pattern, and removes what it matches; give one without *?[]{}\\"
        )
    if FLAGS.beam_args and FLAGS.pipeline != "beam":
        yield "--beam_args needs --pipeline=beam"


def main(_):
    """Reads the flags, makes the records of the model asked for, and reports."""
    start = time.perf_counter()
    # Here, so that worker processes, which import this file, start without TensorFlow.
    import paths

    maker = registry.need(FLAGS.model_type, "makes_records")(FLAGS.flag_values_dict())
    paths.check_outputs({"output_file": maker.output_files}, maker.inputs())
    report = maker.make()
    report.warn()
    seconds = time.perf_counter() - start
    print("\n".join(report.lines(maker.options["max_seq_length"], seconds)))


if __name__ == "__main__":
    required = ["input_file", "output_file", "vocab_file"]
    startup.run(main, check_flags, required=required, pipes=["input_file"])
