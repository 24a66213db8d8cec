"""The TFRecord files that records are dealt out to."""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from data_pipeline.corpora.report import Report
from errors import UserError


def shard_files(names: str, num_shards: int) -> list[str]:
    """The names that --output_file and --num_output_shards stand for.

    Raises:
      UserError: both ask for several files.
    """
    files = names.split(",")
    if num_shards == 1:
        return files
    if len(files) > 1:
        raise UserError(
            f"--num_output_shards={num_shards} divides one --output_file, got "
            f"{len(files)}"
        )
    return [f"{files[0]}-{i:05d}-of-{num_shards:05d}" for i in range(num_shards)]


def write_shards(
    output_files: Sequence[str],
    made: Iterable[tuple[list[bytes], Report]],
    report: Report,
) -> None:
    """Deals records out to TFRecord files; all appear at the end, complete.

    Args:
      output_files: the files.
      made: portions of records, each with its counts.
      report: these are added to it; it counts no instances yet.
    """
    with opened(output_files) as writers:
        deal(writers, made, report)


@contextlib.contextmanager
def opened(output_files: Sequence[str]) -> Iterator[list[Any]]:
    """Opens TFRecord files, which appear at the end, complete, if all went well."""
    import tensorflow as tf

    from atomic_files import atomic_path

    with contextlib.ExitStack() as stack:
        paths = [stack.enter_context(atomic_path(p)) for p in output_files]
        with contextlib.ExitStack() as writing:
            yield [writing.enter_context(tf.io.TFRecordWriter(p)) for p in paths]


def deal(
    writers: Sequence[Any], made: Iterable[tuple[list[bytes], Report]], report: Report
) -> None:
    """Deals records out to files of `opened`; the other arguments as `write_shards`."""
    for records, counts in made:
        for place, record in enumerate(records, report.instances):
            writers[place % len(writers)].write(record)
        report.add(counts)
