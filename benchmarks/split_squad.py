"""Splits a SQuAD file by article: no context of one part is in the other.

    python benchmarks/split_squad.py --input_file=xquad.en.json --output_dir=DIR

Writes DIR/train.json, with the first articles in an order drawn by --seed, as many as
it takes to have --num_train questions, and DIR/dev.json with the others.
"""

import json
import pathlib

import startup

import numpy as np
from absl import flags

FLAGS = flags.FLAGS
flags.DEFINE_string("input_file", None, "The file to split.")
flags.DEFINE_string("output_dir", None, "Where the parts go.")
flags.DEFINE_integer("num_train", 1000, "Questions to train on, at least.", 1)
flags.DEFINE_integer("seed", 0, "Of the order of the articles.")


def num_questions(articles: list[dict]) -> int:
    """Counts the questions of some articles."""
    return sum(len(p["qas"]) for article in articles for p in article["paragraphs"])


def main(_) -> None:
    """Splits the file."""
    content = json.loads(pathlib.Path(FLAGS.input_file).read_text(encoding="utf-8"))
    articles = content["data"]
    order = np.random.default_rng(FLAGS.seed).permutation(len(articles))
    cut = 1
    while num_questions([articles[i] for i in order[:cut]]) < FLAGS.num_train:
        cut += 1
        if cut >= len(articles):
            raise ValueError(
                f"{FLAGS.input_file} has {num_questions(articles)} questions: there is "
                f"no article left beside --num_train={FLAGS.num_train}"
            )
    folder = pathlib.Path(FLAGS.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in (("train", order[:cut]), ("dev", order[cut:])):
        part = [articles[i] for i in rows]
        text = json.dumps(content | {"data": part}, ensure_ascii=False)
        (folder / f"{name}.json").write_text(text, encoding="utf-8")
        print(f"{name}: {len(part)} articles, {num_questions(part)} questions")


if __name__ == "__main__":
    startup.run(main, required=["input_file", "output_dir"])
