"""Fine-tunes a Hugging Face folder with transformers: the twin of run_classifier.py.

Same data, hyper-parameters, schedule, decay exclusions and clipping; the optimizer is
torch's AdamW, which corrects Adam's bias where the parent's does not. One JSON line a
seed, and one of means and standard deviations. Example:
  python benchmarks/peers/hf_classifier.py --task_name=mrpc --data_dir=DIR --model=DIR
"""

import csv
import json
import pathlib
import statistics
import sys
import time

try:
    import numpy as np
    import torch
    import transformers
    from absl import app, flags
    from sklearn.metrics import accuracy_score, f1_score
except ImportError as error:
    sys.exit(f"{error.name} is not installed: see benchmarks/peers/README.md")

FLAGS = flags.FLAGS
flags.DEFINE_enum("task_name", None, ["mrpc", "sst-2"], "The task.")
flags.DEFINE_string(
    "data_dir",
    None,
    "SST-2: GLUE's train.tsv and dev.tsv; MRPC: the raw msr_paraphrase_*.txt, "
    "whose test file is the evaluation set.",
)
flags.DEFINE_string("model", None, "Folder: config.json, model.safetensors, vocab.txt.")
flags.DEFINE_integer("max_seq_length", 128, "Tokens an example, at most.")
flags.DEFINE_integer("train_batch_size", 32, "Examples a step.", lower_bound=1)
flags.DEFINE_float("learning_rate", 5e-5, "The peak, after warm-up.")
flags.DEFINE_float("num_train_epochs", 3.0, "Passes over the training examples.")
flags.DEFINE_float("warmup_proportion", 0.1, "Share of the steps spent warming up.")
flags.DEFINE_integer(
    "max_train_examples", None, "Those that run_classifier.py --seed=0 picks; else all."
)
flags.DEFINE_integer("seeds", 1, "Runs, seeded 1, 2, ...", lower_bound=1)
flags.mark_flags_as_required(["task_name", "data_dir", "model"])

FILES = {
    "mrpc": ("msr_paraphrase_train.txt", "msr_paraphrase_test.txt"),
    "sst-2": ("train.tsv", "dev.tsv"),
}
COLUMNS = {
    "mrpc": ("#1 String", "#2 String", "Quality"),
    "sst-2": ("sentence", None, "label"),
}


def read(path: pathlib.Path) -> list[tuple[str, str | None, int]]:
    """The file's (text_a, text_b or None, label), in file order."""
    text_a, text_b, label = COLUMNS[FLAGS.task_name]
    # utf-8-sig: MRPC's files begin with a byte order mark.
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [(row[text_a], row.get(text_b), int(row[label])) for row in rows]


def encode(tokenizer, examples: list) -> dict[str, torch.Tensor]:
    """A batch padded to its longest example."""
    first, second, labels = zip(*examples, strict=True)
    batch = tokenizer(
        list(first),
        list(second) if second[0] is not None else None,
        truncation=True,
        max_length=FLAGS.max_seq_length,
        padding="longest",
        return_tensors="pt",
    )
    return {**batch, "labels": torch.tensor(labels)}


def parameter_groups(model: torch.nn.Module) -> list[dict]:
    """Weight decay on everything but biases and layer norms, as the parent does."""
    groups = {0.01: [], 0.0: []}
    for name, parameter in model.named_parameters():
        exempt = name.endswith("bias") or "LayerNorm" in name
        groups[0.0 if exempt else 0.01].append(parameter)
    return [{"params": p, "weight_decay": decay} for decay, p in groups.items()]


def train(model: torch.nn.Module, tokenizer, examples: list, seed: int) -> None:
    """Linear warm-up, then linear decay to zero; the global norm clipped to 1."""
    size = FLAGS.train_batch_size
    steps = int(len(examples) / size * FLAGS.num_train_epochs)
    warmup = int(steps * FLAGS.warmup_proportion)
    optimizer = torch.optim.AdamW(
        parameter_groups(model), lr=FLAGS.learning_rate, eps=1e-6
    )
    schedule = transformers.get_linear_schedule_with_warmup(optimizer, warmup, steps)
    generator = torch.Generator().manual_seed(seed)
    queue = []
    model.train()
    for _ in range(steps):
        # As in tf.data's shuffle().repeat().batch(): a batch may span two epochs.
        if len(queue) < size:
            queue += torch.randperm(len(examples), generator=generator).tolist()
        picked, queue = queue[:size], queue[size:]
        model(**encode(tokenizer, [examples[i] for i in picked])).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()


@torch.inference_mode()
def evaluate(model: torch.nn.Module, tokenizer, examples: list) -> dict[str, float]:
    """Accuracy, and F1 of class 1, over all examples."""
    model.eval()
    predictions = []
    for first in range(0, len(examples), 64):
        batch = encode(tokenizer, examples[first : first + 64])
        predictions += model(**batch).logits.argmax(-1).tolist()
    labels = [label for _, _, label in examples]
    return {
        "accuracy": float(accuracy_score(labels, predictions)),
        "f1": float(f1_score(labels, predictions)),
    }


def main(_) -> None:
    train_file, eval_file = FILES[FLAGS.task_name]
    folder = pathlib.Path(FLAGS.data_dir)
    train_examples = read(folder / train_file)
    if FLAGS.max_train_examples:
        order = np.random.default_rng(0).permutation(len(train_examples))
        train_examples = [train_examples[i] for i in order[: FLAGS.max_train_examples]]
    eval_examples = read(folder / eval_file)
    tokenizer = transformers.BertTokenizer.from_pretrained(FLAGS.model)
    results = []
    for seed in range(1, FLAGS.seeds + 1):
        transformers.set_seed(seed)
        model = transformers.BertForSequenceClassification.from_pretrained(
            FLAGS.model, num_labels=2
        )
        start = time.perf_counter()
        train(model, tokenizer, train_examples, seed)
        seconds = time.perf_counter() - start
        results.append(evaluate(model, tokenizer, eval_examples))
        line = {"seed": seed, **results[-1], "train_seconds": round(seconds, 1)}
        print(json.dumps(line), flush=True)
    summary = {"peer": f"transformers {transformers.__version__}", "seeds": FLAGS.seeds}
    for name in ("accuracy", "f1"):
        values = [result[name] for result in results]
        summary[f"{name}_mean"] = statistics.mean(values)
        # One run has no spread to report.
        summary[f"{name}_stdev"] = statistics.stdev(values) if len(values) > 1 else None
    print(json.dumps(summary))


if __name__ == "__main__":
    app.run(main)
