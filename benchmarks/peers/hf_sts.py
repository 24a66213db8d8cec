"""Sentence vectors with Hugging Face transformers: the twin of sts_spearman.py.

Mean over real tokens, scaled to length 1; sentences are sorted by length and padded to
the longest of their batch, as sentence-transformers does. One JSON line. Example:
  python benchmarks/peers/hf_sts.py --data_file=STS_DIR/2015.train.tsv --model=DIR
"""

import json
import pathlib
import sys
import time

try:
    import numpy as np
    import torch
    import transformers
    from absl import app, flags
    from scipy.stats import spearmanr
except ImportError as error:
    sys.exit(f"{error.name} is not installed: see benchmarks/peers/README.md")

FLAGS = flags.FLAGS
flags.DEFINE_string("data_file", None, "score, first and second sentence, by tabs.")
flags.DEFINE_string("model", None, "Folder: config.json, model.safetensors, vocab.txt.")
flags.DEFINE_integer("max_seq_length", 128, "Tokens a sentence, at most.")
flags.DEFINE_integer("batch_size", 32, "Sentences a batch.", lower_bound=1)
flags.DEFINE_enum("dtype", "float32", ["float32", "bfloat16"], "bfloat16: autocast.")
flags.mark_flags_as_required(["data_file", "model"])


@torch.inference_mode()
def embed(model, tokenizer, sentences: list[str]) -> np.ndarray:
    """Returns a vector of length 1 for each sentence, in their order."""
    order = sorted(range(len(sentences)), key=lambda i: -len(sentences[i]))
    vectors = np.zeros([len(sentences), model.config.hidden_size], np.float32)
    for start in range(0, len(order), FLAGS.batch_size):
        rows = order[start : start + FLAGS.batch_size]
        batch = tokenizer(
            [sentences[i] for i in rows],
            truncation=True,
            max_length=FLAGS.max_seq_length,
            padding="longest",
            return_tensors="pt",
        )
        with torch.autocast("cpu", torch.bfloat16, FLAGS.dtype == "bfloat16"):
            hidden = model(**batch).last_hidden_state.float()
        mask = batch["attention_mask"][:, :, None]
        mean = (hidden * mask).sum(1) / mask.sum(1)
        vectors[rows] = torch.nn.functional.normalize(mean).numpy()
    return vectors


def main(_) -> None:
    lines = pathlib.Path(FLAGS.data_file).read_text(encoding="utf-8").split("\n")
    rows = [line.split("\t") for line in lines if line.strip()]
    scores, first, second = zip(*rows, strict=True)
    tokenizer = transformers.AutoTokenizer.from_pretrained(FLAGS.model)
    model = transformers.BertModel.from_pretrained(FLAGS.model).eval()
    started = time.perf_counter()
    vectors = embed(model, tokenizer, [*first, *second])
    seconds = time.perf_counter() - started
    left, right = np.split(vectors, 2)
    correlation = spearmanr([float(s) for s in scores], (left * right).sum(1))
    result = {
        "peer": f"transformers {transformers.__version__}",
        "pairs": len(rows),
        "dtype": FLAGS.dtype,
        "spearman": float(correlation.statistic),
        "seconds": round(seconds, 1),
        "sentences_per_second": round(len(vectors) / seconds, 1),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    app.run(main)
