"""Lines a second of our tokenizers and of the originals' loops, one core, one run.

FullTokenizer stands in for the parent's own Python tokenizer, which is a little slower.
For GPT (a vocabulary named *.json) the original's loop is rebuilt from our parts: for
every text ftfy, standardization and the word rules, then the pieces of every token from
a cache. Its rules remember chunks, as spaCy's tokenizer does.

    python -m benchmarks.bench_tokenization --vocab_file=vocab.txt --input_file=text.txt
"""

import functools
import os
import statistics
import time

import startup

from absl import flags

FLAGS = flags.FLAGS
flags.DEFINE_string("vocab_file", None, "BERT's vocab.txt or GPT's vocab.json.")
flags.DEFINE_string("input_file", None, "UTF-8 text; every line is one text.")
flags.DEFINE_bool("do_lower_case", True, "False for cased models.")
flags.DEFINE_integer("max_lines", 20_000, "Use the file's first lines only.")
flags.DEFINE_integer("rounds", 3, "Times both run, in turn; the medians are reported.")


def seconds(function, *args):
    """Returns the processor time that a call took, and its result."""
    start = time.process_time()
    result = function(*args)
    return time.process_time() - start, result


def bert():
    """Returns names and functions, lines -> flat ids, of both tokenizers."""
    import tokenization
    import tokenization_tf

    full = tokenization.FullTokenizer(FLAGS.vocab_file, FLAGS.do_lower_case)
    fast = tokenization_tf.FastTokenizer(FLAGS.vocab_file, FLAGS.do_lower_case)
    fast.ids(["é"] * 100)  # traces the graph

    def full_ids(lines):
        return [i for s in lines for i in full.convert_tokens_to_ids(full.tokenize(s))]

    return {"FullTokenizer": full_ids, "FastTokenizer": lambda s: fast.ids(s)[0]}


def gpt():
    """Returns names and functions, lines -> flat ids, of the loop and TextEncoder.

    Both remember words from round to round: the first is printed by itself.
    """
    import ftfy

    import tokenization_bpe as bpe
    import tokenization_english

    files = (FLAGS.vocab_file, bpe.merges_beside(FLAGS.vocab_file))
    encoder, ours = bpe.TextEncoder(*files), bpe.TextEncoder(*files)
    split = functools.cache(tokenization_english.split)

    def loop_ids(lines):
        ids = []
        for line in lines:
            for chunk in bpe.text_standardize(ftfy.fix_text(line)).split(" "):
                for token in split(chunk) if chunk else ():
                    pieces = encoder.bpe(token.lower()).split(" ")
                    ids.extend([encoder.encoder.get(piece, 0) for piece in pieces])
        return ids

    return {"original's loop": loop_ids, "TextEncoder": lambda s: ours.ids(s)[0]}


def main(_):
    """Times both tokenizers, checks that they agree, and prints the ratio."""
    # Before TensorFlow is imported, so that its threads stay on this core too.
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with open(FLAGS.input_file, encoding="utf-8", errors="ignore", newline="\n") as f:
        lines = [line for _, line in zip(range(FLAGS.max_lines), f, strict=False)]
    startup, tokenizers = seconds(gpt if FLAGS.vocab_file.endswith("json") else bert)
    times = {name: [] for name in tokenizers}
    for _ in range(FLAGS.rounds):
        results = []
        for name, function in tokenizers.items():
            elapsed, ids = seconds(function, lines)
            times[name].append(elapsed)
            results.append(list(ids))
        if results[0] != results[1]:
            raise AssertionError(f"{' and '.join(tokenizers)} disagree.")
    medians = {name: statistics.median(found) for name, found in times.items()}
    mean = sum(map(len, lines)) / len(lines)
    print(f"{len(lines)} lines, {mean:.0f} characters a line, one core")
    for name, median in medians.items():
        tokens = len(results[0]) / median
        print(
            f"{name:15s} {len(lines) / median:10,.0f} lines/s {tokens:12,.0f} tokens/s"
        )
    slow, fast = medians.values()
    first = [found[0] for found in times.values()]
    print(f"{'ratio':15s} {slow / fast:10.1f} (first round {first[0] / first[1]:.1f})")
    print(f"(start-up of both, not counted: {startup:.2f} s)")


if __name__ == "__main__":
    startup.run(main, required=["vocab_file", "input_file"])
