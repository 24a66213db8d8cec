"""Seconds a step of Hugging Face's BERT: the twin of benchmarks/bench_step.py.

Sequence classification from random weights: forward, loss, backward, clipping and
AdamW, dropout on; and inference, dropout off. One JSON line a mode. Example:
  python benchmarks/peers/hf_step.py --model=base --batch_size=32 --dtype=bfloat16
"""

import contextlib
import csv
import json
import pathlib
import statistics
import sys
import time
from collections.abc import Iterator

try:
    import torch
    import transformers
    from absl import app, flags
except ImportError as error:
    sys.exit(f"{error.name} is not installed: see benchmarks/peers/README.md")

FLAGS = flags.FLAGS
flags.DEFINE_enum("model", "base", ["base", "minilm"], "BERT-base or MiniLM, 6 layers.")
flags.DEFINE_multi_enum(
    "mode",
    ["train", "inference"],
    ["train", "inference"],
    "What to time; repeat the flag for both.",
)
flags.DEFINE_integer("batch_size", 32, "Sequences a step.", lower_bound=1)
flags.DEFINE_integer("max_seq_length", 128, "Tokens a sequence, at most.", 3)
flags.DEFINE_enum(
    "dtype", "float32", ["float32", "bfloat16"], "bfloat16 runs under autocast."
)
flags.DEFINE_string(
    "lengths",
    "full",
    "`full`: every sequence max_seq_length long; or a tsv file with a `sentence` "
    "column (SST-2's train.tsv), whose real lengths are taken.",
)
flags.DEFINE_string("vocab_file", None, "Tokenizes the file given as --lengths.")
flags.DEFINE_enum(
    "padding",
    "longest",
    ["sorted", "longest", "max"],
    "Pad real lengths to the batch's longest, of batches of about one length or as "
    "they come; or to max_seq_length.",
)
flags.DEFINE_integer("warmup_steps", 3, "Steps run before the clock starts.", 0)
flags.DEFINE_integer("steps", 10, "Steps timed.", lower_bound=1)

SIZES = {
    "base": {},  # transformers' defaults are BERT-base's.
    "minilm": {
        "hidden_size": 384,
        "num_hidden_layers": 6,
        "intermediate_size": 1536,
    },
}
SEED = 12345


def file_lengths(path: str, vocab_file: str, max_length: int, count: int) -> list[int]:
    """Token counts, [CLS] and [SEP] included, of `count` sentences in seeded order."""
    with open(path, encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        sentences = [row["sentence"] for row in rows]
    order = torch.randperm(
        len(sentences), generator=torch.Generator().manual_seed(SEED)
    )
    picked = [sentences[i] for i in order[:count]]
    if len(picked) < count:
        raise ValueError(f"{path}: {len(picked)} sentences, wanted {count}")
    pieces = pathlib.Path(vocab_file).read_text(encoding="utf-8").splitlines()
    tokenizer = transformers.BertTokenizer({piece: i for i, piece in enumerate(pieces)})
    tokens = tokenizer(picked, truncation=True, max_length=max_length)
    return [len(ids) for ids in tokens["input_ids"]]


def batches(steps: int) -> Iterator[dict[str, torch.Tensor]]:
    """Random ids in sequences of the wanted lengths, labels 0 and 1."""
    size, longest = FLAGS.batch_size, FLAGS.max_seq_length
    lengths = [longest] * (steps * size)
    if FLAGS.lengths != "full":
        lengths = file_lengths(FLAGS.lengths, FLAGS.vocab_file, longest, steps * size)
    generator = torch.Generator().manual_seed(SEED)
    firsts = torch.arange(0, steps * size, size)
    if FLAGS.padding == "sorted":  # as the Trainer does, told to group by length
        lengths = sorted(lengths)
        firsts = firsts[torch.randperm(steps, generator=generator)]
    for first in firsts.tolist():
        counts = torch.tensor(lengths[first : first + size])
        width = longest if FLAGS.padding == "max" else int(counts.max())
        mask = (torch.arange(width) < counts[:, None]).long()
        ids = torch.randint(1000, 30522, (size, width), generator=generator)
        labels = torch.randint(2, (size,), generator=generator)
        yield {"input_ids": ids * mask, "attention_mask": mask, "labels": labels}


def train_step(
    model: torch.nn.Module, optimizer: torch.optim.Optimizer, batch: dict
) -> None:
    """Forward, backward, clipping to norm 1 and the optimizer's update."""
    with autocast():
        loss = model(**batch).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()


def inference_step(model: torch.nn.Module, batch: dict) -> None:
    """The logits alone."""
    with torch.inference_mode(), autocast():
        model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])


def autocast() -> contextlib.AbstractContextManager:
    """What --dtype asks for; with float32 it does nothing."""
    enabled = FLAGS.dtype == "bfloat16"
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled)


def measure(mode: str) -> dict:
    """Times one mode.

    Returns:
        What was run, the median seconds a step, and the examples a second over all
        timed steps (steps of real lengths differ, so this is not batch / median).
    """
    torch.manual_seed(SEED)
    config = transformers.BertConfig(**SIZES[FLAGS.model], num_labels=2)
    model = transformers.BertForSequenceClassification(config)
    model.train(mode == "train")
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-5, weight_decay=0.01)
    seconds = []
    for batch in list(batches(FLAGS.warmup_steps + FLAGS.steps)):
        start = time.perf_counter()
        if mode == "train":
            train_step(model, optimizer, batch)
        else:
            inference_step(model, batch)
        seconds.append(time.perf_counter() - start)
    seconds = seconds[FLAGS.warmup_steps :]
    return {
        "peer": f"transformers {transformers.__version__}, torch {torch.__version__}",
        "model": FLAGS.model,
        "mode": mode,
        "dtype": FLAGS.dtype,
        "batch_size": FLAGS.batch_size,
        "max_seq_length": FLAGS.max_seq_length,
        "lengths": "full" if FLAGS.lengths == "full" else f"file, {FLAGS.padding}",
        "threads": torch.get_num_threads(),
        "step_seconds_median": round(statistics.median(seconds), 4),
        "examples_per_second": round(len(seconds) * FLAGS.batch_size / sum(seconds), 2),
    }


def main(_) -> None:
    if FLAGS.lengths != "full" and not FLAGS.vocab_file:
        sys.exit("--lengths names a file, so --vocab_file is needed to tokenize it")
    for mode in FLAGS.mode:
        print(json.dumps(measure(mode)), flush=True)


if __name__ == "__main__":
    app.run(main)
