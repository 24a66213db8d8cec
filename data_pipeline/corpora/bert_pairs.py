"""Pre-training data in bounded memory, on all cores.

    files -> threads tokenize -> token store on disk -> processes make blocks
          -> one writer, block after block -> shards

The tokenizer's op leaves Python's lock, so threads do; making instances is Python and
numpy, so processes do. Both hand their results over in a fixed order and only a few
at a time: bytes do not depend on the number of workers, memory not on the corpus.
"""

from collections.abc import Sequence

import numpy as np

from data_pipeline.corpora import bert_records, parallel, progress_log, token_store
from data_pipeline.corpora.bert_instances import InstanceConfig, block_instances
from data_pipeline.corpora.blocks import Blocks
from data_pipeline.corpora.report import PairReport
from data_pipeline.corpora.shards import write_shards
from data_pipeline.corpora.token_store import Documents, TokenStore


def make_block(
    documents: Documents, block: int, config: InstanceConfig
) -> tuple[list[bytes], PairReport]:
    """Makes a block's records, ready to be written, and counts them."""
    records, report, full = [], PairReport(), None
    if config.padded_records:
        full = config.max_seq_length, config.max_predictions_per_seq
    for batch in block_instances(documents, block, config):
        records.extend(bert_records.encode(batch, full))
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
) -> PairReport:
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
      UserError: the corpus cannot be used; says why and where.
    """
    from data_pipeline.corpora import bert_corpus

    with token_store.temporary_folder(output_files[0]) as folder:
        tokenizer = bert_corpus.LineTokenizer(vocab_file, do_lower_case)
        report = bert_corpus.tokenize(files, tokenizer, folder, num_workers, segment)
        blocks = Blocks(
            report.documents, report.tokens, config.dupe_factor, config.random_seed
        )
        with parallel.worker_processes(
            num_workers, _open_store, (folder, tokenizer.dtype, blocks, config)
        ) as pool:
            jobs = progress_log.watch(range(blocks.num_blocks), "making instances")
            made = parallel.in_order(pool, _stored_block, jobs, num_workers)
            write_shards(output_files, made, report)
    return report


# What a worker process works on; set once, when it starts.
_work: dict[str, object] = {}


def _open_store(
    folder: str, dtype: np.dtype, blocks: Blocks, config: InstanceConfig
) -> None:
    _work.update(store=TokenStore(folder, dtype), blocks=blocks, config=config)


def _stored_block(block: int) -> tuple[list[bytes], PairReport]:
    numbers = _work["blocks"].documents_of(block).tolist()
    return make_block(_work["store"].read(numbers), block, _work["config"])
