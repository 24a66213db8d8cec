"""The Story Cloze test (Mostafazadeh et al. 2016): which of two endings a story has."""

import os

import numpy as np
import tensorflow as tf

from data_pipeline.readers import text_files
from data_pipeline.readers.examples import (
    DataProcessor,
    InputExample,
    MultipleChoiceExample,
    check_label,
)
from errors import MissingFile, UserError
from paths import glob_escape

_STORY = tuple(f"InputSentence{i}" for i in range(1, 5))
_ENDINGS = ("RandomFifthSentenceQuiz1", "RandomFifthSentenceQuiz2")
_ID, _ANSWER = "InputStoryid", "AnswerRightEnding"
_LABELS = ("1", "2")
# finetune-transformer-lm's datasets.py: the labelled file has no part for training, so
# of its 1871 stories 374 are set aside, drawn as scikit-learn's train_test_split does.
_SEED, _NUM_DEV = 3535999445, 374


class RocStoriesProcessor(DataProcessor):
    """Stories of four sentences, in the publishers' csv files.

    `*cloze_test_ALL_val*.csv` is split into training and development set as for GPT;
    `*cloze_test_ALL_test*.csv` is predicted.
    """

    output_kind = "multiple_choice"

    def get_train_examples(self, data_dir: str) -> list[InputExample]:
        """Reads all of the labelled stories but those set aside."""
        return self._split(data_dir)[1]

    def get_dev_examples(self, data_dir: str) -> list[InputExample]:
        """Reads the stories set aside."""
        return self._split(data_dir)[0]

    def get_test_examples(self, data_dir: str) -> list[InputExample]:
        """Reads the test file, with its answers if it has that column."""
        return _read(_find(data_dir, "test"), labelled=False)

    def get_labels(self) -> list[str]:
        """The number of the right ending."""
        return list(_LABELS)

    @staticmethod
    def _split(data_dir: str) -> tuple[list[InputExample], list[InputExample]]:
        path = _find(data_dir, "val")
        examples = _read(path, labelled=True)
        if len(examples) <= _NUM_DEV:
            raise UserError(
                f"{path}: {len(examples)} stories; {_NUM_DEV} are set aside as the "
                "development set, so wanted more than that"
            )
        order = np.random.RandomState(_SEED).permutation(len(examples))
        drawn = [examples[i] for i in order]
        return drawn[:_NUM_DEV], drawn[_NUM_DEV:]


def _find(data_dir: str, name: str) -> str:
    pattern = f"*cloze_test_ALL_{name}*.csv"
    found = tf.io.gfile.glob(os.path.join(glob_escape(data_dir), pattern))
    if len(found) != 1:
        pattern = os.path.join(data_dir, pattern)
        raise MissingFile(f"{pattern}: {len(found)} files; wanted one")
    return found[0]


def _read(path: str, labelled: bool) -> list[InputExample]:
    columns = [_ID, *_STORY, *_ENDINGS, *([_ANSWER] if labelled else [])]
    optional = [] if labelled else [_ANSWER]
    examples = []
    for line, (guid, *texts, answer) in text_files.csv_rows(path, columns, optional):
        label = None
        if labelled or answer:
            label = check_label(answer, list(_LABELS), path, line)
        story, endings = " ".join(texts[:4]), tuple(texts[4:])
        examples.append(MultipleChoiceExample(guid, story, None, label, endings))
    return examples
