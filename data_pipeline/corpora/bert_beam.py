"""Pre-training data as an Apache Beam pipeline (the extra `beam`): many machines.

The same instances as `streaming` makes, byte for byte, whatever the runner: documents
are numbered through all files, sent to the blocks that the permutation puts them into,
and a block is made by the same code. Only the order of the records in the output, which
Beam leaves open, differs.
"""

import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

import streams
from errors import MissingExtra, UserError

try:
    import apache_beam as beam
    from apache_beam.metrics import Metrics, MetricsFilter
    from apache_beam.options.pipeline_options import PipelineOptions
except ImportError as error:
    raise MissingExtra(
        "--pipeline=beam needs the package apache-beam: "
        'pip install "word2bert[beam]", in an environment of its own'
    ) from error

from data_pipeline.corpora import bert_corpus, corpus, segmentation, token_store
from data_pipeline.corpora.bert_instances import InstanceConfig
from data_pipeline.corpora.bert_pairs import make_block
from data_pipeline.corpora.blocks import Blocks
from data_pipeline.corpora.report import PairReport

_NAMESPACE = "pretraining_data"


@dataclasses.dataclass(frozen=True)
class Document:
    """One document: where it stands, and its pieces.

    Attributes:
      file: the file's place in the list of files.
      index: the document's place in the file.
      packed: its pieces, as `token_store.pack` returns them.
      starts: int64, where in `packed` its sentences begin, and its end.
    """

    file: int
    index: int
    packed: np.ndarray
    starts: np.ndarray


@dataclasses.dataclass(frozen=True)
class Numbering:
    """What a document must know of all others.

    Attributes:
      starts: for each file, how many documents are in the files before it.
      blocks: the portions of the whole corpus.
    """

    starts: Mapping[int, int]
    blocks: Blocks


def create(
    files: Sequence[str],
    vocab_file: str,
    do_lower_case: bool,
    config: InstanceConfig,
    output_files: Sequence[str],
    beam_args: Sequence[str] = (),
    segment: bool = False,
) -> PairReport:
    """Runs the pipeline to its end; the arguments are those of `streaming.create`.

    Args:
      files: the corpus; a file is read by one worker, so many files are best.
      vocab_file: one piece a line.
      do_lower_case: as FullTokenizer's.
      config: how instances are made.
      output_files: one name, or the names of the shards of one.
      beam_args: options of the pipeline, as `--runner=FlinkRunner`.
      segment: whether jieba finds the words of Chinese text.

    Returns:
      The counts of everything.

    Raises:
      UserError: the output files are not the shards of one name, or an input file is
        a pipe, which the workers do not have. Faults of the
        corpus are raised inside the pipeline: which error that becomes, with the
        same text, is the runner's choice.
    """
    prefix, template = _sharding(output_files)
    for path in filter(streams.is_stream, files):
        raise UserError(
            f"--input_file={path} is a pipe or a device; --pipeline=beam wants files, "
            "which its workers read"
        )
    pipeline = beam.Pipeline(options=PipelineOptions(list(beam_args)))
    documents = (
        pipeline
        | "Files" >> beam.Create(list(enumerate(files)))
        | "OneWorkerAFile" >> beam.Reshuffle()
        | "Tokenize" >> beam.ParDo(ReadDocuments(vocab_file, do_lower_case, segment))
    )
    sizes = (
        documents
        | "Size" >> beam.Map(_size)
        | "SizeOfFiles" >> beam.CombinePerKey(_total)
    )
    numbering = (
        pipeline
        | "Once" >> beam.Create([None])
        | "Number"
        >> beam.Map(
            number_documents, beam.pvalue.AsDict(sizes), files=files, config=config
        )
    )
    records = (
        documents
        | "Units" >> beam.FlatMap(_units, beam.pvalue.AsSingleton(numbering))
        | "Blocks" >> beam.GroupByKey()
        | "Instances" >> beam.FlatMap(_records, config=config)
    )
    _ = records | "Write" >> beam.io.WriteToTFRecord(
        prefix, num_shards=len(output_files), shard_name_template=template
    )
    result = pipeline.run()
    result.wait_until_finish()
    return _report(result)


def _sharding(output_files: Sequence[str]) -> tuple[str, str]:
    """The name and Beam's template that make up the names of the output files."""
    if len(output_files) == 1:
        return output_files[0], ""
    number = len(output_files)
    match = re.fullmatch(f"(.*)-00000-of-{number:05d}", output_files[0])
    if not match:
        raise UserError(
            f"--pipeline=beam writes one --output_file, which --num_output_shards "
            f"divides; got {number} names"
        )
    return match.group(1), "-SSSSS-of-NNNNN"


class ReadDocuments(beam.DoFn):
    """(place in the list, file) -> its documents."""

    def __init__(self, vocab_file: str, do_lower_case: bool, segment: bool):
        """Keeps the arguments; every worker loads the vocabulary once."""
        self._arguments = vocab_file, do_lower_case
        self._segment = segment

    def setup(self) -> None:
        """Loads the vocabulary."""
        self._tokenizer = bert_corpus.LineTokenizer(*self._arguments)

    def process(self, element: tuple[int, str]) -> Iterator[Document]:
        """Yields one document after the other; one at a time is in memory."""
        file, path = element
        index, packed, lengths = 0, [], []
        for lines in corpus.portions(path):
            parts = segmentation.parts(lines) if self._segment else None
            found = self._tokenizer(lines, parts)
            _count("unknown", found.unknown)
            place = 0
            for length in found.lengths.tolist():
                if length > 0:
                    packed.append(found.packed[place : place + length])
                    lengths.append(length)
                    place += length
                elif length < 0 and lengths:
                    starts = np.cumsum([0, *lengths])
                    yield Document(file, index, np.concatenate(packed), starts)
                    index, packed, lengths = index + 1, [], []


def _size(document: Document) -> tuple[int, tuple[int, int, int]]:
    sentences = len(document.starts) - 1
    for name, number in (
        ("documents", 1),
        ("sentences", sentences),
        ("tokens", document.packed.size),
    ):
        _count(name, number)
    return document.file, (1, document.packed.size, sentences)


def _total(sizes: Iterable[tuple[int, int, int]]) -> tuple[int, int, int]:
    """Documents and pieces in all, and the sentences of the longest document."""
    documents = tokens = longest = 0
    for size in sizes:
        documents, tokens = documents + size[0], tokens + size[1]
        longest = max(longest, size[2])
    return documents, tokens, longest


def number_documents(
    _,
    sizes: Mapping[int, tuple[int, int, int]],
    files: Sequence[str],
    config: InstanceConfig,
) -> Numbering:
    """Numbers the documents through all files, as `streaming` does.

    Args:
      sizes: for each file with documents, their number, their pieces, and the
        sentences of the longest.
      files: for the message.
      config: says how often each document is used.

    Raises:
      UserError: the corpus cannot be used.
    """
    documents, tokens, longest = _total(sizes.values())
    bert_corpus.check_next_sentences(files, documents, longest)
    starts, before = {}, 0
    for file in sorted(sizes):
        starts[file] = before
        before += sizes[file][0]
    blocks = Blocks(documents, tokens, config.dupe_factor, config.random_seed)
    return Numbering(starts, blocks)


def _units(
    document: Document, numbering: Numbering
) -> Iterator[tuple[int, tuple[int, int, np.ndarray, np.ndarray]]]:
    number = numbering.starts[document.file] + document.index
    for block, place in numbering.blocks.places_of(number):
        yield block, (place, number, document.packed, document.starts)


def _records(
    element: tuple[int, Iterable[tuple[int, int, np.ndarray, np.ndarray]]],
    config: InstanceConfig,
) -> list[bytes]:
    block, units = element
    _, numbers, packed, starts = zip(
        *sorted(units, key=lambda unit: unit[0]), strict=True
    )
    documents = token_store.join(numbers, packed, starts)
    records, report = make_block(documents, block, config)
    for name, number in dataclasses.asdict(report).items():
        _count(name, number)
    return records


def _count(name: str, number: int) -> None:
    Metrics.counter(_NAMESPACE, name).inc(int(number))


def _report(result: beam.runners.runner.PipelineResult) -> PairReport:
    metrics = result.metrics().query(MetricsFilter().with_namespace(_NAMESPACE))
    report = PairReport()
    for counter in metrics["counters"]:
        report.add(PairReport(**{counter.key.metric.name: counter.result}))
    return report
