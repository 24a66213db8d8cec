"""Converts a checkpoint of any format the project reads into another format.

    python convert_checkpoint.py --input_checkpoint=uncased_L-12_H-768_A-12 \
        --output_path=bert_base_hf --output_format=huggingface

Input may be a TensorFlow checkpoint (prefix or folder), a training folder (the
optimizer's state stays behind), a Hugging Face folder, a .safetensors file, OpenAI's
folder of GPT or bilm-tf's HDF5 file. The output is a folder with weights, config and
vocabulary. BERT is written as google_bert or huggingface (a tagger without a CRF as
BertForTokenClassification), GPT as openai_gpt or huggingface, ELMo as bilm.
"""

import dataclasses

import startup

from absl import flags, logging

import checkpoints
import paths
import registry

FLAGS = flags.FLAGS

flags.DEFINE_string("input_checkpoint", None, "Checkpoint prefix, file or folder.")
flags.DEFINE_string("output_path", None, "Folder to write; new or empty.")
flags.DEFINE_enum("output_format", None, checkpoints.formats(), "Format to write.")
flags.DEFINE_string(
    "bert_config_file", None, "Config, when it is not beside the weights."
)
flags.DEFINE_alias("config_file", "bert_config_file")
flags.DEFINE_string(
    "vocab_file", None, "Vocabulary, when it is not beside the weights."
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
    checkpoint = checkpoints.open_checkpoint(input_checkpoint)
    given = {}
    if bert_config_file is not None:
        given["config"] = checkpoints.read_config(bert_config_file, checkpoint)
    if vocab_file is not None:
        given["vocab_file"] = vocab_file
    checkpoint = dataclasses.replace(checkpoint, **given)
    if checkpoint.config is not None:
        registry.need(registry.of_config(checkpoint.config).model_type, "formats")
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


def main(_) -> None:
    """Runs `convert` on the flags."""
    sources = ("input_checkpoint", "vocab_file", "bert_config_file")
    paths.check_outputs(
        {"output_path": [FLAGS.output_path]},
        {flag: [FLAGS[flag].value] for flag in sources},
    )
    convert(
        FLAGS.input_checkpoint,
        FLAGS.output_path,
        FLAGS.output_format,
        FLAGS.bert_config_file,
        FLAGS.vocab_file,
    )


if __name__ == "__main__":
    required = ["input_checkpoint", "output_path", "output_format"]
    startup.run(main, required=required)
