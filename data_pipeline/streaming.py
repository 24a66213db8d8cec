"""Pre-training data in bounded memory, on all cores.

    files -> threads tokenize -> token store on disk -> processes make blocks
          -> one writer, block after block -> shards

The tokenizer's op leaves Python's lock, so threads do; making instances is Python and
numpy, so processes do. Both hand their results over in a fixed order and only a few
at a time: bytes do not depend on the number of workers, memory not on the corpus.
"""

import contextlib
import os
import tempfile
from collections.abc import Iterable, Sequence

import numpy as np

from data_pipeline import parallel, pretraining_records
from data_pipeline.blocks import Blocks
from data_pipeline.instances import InstanceConfig, block_instances
from data_pipeline.pretraining_report import Report
from data_pipeline.token_store import Documents, TokenStore


def make_block(
    documents: Documents, block: int, config: InstanceConfig
) -> tuple[list[bytes], Report]:
    """Makes a block's records, ready to be written, and counts them."""
    records, report = [], Report()
    for batch in block_instances(documents, block, config):
        records.extend(pretraining_records.encode(batch))
        report.instances += len(batch.counts)
        report.instance_tokens += int(batch.lengths.sum())
        report.random_next += int(batch.is_random_next.sum())
        report.predictions += int(batch.counts.sum())
    return records, report


def create(
    files: Sequence[str],
    vocab_file: str,
    do_lower_case: bool,
    config: InstanceConfig,
    output_files: Sequence[str],
    num_workers: int,
    segment: bool = False,
) -> Report:
    """Reads text files and writes TFRecord files, which appear when all are complete.

    The tokenized corpus, 2 or 4 bytes a piece and 8 a sentence, is kept beside the
    first output file (if that is remote, in the folder for temporary files) and
    removed at the end.

    Args:
      files: the corpus.
      vocab_file: one piece a line.
      do_lower_case: as FullTokenizer's.
      config: how instances are made.
      output_files: instances are dealt out to them one by one.
      num_workers: threads, then processes.
      segment: whether jieba finds the words of Chinese text.

    Returns:
      The counts of everything.

    Raises:
      ValueError: the corpus cannot be used; says why and where.
    """
    from data_pipeline import corpus  # TensorFlow, which the worker processes spare

    beside = os.path.dirname(output_files[0]) or "."
    remote = "://" in beside
    if not remote:
        os.makedirs(beside, exist_ok=True)
    with tempfile.TemporaryDirectory(
        prefix=".tokens-", suffix=".tmp", dir=None if remote else beside
    ) as folder:
        tokenizer = corpus.LineTokenizer(vocab_file, do_lower_case)
        report = corpus.tokenize(files, tokenizer, folder, num_workers, segment)
        blocks = Blocks(
            report.documents, report.tokens, config.dupe_factor, config.random_seed
        )
        with parallel.worker_processes(
            num_workers, _open_store, (folder, tokenizer.dtype, blocks, config)
        ) as pool:
            made = parallel.in_order(
                pool, _stored_block, range(blocks.num_blocks), num_workers
            )
            report.add(write_shards(output_files, made))
    return report


def write_shards(
    output_files: Sequence[str], made: Iterable[tuple[list[bytes], Report]]
) -> Report:
    """Deals records out to TFRecord files; all appear at the end, complete.

    Args:
      output_files: the files.
      made: portions of records, each with its counts.

    Returns:
      The sum of the counts.
    """
    import tensorflow as tf

    from data_pipeline import tfrecord

    report = Report()
    with contextlib.ExitStack() as stack:
        paths = [stack.enter_context(tfrecord.atomic_path(p)) for p in output_files]
        with contextlib.ExitStack() as opened:
            writers = [opened.enter_context(tf.io.TFRecordWriter(p)) for p in paths]
            for records, counts in made:
                for place, record in enumerate(records, report.instances):
                    writers[place % len(writers)].write(record)
                report.add(counts)
    return report


# What a worker process works on; set once, when it starts.
_work: dict[str, object] = {}


def _open_store(
    folder: str, dtype: np.dtype, blocks: Blocks, config: InstanceConfig
) -> None:
    _work.update(store=TokenStore(folder, dtype), blocks=blocks, config=config)


def _stored_block(block: int) -> tuple[list[bytes], Report]:
    numbers = _work["blocks"].documents_of(block).tolist()
    return make_block(_work["store"].read(numbers), block, _work["config"])
