"""Converts checkpoints and word vectors of any format into another format.

    python convert_checkpoint.py --input_checkpoint=uncased_L-12_H-768_A-12 \
        --output_path=bert_base_hf --output_format=huggingface
    python convert_checkpoint.py --input_checkpoint=vectors.bin \
        --output_path=vectors.txt --output_format=word2vec
    python convert_checkpoint.py --input_checkpoint=chinese_L-12_H-768_A-12 \
        --table=bert/embeddings/word_embeddings \
        --output_path=chinese.txt --output_format=word2vec

Input may be a TensorFlow checkpoint (prefix or folder), a training folder (the
optimizer's state stays behind), a Hugging Face folder, a .safetensors file, OpenAI's
folder of GPT or bilm-tf's HDF5 file. The output is a folder with weights, config and
vocabulary. BERT is written as google_bert or huggingface (a tagger without a CRF as
BertForTokenClassification), with the heads of several tasks as google_bert or mt_dnn,
GPT as openai_gpt or huggingface, ELMo as bilm.

Word vectors, or a model's --table, are written in the format of word2vec, GloVe,
fastText, numpy or TensorBoard's projector, whatever they were in.
"""

import dataclasses
import os
from collections.abc import Iterator

import startup

from absl import flags, logging

import checkpoints
import paths
import registry
from checkpoints import word_vectors
from checkpoints.word_vectors import WordVectors
from errors import UserError
from systems import word_tables

FLAGS = flags.FLAGS

flags.DEFINE_string(
    "input_checkpoint",
    None,
    "Checkpoint (prefix, file or folder), or word vectors (file or folder).",
)
flags.DEFINE_string(
    "output_path",
    None,
    "Folder to write, new or empty. Of word vectors: the file, or of formats that are "
    "several files their folder.",
)
flags.DEFINE_enum(
    "output_format",
    None,
    [*checkpoints.formats(), *word_vectors.FORMATS],
    f"Format to write; word vectors': {', '.join(word_vectors.FORMATS)}.",
)
flags.DEFINE_string(
    "table",
    None,
    "Which of a model's tables is written as word vectors, as "
    "bert/embeddings/word_embeddings; a wrong name lists those that there are.",
)
flags.DEFINE_string(
    "bert_config_file", None, "Config, when it is not beside the weights."
)
flags.DEFINE_alias("config_file", "bert_config_file")
flags.DEFINE_string(
    "vocab_file", None, "Vocabulary or words, when not beside the weights or vectors."
)


def convert(
    input_checkpoint: str,
    output_path: str,
    output_format: str,
    bert_config_file: str | None = None,
    vocab_file: str | None = None,
) -> None:
    """Converts one checkpoint; arguments as the flags.

    Raises:
      ValueError: the input is not complete, or the output folder is not empty.
    """
    checkpoint = _open(input_checkpoint, bert_config_file, vocab_file)
    if checkpoint.config is not None:
        entry = registry.of_config(checkpoint.config)
        formats = registry.need(entry.model_type, "formats")
        if not any(form.save for form in formats):
            wanted = "|".join(word_vectors.FORMATS)
            raise UserError(f"{input_checkpoint}: wants --output_format={wanted}")
    checkpoints.save_as(checkpoint, output_path, output_format)
    for name, reason in checkpoint.ignored.items():
        logging.info("left out: %s (%s)", name, reason)
    logging.info(
        "%s (%s) -> %s (%s): %d tensors, %d left out",
        checkpoint.path,
        checkpoint.format,
        output_path,
        output_format,
        len(checkpoint.shapes),
        len(checkpoint.ignored),
    )


def _open(path, bert_config_file, vocab_file):
    """Opens a checkpoint, with what the flags give in place of what is beside it."""
    checkpoint = checkpoints.open_checkpoint(path)
    given = {}
    if bert_config_file is not None:
        given["config"] = checkpoints.read_config(bert_config_file, checkpoint)
    if vocab_file is not None:
        given["vocab_file"] = vocab_file
    return dataclasses.replace(checkpoint, **given)


def convert_vectors(
    input_checkpoint: str,
    output_path: str,
    output_format: str,
    table: str | None = None,
    bert_config_file: str | None = None,
    vocab_file: str | None = None,
) -> None:
    """Writes word vectors, or a model's table, in another format; see the flags.

    Raises:
      ValueError: the input is not complete, or the format cannot hold a word.
    """
    if table is None:
        found = _read_vectors(input_checkpoint, vocab_file)
    else:
        checkpoint = _open(input_checkpoint, bert_config_file, vocab_file)
        found = word_tables.read(checkpoint, table)
    word_vectors.write(output_path, found, output_format)
    logging.info(
        "%s -> %s (%s): %d words, %d numbers each",
        input_checkpoint,
        output_path,
        output_format,
        *found.vectors.shape,
    )


def _read_vectors(path: str, vocab_file: str | None) -> WordVectors:
    try:
        return word_vectors.read(path, vocab_file)
    except checkpoints.CheckpointError:
        try:
            tables = word_tables.find(checkpoints.open_checkpoint(path))
        except UserError:  # nor is it a model
            tables = ()
        if not tables:
            raise
    raise UserError(
        f"{path}: is a model; say by --table which of its tables is wanted: "
        + ", ".join(tables)
    )


def check_flags() -> Iterator[str]:
    """Yields what is wrong with the flags."""
    has_vectors = FLAGS.output_format in word_vectors.FORMATS
    if FLAGS.table and not has_vectors:
        wanted = "|".join(word_vectors.FORMATS)
        yield f"--table={FLAGS.table} needs --output_format={wanted}"
    if FLAGS.bert_config_file and has_vectors and not FLAGS.table:
        yield (
            f"--output_format={FLAGS.output_format} with --bert_config_file needs "
            "--table: a model's"
        )


def main(_) -> None:
    """Runs `convert` or `convert_vectors` on the flags."""
    form = word_vectors.FORMATS.get(FLAGS.output_format)
    outputs = [FLAGS.output_path]
    if form is not None and form.files:
        outputs = [os.path.join(FLAGS.output_path, name) for name in form.files]
    given = {
        flag: FLAGS[flag].value
        for flag in ("input_checkpoint", "bert_config_file", "vocab_file")
    }
    paths.check_outputs(
        {"output_path": outputs}, {flag: [path] for flag, path in given.items()}
    )
    given |= {"output_path": FLAGS.output_path, "output_format": FLAGS.output_format}
    if form is None:
        convert(**given)
    else:
        convert_vectors(**given, table=FLAGS.table)


if __name__ == "__main__":
    required = ["input_checkpoint", "output_path", "output_format"]
    startup.run(main, check_flags, required=required)
