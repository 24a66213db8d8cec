"""Fine-tunes a Hugging Face folder with transformers: the twin of run_squad.py.

Same questions, hyper-parameters, number of updates, schedule, decay exclusions and
clipping, and the same scorer. As in transformers' own run_qa.py, answers are cut from
the context by character offsets, any window may answer with any of its pieces, and the
optimizer is torch's AdamW, which corrects Adam's bias where the parent's does not. One
JSON line a seed, and one of means and standard deviations. Example:
  python benchmarks/peers/hf_squad.py --train_file=DIR/train.json \
      --predict_file=DIR/dev.json --model=DIR
"""

import json
import pathlib
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

try:
    import numpy as np
    import torch
    import transformers
    from absl import app, flags

    from metrics import squad as squad_metrics
except ImportError as error:
    sys.exit(f"{error.name} is not installed: see benchmarks/peers/README.md")

FLAGS = flags.FLAGS
flags.DEFINE_string("train_file", None, "SQuAD 1.1 file to train on.")
flags.DEFINE_string("predict_file", None, "SQuAD 1.1 file to score.")
flags.DEFINE_string("model", None, "Folder: config.json, model.safetensors, vocab.txt.")
flags.DEFINE_integer("max_seq_length", 384, "Tokens of a window and its question.")
flags.DEFINE_integer("doc_stride", 128, "Tokens from one window to the next.")
flags.DEFINE_integer("max_query_length", 64, "Tokens of a question, at most.")
flags.DEFINE_integer("train_batch_size", 32, "Windows a step.", lower_bound=1)
flags.DEFINE_float("learning_rate", 5e-5, "The peak, after warm-up.")
flags.DEFINE_float("num_train_epochs", 3.0, "Passes over the training questions.")
flags.DEFINE_float("warmup_proportion", 0.1, "Share of the steps spent warming up.")
flags.DEFINE_integer("n_best_size", 20, "Starts and ends looked at.")
flags.DEFINE_integer("max_answer_length", 30, "Tokens of the longest answer.")
flags.DEFINE_integer("max_train_examples", None, "The first questions; else all.")
flags.DEFINE_integer("seeds", 1, "Runs, seeded 0, 1, ...", lower_bound=1)
flags.DEFINE_enum("dtype", "float32", ["float32", "bfloat16"], "bfloat16: autocast.")
flags.mark_flags_as_required(["train_file", "predict_file", "model"])


def read(path: str) -> list[dict]:
    """The questions of a SQuAD file, each with its context."""
    data = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))["data"]
    return [
        qa | {"context": paragraph["context"]}
        for article in data
        for paragraph in article["paragraphs"]
        for qa in paragraph["qas"]
    ]


def windows(tokenizer, question: dict, number: int) -> list[dict]:
    """A question's windows: ids, segments, character offsets, the answer's tokens."""
    query = tokenizer(
        question["question"],
        add_special_tokens=False,
        truncation=True,
        max_length=FLAGS.max_query_length,
    )["input_ids"]
    encoded = tokenizer(
        question["context"], add_special_tokens=False, return_offsets_mapping=True
    )
    ids, offsets = encoded["input_ids"], encoded["offset_mapping"]
    room = FLAGS.max_seq_length - len(query) - 3
    answer = question["answers"][0]
    begin, end = answer["answer_start"], answer["answer_start"] + len(answer["text"])
    found, start, head = [], 0, len(query) + 2
    while True:
        part = slice(start, start + room)
        inside = [i for i, (a, b) in enumerate(offsets[part]) if b > begin and a < end]
        whole = inside and offsets[part][0][0] <= begin and end <= offsets[part][-1][1]
        first, last = (inside[0] + head, inside[-1] + head) if whole else (0, 0)
        sep, cls = tokenizer.sep_token_id, tokenizer.cls_token_id
        window = [cls, *query, sep, *ids[part], sep]
        found.append(
            {
                "input_ids": window,
                "token_type_ids": [0] * head + [1] * (len(window) - head),
                "offsets": offsets[part],
                "head": head,
                "question": number,
                "start": first,
                "end": last,
            }
        )
        if start + room >= len(ids):
            return found
        start += FLAGS.doc_stride


def encode(tokenizer, examples: list[dict]) -> dict[str, torch.Tensor]:
    """A batch padded to its longest window."""
    return tokenizer.pad(
        [{k: e[k] for k in ("input_ids", "token_type_ids")} for e in examples],
        return_tensors="pt",
    )


def parameter_groups(model: torch.nn.Module) -> list[dict]:
    """Weight decay on everything but biases and layer norms, as the parent does."""
    groups = {0.01: [], 0.0: []}
    for name, parameter in model.named_parameters():
        exempt = name.endswith("bias") or "LayerNorm" in name
        groups[0.0 if exempt else 0.01].append(parameter)
    return [{"params": p, "weight_decay": decay} for decay, p in groups.items()]


def train(model, tokenizer, examples: list[dict], steps: int, seed: int) -> None:
    """Linear warm-up, then linear decay to zero; the global norm clipped to 1."""
    size = FLAGS.train_batch_size
    optimizer = torch.optim.AdamW(
        parameter_groups(model), lr=FLAGS.learning_rate, eps=1e-6
    )
    schedule = transformers.get_linear_schedule_with_warmup(
        optimizer, int(steps * FLAGS.warmup_proportion), steps
    )
    generator = torch.Generator().manual_seed(seed)
    queue = []
    model.train()
    for _ in range(steps):
        if len(queue) < size:
            queue += torch.randperm(len(examples), generator=generator).tolist()
        picked, queue = [examples[i] for i in queue[:size]], queue[size:]
        with torch.autocast("cpu", torch.bfloat16, FLAGS.dtype == "bfloat16"):
            loss = model(
                **encode(tokenizer, picked),
                start_positions=torch.tensor([e["start"] for e in picked]),
                end_positions=torch.tensor([e["end"] for e in picked]),
            ).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()


@torch.inference_mode()
def evaluate(model, tokenizer, examples: list, questions: list) -> dict[str, float]:
    """Exact match and F1 of the best answer over all windows."""
    model.eval()
    best = {}
    for first in range(0, len(examples), 32):
        batch = examples[first : first + 32]
        with torch.autocast("cpu", torch.bfloat16, FLAGS.dtype == "bfloat16"):
            outputs = model(**encode(tokenizer, batch))
        for i, example in enumerate(batch):
            score, text = best_answer(
                example,
                questions[example["question"]]["context"],
                outputs.start_logits[i].float().numpy(),
                outputs.end_logits[i].float().numpy(),
            )
            key = questions[example["question"]]["id"]
            if key not in best or score > best[key][0]:
                best[key] = (score, text)
    references = {q["id"]: [a["text"] for a in q["answers"]] for q in questions}
    answers = {key: text for key, (_, text) in best.items()}
    return squad_metrics.squad_v1(references, answers)


def best_answer(
    example: dict, context: str, starts: np.ndarray, ends: np.ndarray
) -> tuple[float, str]:
    """(score, text) of a window's best span."""
    head, offsets = example["head"], example["offsets"]
    inside = range(head, head + len(offsets))
    found = (-np.inf, "")
    for start in np.argsort(-starts)[: FLAGS.n_best_size]:
        for end in np.argsort(-ends)[: FLAGS.n_best_size]:
            if start not in inside or end not in inside:
                continue
            if not 0 <= end - start < FLAGS.max_answer_length:
                continue
            text = context[offsets[start - head][0] : offsets[end - head][1]]
            found = max(found, (float(starts[start] + ends[end]), text))
    return found


def main(_) -> None:
    """Trains and scores once a seed."""
    tokenizer = transformers.BertTokenizerFast.from_pretrained(FLAGS.model)
    training = read(FLAGS.train_file)[: FLAGS.max_train_examples]
    questions = read(FLAGS.predict_file)
    train_windows, eval_windows = (
        [w for i, q in enumerate(part) for w in windows(tokenizer, q, i)]
        for part in (training, questions)
    )
    steps = int(len(training) / FLAGS.train_batch_size * FLAGS.num_train_epochs)
    results = []
    for seed in range(FLAGS.seeds):
        transformers.set_seed(seed)
        model = transformers.BertForQuestionAnswering.from_pretrained(FLAGS.model)
        start = time.perf_counter()
        train(model, tokenizer, train_windows, steps, seed)
        seconds = time.perf_counter() - start
        results.append(evaluate(model, tokenizer, eval_windows, questions))
        line = {"seed": seed, **results[-1], "train_seconds": round(seconds, 1)}
        print(json.dumps(line), flush=True)
    summary = {"peer": f"transformers {transformers.__version__}", "seeds": FLAGS.seeds}
    for name in results[0]:
        values = [result[name] for result in results]
        summary[f"{name}_mean"] = statistics.mean(values)
        # One run has no spread to report.
        summary[f"{name}_stdev"] = statistics.stdev(values) if len(values) > 1 else None
    print(json.dumps(summary))


if __name__ == "__main__":
    app.run(main)
