r"""Learns a vocabulary from text: BERT's word pieces, GPT's byte pairs, ELMo's words.

python create_vocab.py --input_file='text/*.txt' --output_file=vocab.txt \
    --vocab_size=30522
python create_vocab.py --model_type=gpt --input_file='text/*.txt' \
    --output_file=gpt/vocab.json --vocab_size=40478
python create_vocab.py --model_type=elmo --input_file='tokenized/*.txt' \
    --output_file=vocab.txt --vocab_size=50000

GPT's merges come to lie beside its vocabulary, as merges.txt. ELMo's text is tokenized:
its words are what white space separates, and the file has the most frequent ones first.
"""

import collections
import contextlib
import time
from collections.abc import Iterable, Iterator, Mapping
from types import SimpleNamespace

import startup

import tensorflow as tf
from absl import flags, logging

import paths
import tokenization_bpe
import vocabulary
from atomic_files import atomic_path
from data_pipeline.corpora import bpe_learner, corpus, wordpiece_learner
from errors import UserError

FLAGS = flags.FLAGS
_OUTPUT_FILES = {
    "bert": "vocab.txt",
    "gpt": tokenization_bpe.VOCAB,
    "elmo": "vocab.txt",
}

flags.DEFINE_enum("model_type", "bert", list(_OUTPUT_FILES), "Whose vocabulary.")
flags.DEFINE_string("input_file", None, "Text files: names and globs, by commas.")
flags.DEFINE_string(
    "output_file",
    None,
    "The vocabulary to write; default: vocab.txt, GPT's vocab.json.",
)
flags.DEFINE_integer(
    "vocab_size", 30522, "The most pieces, special tokens included.", 1
)
flags.DEFINE_bool(
    "do_lower_case", True, "True for an uncased vocabulary; GPT's is, ELMo's never."
)
flags.DEFINE_integer(
    "min_frequency",
    2,
    "Occurrences of the pair that a new piece is made from, or of a word of ELMo's.",
    1,
)
flags.DEFINE_integer(
    "num_unused",
    0,
    "Rows [unused0] and on, for tokens of your own (BERT). From 99 on, [UNK], [CLS], "
    "[SEP] and [MASK] have the released ids, 100 to 103.",
    0,
)


def check_flags() -> Iterator[str]:
    """Yields what is wrong with the flags: what byte pairs or words do not have."""
    if FLAGS.model_type == "elmo":
        for flag in ("do_lower_case", "num_unused"):
            if FLAGS[flag].present:
                yield f"--{flag} is not for --model_type=elmo"
    if FLAGS.model_type != "gpt":
        return
    try:
        tokenization_bpe.merges_beside(output_file())
    except UserError as error:
        yield str(error)
    if not FLAGS.do_lower_case or FLAGS.num_unused:
        yield (
            f"--do_lower_case={FLAGS.do_lower_case} --num_unused={FLAGS.num_unused} "
            "with --model_type=gpt: its words are always lower-cased, and it has no "
            "unused rows"
        )


def output_file() -> str:
    """The file to write."""
    return FLAGS.output_file or _OUTPUT_FILES[FLAGS.model_type]


def main(_):
    """Counts words, learns, writes, and tells how the text fares."""
    start = time.perf_counter()
    output = output_file()
    count, learn = {
        "bert": (_count_words, _word_pieces),
        "gpt": (bpe_learner.count_words, _byte_pairs),
        "elmo": (vocabulary.count_words, _whole_words),
    }[FLAGS.model_type]
    files = paths.find_files(FLAGS.input_file.split(","), "input_file")
    outputs = [output]
    if FLAGS.model_type == "gpt":
        outputs.append(tokenization_bpe.merges_beside(output))
    paths.check_outputs({"output_file": outputs}, {"input_file": files})
    lines = (line for path in files for _, some in corpus.chunks(path) for line in some)
    words = count(lines)
    logging.info("%d words, %d distinct", sum(words.values()), len(words))
    if not words:
        raise UserError(f"--input_file={FLAGS.input_file}: no word in {files}")
    learnt, texts, note = learn(words, output)
    with contextlib.ExitStack() as stack:  # all files or none
        for path, text in texts.items():
            aside = stack.enter_context(atomic_path(path))
            with tf.io.gfile.GFile(aside, "w") as file:
                file.write(text)
    print(f"words = {sum(words.values())}")
    print(f"distinct_words = {len(words)}")
    print(f"pieces = {len(learnt.pieces)}")
    print(note)
    print(f"tokens = {learnt.tokens}")
    print(f"unk_rate = {learnt.unknown / learnt.tokens:.6f}")
    print(f"seconds = {time.perf_counter() - start:.1f}")


def _count_words(lines: Iterable[str]) -> Mapping[str, int]:
    """Counts words as BERT's tokenizer makes them."""
    return wordpiece_learner.count_words(lines, FLAGS.do_lower_case)


def _word_pieces(
    words: Mapping[str, int], output: str
) -> tuple[wordpiece_learner.Vocabulary, dict[str, str], str]:
    """Returns BERT's vocabulary, what to write where, and a line to print."""
    learnt = wordpiece_learner.learn(
        words,
        FLAGS.vocab_size,
        FLAGS.min_frequency,
        FLAGS.do_lower_case,
        FLAGS.num_unused,
    )
    text = "".join(f"{piece}\n" for piece in learnt.pieces)
    return learnt, {output: text}, f"dropped_pieces = {len(learnt.dropped)}"


def _byte_pairs(
    words: Mapping[str, int], output: str
) -> tuple[bpe_learner.Vocabulary, dict[str, str], str]:
    """Returns GPT's vocabulary, what to write where, and a line to print."""
    learnt = bpe_learner.learn(words, FLAGS.vocab_size, FLAGS.min_frequency)
    names = (output, tokenization_bpe.merges_beside(output))
    texts = tokenization_bpe.file_texts(learnt.pieces, learnt.merges)
    note = f"merges = {len(learnt.merges)}"
    return learnt, dict(zip(names, texts, strict=True)), note


def _whole_words(
    words: collections.Counter[str], output: str
) -> tuple[SimpleNamespace, dict[str, str], str]:
    """Returns ELMo's vocabulary, what to write where, and a line to print."""
    kept = vocabulary.most_frequent(words, FLAGS.vocab_size, FLAGS.min_frequency)
    tokens, known = words.total(), sum(words[word] for word in kept)
    learnt = SimpleNamespace(pieces=kept, tokens=tokens, unknown=tokens - known)
    text = vocabulary.file_text(kept)
    return learnt, {output: text}, f"rarest_count = {words[kept[-1]]}"


if __name__ == "__main__":
    startup.run(main, check_flags, required=["input_file"], pipes=["input_file"])
