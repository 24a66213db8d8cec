"""GLUE's nine tasks (Wang et al. 2018) and XNLI, in their publishers' file layouts.

Metrics are GLUE's own. Where GLUE averages two, the best checkpoint is chosen by
F1 (MRPC, QQP: classes are unbalanced, and accuracy moves less) or by Pearson's
correlation (STS-B).
"""

import os
from collections.abc import Sequence

import tensorflow as tf

from data_pipeline.readers import text_files
from data_pipeline.readers.examples import (
    DataProcessor,
    InputExample,
    check_label,
    parse_score,
)
from errors import MissingFile, UserError

_NLI_LABELS = ("contradiction", "entailment", "neutral")
_RTE_LABELS = ("entailment", "not_entailment")


class GlueProcessor(DataProcessor):
    """A task in GLUE's layout: train.tsv, dev.tsv, test.tsv with headers.

    Test files have no labels. Subclasses say what differs.

    Attributes:
      text_columns: the header's names of the one or two texts.
      label_column: the header's name of the label.
      labels: names of the labels in the order of their ids.
      guid_column: the column that makes the guid; None takes the row's number.
      skip_ragged: whether the published labelled files have corrupted rows.
    """

    text_columns: tuple[str, ...] = ("sentence1", "sentence2")
    label_column: str = "label"
    labels: tuple[str, ...] = ("0", "1")
    guid_column: str | None = None
    skip_ragged: bool = False

    def get_train_examples(self, data_dir: str) -> list[InputExample]:
        """Reads train.tsv."""
        return self._read(os.path.join(data_dir, "train.tsv"), "train")

    def get_dev_examples(self, data_dir: str) -> list[InputExample]:
        """Reads dev.tsv."""
        return self._read(os.path.join(data_dir, "dev.tsv"), "dev")

    def get_test_examples(self, data_dir: str) -> list[InputExample]:
        """Reads test.tsv, which has no labels."""
        return self._read(os.path.join(data_dir, "test.tsv"), "test", labelled=False)

    def get_labels(self) -> list[str]:
        """The labels in the parent's order."""
        return list(self.labels)

    def _read(
        self,
        path: str,
        set_type: str,
        labelled: bool = True,
        header: tuple[str, ...] | None = None,
    ) -> list[InputExample]:
        """Reads one file; guids are `<set_type>-<row>`, as the parent's."""
        columns = [*self.text_columns]
        columns += [self.label_column] if labelled else []
        columns += [self.guid_column] if self.guid_column else []
        rows = text_files.tsv_rows(
            path, columns, header=header, skip_ragged=self.skip_ragged and labelled
        )
        examples = []
        for line, values in rows:
            number = values[-1] if self.guid_column else line - 1
            texts = values[: len(self.text_columns)]
            label = None
            if labelled:
                label = self._label(values[len(texts)], path, line)
            examples.append(InputExample(f"{set_type}-{number}", *texts, label=label))
        return examples

    def _label(self, text: str, path: str, line: int) -> str | float:
        """Checks a label as the file has it."""
        return check_label(text, self.get_labels(), path, line)


class ColaProcessor(GlueProcessor):
    """Acceptability; only its test file has a header."""

    metrics = ("matthews_correlation", "accuracy")
    main_metric = "matthews_correlation"
    text_columns = ("sentence",)

    def _read(
        self,
        path: str,
        set_type: str,
        labelled: bool = True,
        header: tuple[str, ...] | None = None,
    ) -> list[InputExample]:
        if labelled:
            header = ("source", "label", "original_judgement", "sentence")
        return super()._read(path, set_type, labelled, header)


class MnliProcessor(GlueProcessor):
    """MultiNLI; "dev" is the matched set, the mismatched one is an extra set."""

    label_column = "gold_label"
    labels = _NLI_LABELS
    guid_column = "index"

    def get_dev_examples(self, data_dir: str) -> list[InputExample]:
        """Reads dev_matched.tsv."""
        return self._read(os.path.join(data_dir, "dev_matched.tsv"), "dev_matched")

    def get_test_examples(self, data_dir: str) -> list[InputExample]:
        """Reads test_matched.tsv, which has no labels."""
        path = os.path.join(data_dir, "test_matched.tsv")
        return self._read(path, "test", labelled=False)

    def extra_dev_sets(self, data_dir: str) -> dict[str, list[InputExample]]:
        """Reads dev_mismatched.tsv as "mismatched"."""
        path = os.path.join(data_dir, "dev_mismatched.tsv")
        return {"mismatched": self._read(path, "dev_mismatched")}

    def extra_test_sets(self, data_dir: str) -> dict[str, list[InputExample]]:
        """Reads test_mismatched.tsv as "mismatched"."""
        path = os.path.join(data_dir, "test_mismatched.tsv")
        return {"mismatched": self._read(path, "test_mismatched", labelled=False)}


class MrpcProcessor(GlueProcessor):
    """Paraphrases, in GLUE's layout or as Microsoft's two msr_paraphrase files.

    Microsoft's test file is labelled and serves as the development set; it is also
    what is predicted.
    """

    symmetric = True
    metrics = ("accuracy", "f1")
    main_metric = "f1"
    text_columns = ("#1 String", "#2 String")
    label_column = "Quality"

    def get_train_examples(self, data_dir: str) -> list[InputExample]:
        """Reads train.tsv or msr_paraphrase_train.txt."""
        if self._is_raw(data_dir):
            path = os.path.join(data_dir, "msr_paraphrase_train.txt")
            return self._read(path, "train")
        return super().get_train_examples(data_dir)

    def get_dev_examples(self, data_dir: str) -> list[InputExample]:
        """Reads dev.tsv or msr_paraphrase_test.txt."""
        if self._is_raw(data_dir):
            path = os.path.join(data_dir, "msr_paraphrase_test.txt")
            return self._read(path, "dev")
        return super().get_dev_examples(data_dir)

    def get_test_examples(self, data_dir: str) -> list[InputExample]:
        """Reads test.tsv or, with its labels, msr_paraphrase_test.txt."""
        if self._is_raw(data_dir):
            path = os.path.join(data_dir, "msr_paraphrase_test.txt")
            return self._read(path, "test")
        return super().get_test_examples(data_dir)

    @staticmethod
    def _is_raw(data_dir: str) -> bool:
        """GLUE's script leaves Microsoft's files beside its own: GLUE's win."""

        def any_of(names: tuple[str, ...]) -> bool:
            return any(tf.io.gfile.exists(os.path.join(data_dir, n)) for n in names)

        glue = any_of(("train.tsv", "dev.tsv", "test.tsv"))
        raw = any_of(("msr_paraphrase_train.txt", "msr_paraphrase_test.txt"))
        if not glue and not raw:
            raise MissingFile(
                f"{data_dir}: neither GLUE's train.tsv, dev.tsv, test.tsv nor "
                "msr_paraphrase_train.txt, msr_paraphrase_test.txt"
            )
        return not glue


class XnliProcessor(DataProcessor):
    """XNLI (Conneau et al. 2018): machine-translated training set, one language."""

    def __init__(self, language: str = "zh", others: Sequence[str] = ()):
        """Chooses languages.

        Args:
          language: of the sets; the parent always read Chinese.
          others: whose development and test sets are read as well, each for itself.
        """
        self.language = language
        self._others = [name for name in others if name != language]

    def get_train_examples(self, data_dir: str) -> list[InputExample]:
        """Reads multinli/multinli.train.<language>.tsv."""
        name = f"multinli.train.{self.language}.tsv"
        path = os.path.join(data_dir, "multinli", name)
        examples = []
        columns = ("premise", "hypo", "label")
        for line, (text_a, text_b, label) in text_files.tsv_rows(path, columns):
            # The training files alone spell it so.
            label = "contradiction" if label == "contradictory" else label
            check_label(label, self.get_labels(), path, line)
            guid = f"train-{line - 1}"
            examples.append(
                InputExample(guid, text_a, text_b, label, language=self.language)
            )
        return examples

    def get_dev_examples(self, data_dir: str) -> list[InputExample]:
        """Reads the language's rows of xnli.dev.tsv."""
        return self._read(data_dir, "dev", self.language)

    def get_test_examples(self, data_dir: str) -> list[InputExample]:
        """Reads the language's rows of xnli.test.tsv, which has labels."""
        return self._read(data_dir, "test", self.language)

    def extra_dev_sets(self, data_dir: str) -> dict[str, list[InputExample]]:
        """The other languages' rows."""
        return {name: self._read(data_dir, "dev", name) for name in self._others}

    def extra_test_sets(self, data_dir: str) -> dict[str, list[InputExample]]:
        """The other languages' rows."""
        return {name: self._read(data_dir, "test", name) for name in self._others}

    def get_labels(self) -> list[str]:
        """The labels in the parent's order."""
        return list(_NLI_LABELS)

    def _read(self, folder: str, set_type: str, wanted: str) -> list[InputExample]:
        path = os.path.join(folder, f"xnli.{set_type}.tsv")
        columns = ("language", "sentence1", "sentence2", "gold_label")
        examples = []
        for line, values in text_files.tsv_rows(path, columns):
            language, text_a, text_b, label = values
            if language == wanted:
                check_label(label, self.get_labels(), path, line)
                guid = f"{set_type}-{line - 1}"
                examples.append(
                    InputExample(guid, text_a, text_b, label, language=language)
                )
        if not examples:
            raise UserError(f"{path}: no rows of language {wanted!r}")
        return examples


class Sst2Processor(GlueProcessor):
    """Sentiment of sentences and phrases."""

    text_columns = ("sentence",)


class QqpProcessor(GlueProcessor):
    """Duplicate questions; the published files have a few corrupted rows."""

    symmetric = True
    metrics = ("accuracy", "f1")
    main_metric = "f1"
    text_columns = ("question1", "question2")
    label_column = "is_duplicate"
    skip_ragged = True


class QnliProcessor(GlueProcessor):
    """Does the sentence answer the question."""

    text_columns = ("question", "sentence")
    labels = _RTE_LABELS


class RteProcessor(GlueProcessor):
    """Textual entailment in two classes."""

    labels = _RTE_LABELS


class StsbProcessor(GlueProcessor):
    """Similarity from 0 to 5, a regression."""

    output_kind = "regression"
    symmetric = True
    metrics = ("pearson", "spearman")
    main_metric = "pearson"
    label_column = "score"
    labels = ()

    def _label(self, text: str, path: str, line: int) -> float:
        return parse_score(text, path, line)


class WnliProcessor(GlueProcessor):
    """Winograd schemas as entailment."""


PROCESSORS: dict[str, type[DataProcessor]] = {
    "cola": ColaProcessor,
    "mnli": MnliProcessor,
    "mrpc": MrpcProcessor,
    "xnli": XnliProcessor,
    "sst-2": Sst2Processor,
    "sst2": Sst2Processor,
    "qqp": QqpProcessor,
    "qnli": QnliProcessor,
    "rte": RteProcessor,
    "sts-b": StsbProcessor,
    "stsb": StsbProcessor,
    "wnli": WnliProcessor,
}
