"""Makes masked-LM and next-sentence instances from plain text, as TFRecords.

    python create_pretraining_data.py --input_file='text/*.txt' \
        --output_file=examples.tfrecord --vocab_file=vocab.txt

Text files hold one sentence a line and a blank line between documents.
"""

import os
import time

from absl import app, flags

FLAGS = flags.FLAGS

flags.DEFINE_string("input_file", None, "Text files: names and globs, by commas.")
flags.DEFINE_string("output_file", None, "TFRecord files to write, by commas.")
flags.DEFINE_string("vocab_file", None, "The vocabulary, one piece a line.")
flags.DEFINE_bool("do_lower_case", True, "True for uncased models.")
flags.DEFINE_bool("do_whole_word_mask", False, "Masks all pieces of a word together.")
flags.DEFINE_integer("max_seq_length", 128, "Pieces of the longest pair.")
flags.DEFINE_integer("max_predictions_per_seq", 20, "The most masked pieces of a pair.")
flags.DEFINE_integer("random_seed", 12345, "Of everything drawn.")
flags.DEFINE_integer("dupe_factor", 10, "Passes over the text, masked differently.")
flags.DEFINE_float("masked_lm_prob", 0.15, "Share of a pair's pieces to mask.")
flags.DEFINE_float("short_seq_prob", 0.1, "Share of documents cut into short pairs.")
flags.DEFINE_bool(
    "compatible",
    False,
    "Writes google-research/bert's examples exactly: one process, all in memory.",
)
flags.DEFINE_integer("num_workers", os.cpu_count(), "Processes; same bytes.", 1)
flags.DEFINE_integer(
    "num_output_shards",
    1,
    "Divides the one --output_file into NAME-00000-of-0000N and so on.",
    1,
)
flags.DEFINE_enum(
    "segmenter",
    None,
    ("jieba",),
    "Finds words in Chinese text, for --do_whole_word_mask.",
)
flags.DEFINE_enum(
    "pipeline", "local", ("local", "beam"), "On this machine, or as Apache Beam's."
)
flags.DEFINE_multi_string(
    "beam_args", [], "An option of Beam's pipeline, as --runner=FlinkRunner; repeat."
)


def output_files() -> list[str]:
    """The names that --output_file and --num_output_shards stand for."""
    files = FLAGS.output_file.split(",")
    shards = FLAGS.num_output_shards
    if shards == 1:
        return files
    if len(files) > 1:
        raise ValueError(
            f"--num_output_shards={shards} divides one --output_file, got {len(files)}"
        )
    return [f"{files[0]}-{i:05d}-of-{shards:05d}" for i in range(shards)]


def check_combination() -> None:
    """Refuses flags that exclude one another."""
    if FLAGS.segmenter and not FLAGS.do_whole_word_mask:
        raise ValueError(f"--segmenter={FLAGS.segmenter} needs --do_whole_word_mask")
    for flag, usual in (("segmenter", None), ("pipeline", "local")):
        if FLAGS.compatible and FLAGS[flag].value != usual:
            raise ValueError(
                f"--compatible is the original's way; it excludes "
                f"--{flag}={FLAGS[flag].value}"
            )
    if FLAGS.beam_args and FLAGS.pipeline != "beam":
        raise ValueError("--beam_args needs --pipeline=beam")


def main(_):
    """Reads the flags, makes the instances in the way asked for, and reports."""
    start = time.perf_counter()
    check_combination()
    # Here, so that worker processes, which import this file, start without TensorFlow.
    import tokenization
    from data_pipeline import corpus

    files = corpus.find_files(FLAGS.input_file)
    config = corpus.instance_config(
        FLAGS.vocab_file,
        tokenization.load_vocab(FLAGS.vocab_file),
        max_seq_length=FLAGS.max_seq_length,
        max_predictions_per_seq=FLAGS.max_predictions_per_seq,
        masked_lm_prob=FLAGS.masked_lm_prob,
        short_seq_prob=FLAGS.short_seq_prob,
        do_whole_word_mask=FLAGS.do_whole_word_mask,
        dupe_factor=FLAGS.dupe_factor,
        random_seed=FLAGS.random_seed,
    )
    shared = files, FLAGS.vocab_file, FLAGS.do_lower_case, config, output_files()
    if FLAGS.compatible:
        from data_pipeline import compatible_instances

        report = compatible_instances.create(*shared)
    elif FLAGS.pipeline == "beam":
        from data_pipeline import beam_pipeline

        report = beam_pipeline.create(*shared, FLAGS.beam_args, bool(FLAGS.segmenter))
    else:
        from data_pipeline import streaming

        report = streaming.create(*shared, FLAGS.num_workers, bool(FLAGS.segmenter))
    seconds = time.perf_counter() - start
    print("\n".join(report.lines(FLAGS.max_seq_length, seconds)))


if __name__ == "__main__":
    flags.mark_flags_as_required(["input_file", "output_file", "vocab_file"])
    app.run(main)
