"""Continues prompts with a language model.

python generate.py --init_checkpoint=gpt --prompt="the prime minister said" \
    --temperature=0.8 --top_k=40
"""

import json
import sys
from collections.abc import Iterator

import startup

import tensorflow as tf
from absl import flags

import common_flags
import model_flags
import modeling
from atomic_files import atomic_path
from data_pipeline.features import lines as sentences
from errors import UserError
from inference.generation import GenerationConfig, Generator
from systems.capabilities import Generates

FLAGS = flags.FLAGS

model_flags.define_model_flags()
flags.DEFINE_multi_string(
    "prompt", None, "What to continue; may be given often. '': a new document."
)
flags.DEFINE_string("input_file", None, "Prompts, one a line; instead of --prompt.")
flags.DEFINE_string(
    "output_file",
    None,
    "JSON lines of prompt and text, complete when it appears. Default: the terminal.",
)
flags.DEFINE_integer("max_new_tokens", 64, "Tokens of the longest text, prompt apart.")
flags.DEFINE_float("temperature", 1.0, "Divides the scores; 0: always the best token.")
flags.DEFINE_integer("top_k", 0, "Only so many best tokens may be chosen; 0: all.")
flags.DEFINE_float(
    "top_p", 1.0, "Only the best tokens that cover this probability may be chosen."
)
flags.DEFINE_integer("seed", 0, "The same seed gives the same texts in any batches.", 0)
flags.DEFINE_integer("batch_size", 8, "Texts written at a time.")
flags.DEFINE_integer("num_samples", 1, "Texts for each prompt.", 1)
flags.DEFINE_bool(
    "stop_at_newline",
    True,
    "Whether a text ends at a newline token, which ends documents in training data.",
)
flags.DEFINE_bool(
    "stream",
    None,
    "Whether to show every token at once. Default: for one text on a terminal.",
)


def check_flags() -> Iterator[str]:
    """Yields what is wrong with the flags."""
    yield from common_flags.check_run()
    if (FLAGS.prompt is None) == (FLAGS.input_file is None):
        yield "give --prompt or --input_file, one of the two"
    try:
        generation_config()
    except UserError as error:
        yield str(error)


def generation_config() -> GenerationConfig:
    """Reads how texts are written."""
    return GenerationConfig(
        max_new_tokens=FLAGS.max_new_tokens,
        temperature=FLAGS.temperature,
        top_k=FLAGS.top_k,
        top_p=FLAGS.top_p,
        seed=FLAGS.seed,
        batch_size=FLAGS.batch_size,
    )


def _prompts() -> list[str]:
    prompts = FLAGS.prompt or list(sentences.read_lines(FLAGS.input_file))
    if not prompts:
        raise UserError(f"{FLAGS.input_file}: the file is empty")
    return [prompt for prompt in prompts for _ in range(FLAGS.num_samples)]


def _before(prompt: str) -> str:
    """What is shown before a text."""
    return prompt and f"{prompt} "


def _stream(generator: Generator, generates: Generates, ids: list[int]) -> None:
    """Prints a text while it grows; a space comes with the word behind it."""
    seen, shown = [], 0
    for token in generator.stream(ids):
        seen.append(token)
        text = generates.decode(seen)
        print(text[shown:], end="", flush=True)
        shown = len(text)
    print()


def main(_) -> None:
    """Reads flags and prompts, loads the model and writes the texts."""
    common_flags.check_output("output_file", "input_file")
    system = model_flags.system("generates")
    prompts = _prompts()
    one = len(prompts) == 1 and not FLAGS.output_file
    if FLAGS.stream and not one:
        raise UserError("--stream shows one text, of one prompt; not --output_file")
    generates = system.need("generates")
    encoded = generates.encode(prompts)
    model = system.build_encoder()
    stop = generates.stop_id if FLAGS.stop_at_newline else None
    generator = Generator(model, generation_config(), stop, generates.never)
    system.initialize(modeling.named_variables(model), None)

    if FLAGS.stream or (FLAGS.stream is None and one and sys.stdout.isatty()):
        print(_before(prompts[0]), end="", flush=True)
        _stream(generator, generates, encoded[0])
        return
    texts = map(generates.decode, generator.generate(encoded))
    if not FLAGS.output_file:
        for prompt, text in zip(prompts, texts, strict=True):
            print(_before(prompt) + text, flush=True)
        return
    with (
        atomic_path(FLAGS.output_file) as path,
        tf.io.gfile.GFile(path, "w") as file,
    ):
        for prompt, text in zip(prompts, texts, strict=True):
            line = {"prompt": prompt, "text": text}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    required = ["init_checkpoint"]
    startup.run(main, check_flags, required=required, pipes=["input_file"])
