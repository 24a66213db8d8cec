"""Spearman's correlation of the cosine of sentence vectors with people's scores.

Vectors are those of extract_features.py --normalize; the file has `score`, first and
second sentence, tab-separated, without a header, as SemEval publishes STS:

    python benchmarks/sts_spearman.py --data_file=STS_DIR/2015.train.tsv \
        --init_checkpoint=MODEL_DIR
"""

import json
import time

import startup

import numpy as np
from absl import flags

import common_flags
import model_flags
from data_pipeline.readers import text_files
from inference.extraction import FeatureExtractor
from inference.extraction_config import ExtractionConfig
from metrics import similarity

FLAGS = flags.FLAGS
model_flags.define_model_flags()
common_flags.define_precision_flag()
flags.DEFINE_string("data_file", None, "score, first sentence, second sentence.")
flags.DEFINE_string("pooling", "mean", "As extract_features.py's.")
flags.DEFINE_integer("max_seq_length", 128, "Pieces of the longest sentence.")
flags.DEFINE_integer("batch_size", 32, "Sentences in a batch.", 1)

COLUMNS = ("score", "first", "second")


def main(_) -> None:
    """Embeds both sides, and prints the correlation and the speed."""
    rows = text_files.tsv_rows(FLAGS.data_file, COLUMNS, header=COLUMNS)
    scores, first, second = zip(*(values for _, values in rows), strict=True)
    config = ExtractionConfig(
        pooling=FLAGS.pooling,
        normalize=True,
        max_seq_length=FLAGS.max_seq_length,
        batch_size=FLAGS.batch_size,
        mixed_precision=FLAGS.mixed_precision,
    )
    extractor = FeatureExtractor(config, model_flags.system("extracts"))
    started = time.perf_counter()
    vectors = np.stack([row.values for row in extractor.extract(first + second)])
    seconds = time.perf_counter() - started
    left, right = np.split(vectors, 2)
    cosines = np.sum(left * right, axis=1)
    result = {
        "pairs": len(scores),
        "pooling": FLAGS.pooling,
        "dtype": "float32" if FLAGS.mixed_precision == "off" else FLAGS.mixed_precision,
        **similarity.spearman(np.array(scores, float), cosines),
        "seconds": round(seconds, 1),
        "sentences_per_second": round(len(vectors) / seconds, 1),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    startup.run(main, required=["data_file", "init_checkpoint"])
