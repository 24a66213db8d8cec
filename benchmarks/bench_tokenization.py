"""Lines a second of FullTokenizer and FastTokenizer on one core, in one run.

FullTokenizer stands in for the parent's own Python tokenizer, which is a little slower.

    python -m benchmarks.bench_tokenization --vocab_file=vocab.txt --input_file=text.txt
"""

import os
import statistics
import time

from absl import app, flags

FLAGS = flags.FLAGS
flags.DEFINE_string("vocab_file", None, "The vocabulary, one piece a line.")
flags.DEFINE_string("input_file", None, "UTF-8 text; every line is one text.")
flags.DEFINE_bool("do_lower_case", True, "False for cased models.")
flags.DEFINE_integer("max_lines", 20_000, "Use the file's first lines only.")
flags.DEFINE_integer("rounds", 3, "Times both run, in turn; the medians are reported.")
flags.mark_flags_as_required(["vocab_file", "input_file"])


def seconds(function, *args):
    """Returns how long a call took, and its result."""
    start = time.perf_counter()
    result = function(*args)
    return time.perf_counter() - start, result


def main(_):
    """Times both tokenizers, checks that they agree, and prints the ratio."""
    # Before TensorFlow is imported, so that its threads stay on this core too.
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    import tokenization
    import tokenization_tf

    with open(FLAGS.input_file, encoding="utf-8", errors="ignore", newline="\n") as f:
        lines = [line for _, line in zip(range(FLAGS.max_lines), f, strict=False)]
    full = tokenization.FullTokenizer(FLAGS.vocab_file, FLAGS.do_lower_case)
    startup, fast = seconds(
        tokenization_tf.FastTokenizer, FLAGS.vocab_file, FLAGS.do_lower_case
    )
    warmup, _ = seconds(fast.ids, lines[:100] + ["é"])

    def full_ids():
        return [full.convert_tokens_to_ids(full.tokenize(line)) for line in lines]

    full_times, fast_times = [], []
    for _ in range(FLAGS.rounds):
        elapsed, expected = seconds(full_ids)
        full_times.append(elapsed)
        elapsed, (flat, _) = seconds(fast.ids, lines)
        fast_times.append(elapsed)
        if flat.tolist() != [i for ids in expected for i in ids]:
            raise AssertionError("FastTokenizer and FullTokenizer disagree.")
    full_time, fast_time = statistics.median(full_times), statistics.median(fast_times)
    mean = sum(map(len, lines)) / len(lines)
    print(f"{len(lines)} lines, {mean:.0f} characters a line, one core")
    print(f"FullTokenizer {len(lines) / full_time:12,.0f} lines/s")
    print(f"FastTokenizer {len(lines) / fast_time:12,.0f} lines/s")
    print(f"ratio         {full_time / fast_time:12.1f}")
    print(f"(FastTokenizer's start-up, not counted: {startup + warmup:.2f} s)")


if __name__ == "__main__":
    app.run(main)
