"""Pre-training instances exactly as google-research/bert makes them, in order.

One process, the whole corpus and all instances in memory, one draw of Python's
`random.Random` after the other: every call below that draws, and its place, is the
original's, and so are the quirks that go with it.
"""

import dataclasses
import random
from collections.abc import Iterator, Sequence

import tensorflow as tf

from data_pipeline.corpora import bert_corpus, corpus
from data_pipeline.corpora.bert_instances import InstanceConfig
from data_pipeline.corpora.report import PairReport
from data_pipeline.corpora.shards import write_shards
from tokenization import UNK_TOKEN, FullTokenizer

# A document: for each sentence the ids of its pieces.
Document = list[list[int]]


@dataclasses.dataclass(frozen=True)
class Instance:
    """One sentence pair.

    Attributes:
      tokens: ids of [CLS] A [SEP] B [SEP], masked.
      length_a: how many of them belong to [CLS] A [SEP].
      is_random_next: whether B is not what follows A.
      positions: where pieces were masked, ascending.
      labels: the ids that stood there.
    """

    tokens: list[int]
    length_a: int
    is_random_next: bool
    positions: list[int]
    labels: list[int]


def create(
    files: Sequence[str],
    vocab_file: str,
    do_lower_case: bool,
    config: InstanceConfig,
    output_files: Sequence[str],
) -> PairReport:
    """Writes the original's records; arguments, result and errors as streaming's."""
    tokenizer = FullTokenizer(vocab_file, do_lower_case)
    documents = read_documents(files, tokenizer)
    longest = max(map(len, documents), default=0)
    bert_corpus.check_next_sentences(files, len(documents), longest)
    unknown = tokenizer.vocab[UNK_TOKEN]
    report = PairReport(
        documents=len(documents),
        sentences=sum(map(len, documents)),
        tokens=sum(len(s) for document in documents for s in document),
        unknown=sum(s.count(unknown) for document in documents for s in document),
    )
    pieces = [piece.startswith("##") for piece in tokenizer.vocab]
    maker = InstanceMaker(config, pieces, random.Random(config.random_seed))
    instances = maker.instances(documents)
    records = [to_example(instance, config) for instance in instances]
    written = PairReport(
        instances=len(instances),
        instance_tokens=sum(len(i.tokens) for i in instances),
        random_next=sum(i.is_random_next for i in instances),
        predictions=sum(len(i.positions) for i in instances),
    )
    write_shards(output_files, [(records, written)], report)
    return report


def read_documents(files: Sequence[str], tokenizer: FullTokenizer) -> list[Document]:
    """Reads all documents; one may run on from a file into the next."""
    documents = [[]]
    for path in files:
        for _, lines in corpus.chunks(path):
            for line in lines:
                if not line:
                    documents.append([])
                pieces = tokenizer.convert_tokens_to_ids(tokenizer.tokenize(line))
                if pieces:
                    documents[-1].append(pieces)
    return [document for document in documents if document]


class InstanceMaker:
    """Makes instances, drawing from one generator throughout."""

    def __init__(
        self, config: InstanceConfig, continues: Sequence[bool], rng: random.Random
    ):
        """Keeps what every step needs.

        Args:
          config: how.
          continues: for every id, whether the piece continues a word.
          rng: source of all draws.
        """
        self._config = config
        self._continues = continues
        self._rng = rng

    def instances(self, documents: list[Document]) -> list[Instance]:
        """All instances in their final order; shuffles `documents` in place."""
        self._rng.shuffle(documents)
        made = []
        for _ in range(self._config.dupe_factor):
            for index in range(len(documents)):
                made.extend(self._of_document(documents, index))
        self._rng.shuffle(made)
        return made

    def _of_document(
        self, documents: Sequence[Document], index: int
    ) -> Iterator[Instance]:
        rng, document = self._rng, documents[index]
        longest = self._config.max_seq_length - 3
        target = longest
        if rng.random() < self._config.short_seq_prob:
            target = rng.randint(2, longest)
        first = 0
        while first < len(document):
            end, size = first, 0
            while end < len(document) and (size < target or end == first):
                size += len(document[end])
                end += 1
            middle = first + 1
            if end - first >= 2:
                middle = first + rng.randint(1, end - first - 1)
            a = _joined(document[first:middle])
            is_random = end - first == 1 or rng.random() < 0.5
            if is_random:
                b = self._random_next(documents, index, target - len(a))
                end = middle  # the rest begins the next pair
            else:
                b = _joined(document[middle:end])
            self._truncate(a, b, longest)
            yield self._masked(a, b, is_random)
            first = end

    def _random_next(
        self, documents: Sequence[Document], index: int, wanted: int
    ) -> list[int]:
        rng = self._rng
        for _ in range(10):  # the original's tries for another document
            other = rng.randint(0, len(documents) - 1)
            if other != index:
                break
        document = documents[other]
        found = []
        for sentence in document[rng.randint(0, len(document) - 1) :]:
            found.extend(sentence)
            if len(found) >= wanted:
                break
        return found

    def _truncate(self, a: list[int], b: list[int], longest: int) -> None:
        while len(a) + len(b) > longest:
            longer = a if len(a) > len(b) else b
            longer.pop(0 if self._rng.random() < 0.5 else -1)

    def _masked(self, a: list[int], b: list[int], is_random: bool) -> Instance:
        config, rng = self._config, self._rng
        pieces = [config.cls_id, *a, config.sep_id, *b, config.sep_id]
        words = []
        for position, piece in enumerate(pieces):
            if piece in (config.cls_id, config.sep_id):
                continue
            if config.do_whole_word_mask and words and self._continues[piece]:
                words[-1].append(position)
            else:
                words.append([position])
        rng.shuffle(words)
        wanted = max(1, round(len(pieces) * config.masked_lm_prob))
        wanted = min(wanted, config.max_predictions_per_seq)
        tokens, chosen = list(pieces), []
        for word in words:
            if len(chosen) == wanted:
                break
            if len(chosen) + len(word) > wanted:
                continue
            for position in word:
                tokens[position] = self._replaced(pieces[position])
            chosen.extend(word)
        chosen.sort()
        labels = [pieces[position] for position in chosen]
        return Instance(tokens, len(a) + 2, is_random, chosen, labels)

    def _replaced(self, piece: int) -> int:
        config, rng = self._config, self._rng
        if rng.random() < config.mask_probability:
            return config.mask_id
        others = config.keep_probability + config.random_probability
        if rng.random() * others < config.keep_probability:
            return piece
        return rng.randint(0, config.vocab_size - 1)


def to_example(instance: Instance, config: InstanceConfig) -> bytes:
    """Serialises an instance, padded with zeros to the full lengths."""
    length, count = len(instance.tokens), len(instance.positions)
    size, predictions = config.max_seq_length, config.max_predictions_per_seq
    segments = [0] * instance.length_a + [1] * (length - instance.length_a)
    ints = {
        "input_ids": _padded(instance.tokens, size),
        "input_mask": _padded([1] * length, size),
        "segment_ids": _padded(segments, size),
        "masked_lm_positions": _padded(instance.positions, predictions),
        "masked_lm_ids": _padded(instance.labels, predictions),
        "next_sentence_labels": [int(instance.is_random_next)],
    }
    features = {
        name: tf.train.Feature(int64_list=tf.train.Int64List(value=values))
        for name, values in ints.items()
    }
    weights = tf.train.FloatList(value=_padded([1.0] * count, predictions))
    features["masked_lm_weights"] = tf.train.Feature(float_list=weights)
    example = tf.train.Example(features=tf.train.Features(feature=features))
    return example.SerializeToString()


def _padded(values: list, size: int) -> list:
    return values + [0] * (size - len(values))


def _joined(sentences: Sequence[list[int]]) -> list[int]:
    return [piece for sentence in sentences for piece in sentence]
