"""Training folders of systems whose files are this project's own."""

import dataclasses
import os
from typing import Any

from checkpoints import files, tensorflow_files
from checkpoints.mapping import Checkpoint
from checkpoints.word_tables import WordTable
from modeling.config_files import ModelConfig


@dataclasses.dataclass(frozen=True)
class OwnFolders:
    """What recognition asks of a system's `files`.

    Attributes:
      model_type: names the config's file, and stands in it.
      config_class: reads that file.
      vocab_tensors: have a row for each word.
    """

    model_type: str
    config_class: type[ModelConfig]
    vocab_tensors: frozenset[str]

    @property
    def CONFIG(self) -> str:
        """The name of the config's file."""
        return f"{self.model_type}_config.json"

    def open_trained(self, prefix: str) -> Checkpoint:
        """Opens a checkpoint; see tensorflow_files.open_checkpoint.

        Args:
          prefix: path without `.index`; config and vocabulary are beside it.
        """
        return tensorflow_files.open_checkpoint(
            prefix, format="tensorflow", **self.beside(os.path.dirname(prefix))
        )

    def beside(self, folder: str) -> dict[str, Any]:
        """Returns what a folder has beside the weights, as fields of Checkpoint."""
        config = self.config_class.from_json_file(os.path.join(folder, self.CONFIG))
        return {
            "vocab_tensors": self.vocab_tensors,
            "config": config,
            "vocab_file": files.find(folder, files.VOCAB),
            "do_lower_case": getattr(config, "do_lower_case", None),
        }

    def check(self, checkpoint: Checkpoint) -> None:
        """Has nothing to add to what is checked when the weights are loaded."""
        del checkpoint

    def needs_vocab(self, config: ModelConfig) -> bool:
        """Tells whether a model is of no use without its vocabulary."""
        del config
        return True

    def tables(self, config: ModelConfig) -> dict[str, WordTable]:
        """Returns the tables of vectors that a model may have; see `WordTable`."""
        del config
        return {name: WordTable(name) for name in sorted(self.vocab_tensors)}

    def save_config(self, folder: str, config: ModelConfig) -> None:
        """Writes the config beside a checkpoint."""
        path = os.path.join(folder, self.CONFIG)
        files.write_text(path, config.to_json_string())

    def save_beside(
        self,
        folder: str,
        config: ModelConfig,
        vocab_file: str | None,
        do_lower_case: bool | None,
    ) -> None:
        """Writes what stands beside a checkpoint.

        Args:
          folder: gets the config, and vocab.txt.
          config: the model's; it says whether words are lower-cased.
          vocab_file: the vocabulary, if it is known.
          do_lower_case: not looked at.
        """
        del do_lower_case
        self.save_config(folder, config)
        if vocab_file is not None:
            files.copy(vocab_file, os.path.join(folder, files.VOCAB))
