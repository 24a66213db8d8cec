r"""Learns a vocabulary from text: BERT's word pieces, GPT's byte pairs, or words.

python create_vocab.py --input_file='text/*.txt' --output_file=vocab.txt \
    --vocab_size=30522
python create_vocab.py --model_type=gpt --input_file='text/*.txt' \
    --output_file=gpt/vocab.json --vocab_size=40478
python create_vocab.py --model_type=elmo --input_file='tokenized/*.txt' \
    --output_file=vocab.txt --vocab_size=50000
python create_vocab.py --model_type=ulmfit --input_file='text/*.txt' \
    --output_file=vocab.txt --vocab_size=60000
python create_vocab.py --model_type=xlm --languages=en,de \
    --input_file='en:text/*.en,de:text/*.de' --output_file=xlm/vocab --vocab_size=8000

GPT's merges come to lie beside its vocabulary, as merges.txt. ELMo's text is tokenized:
its words are what white space separates, and the file has the most frequent ones first.
ULMFiT's are found by English's rules, with marks for capitals and repetitions. XLM's
byte pairs are of several languages together; its codes come to lie beside its
vocabulary, with "codes" instead of "vocab" in their name.
"""

import contextlib
import dataclasses
import time
from collections.abc import Iterator, Sequence

import startup

import tensorflow as tf
from absl import flags, logging

import command_line
import paths
import registry
import word_rules
from atomic_files import atomic_path
from data_pipeline.corpora import corpus, learners
from errors import UserError

FLAGS = flags.FLAGS

flags.DEFINE_enum(
    "model_type", "bert", registry.model_types("learns"), "Whose vocabulary."
)
flags.DEFINE_string(
    "input_file",
    None,
    "Text files: names and globs, by commas. XLM: en:FILES,de:FILES.",
)
flags.DEFINE_list("languages", [], "XLM: the languages of the text, as in en,de.")
flags.DEFINE_string(
    "output_file",
    None,
    "The vocabulary to write; default: vocab.txt, GPT's vocab.json, XLM's vocab.",
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
flags.DEFINE_enum(
    "tokenizer",
    None,
    word_rules.TOKENIZERS,
    "ELMo, NNLM: what finds words: white space (the default), or spaCy's rules for "
    "English.",
)
flags.DEFINE_enum(
    "segmenter",
    None,
    word_rules.SEGMENTERS,
    "ELMo, NNLM, ULMFiT: finds words in Chinese, or takes its characters for words.",
)


def make_learner() -> learners.Learner:
    """Returns what learns the vocabulary of --model_type."""
    names = (field.name for field in dataclasses.fields(learners.Learner))
    kind = registry.need(FLAGS.model_type, "learns")
    return kind(**{name: FLAGS[name].value for name in names})


def check_flags() -> Iterator[str]:
    """Yields what is wrong with the flags."""
    learner = make_learner()
    yield from command_line.unread(FLAGS.model_type, "learns")
    output = FLAGS.output_file or learner.output_file
    yield from learner.problems(output, FLAGS.input_file)


def lines(files: Sequence[str]) -> Iterator[str]:
    """Yields the lines of all files."""
    return (line for path in files for _, some in corpus.chunks(path) for line in some)


def main(_):
    """Counts words, learns, writes, and tells how the text fares."""
    start = time.perf_counter()
    learner = make_learner()
    files = {
        name: paths.find_files(patterns, "input_file")
        for name, patterns in learner.patterns(FLAGS.input_file).items()
    }
    output = FLAGS.output_file or learner.output_file
    read = [path for some in files.values() for path in some]
    paths.check_outputs({"output_file": learner.outputs(output)}, {"input_file": read})
    texts = learner.count_texts({name: lines(some) for name, some in files.items()})
    num_words = sum(words.total() for words in texts.values())
    first, *others = texts.values()
    distinct = len(set().union(first, *others)) if others else len(first)
    logging.info("%d words, %d distinct", num_words, distinct)
    if not num_words:
        raise UserError(f"--input_file={FLAGS.input_file}: no word in {read}")
    learnt = learner.learn_texts(texts, output)
    with contextlib.ExitStack() as stack:  # all files or none
        for path, text in learnt.files.items():
            aside = stack.enter_context(atomic_path(path))
            with tf.io.gfile.GFile(aside, "w") as file:
                file.write(text)
    print(f"words = {num_words}")
    print(f"distinct_words = {distinct}")
    print(f"pieces = {learnt.pieces}")
    print(learnt.note)
    print(f"tokens = {learnt.tokens}")
    print(f"unk_rate = {learnt.unknown / learnt.tokens:.6f}")
    print(f"seconds = {time.perf_counter() - start:.1f}")


if __name__ == "__main__":
    startup.run(main, check_flags, required=["input_file"], pipes=["input_file"])
