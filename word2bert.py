"""The library's front, and the command `word2bert`.

    import word2bert
    word2bert.load("all-MiniLM-L6-v2").encode(["A cat sleeps.", "Shares fell."])

To import it takes no TensorFlow. The command runs one of the scripts, wherever they are
installed:

    word2bert run_classifier --task_name=MRPC --data_dir=glue/MRPC ...
    word2bert configs      # prints the folder of the released architectures and runs
"""

import os
import runpy
import sys
from typing import TYPE_CHECKING, Any

import quiet_tensorflow  # noqa: F401  (before anything loads TensorFlow)

if TYPE_CHECKING:
    from inference.keras_features import TextFeatures
    from inference.pretrained import Pretrained

SCRIPTS = {
    "create_vocab": "learns a vocabulary from text",
    "create_pretraining_data": "makes records for pre-training from text",
    "run_pretraining": "pre-trains a model on such records",
    "run_classifier": "fine-tunes a classifier of texts and pairs",
    "run_multitask": "fine-tunes one encoder on several tasks at once",
    "run_squad": "fine-tunes a model that answers questions",
    "run_tagger": "fine-tunes a tagger of words",
    "run_lineage": "compares all systems, on the same text and tasks",
    "compare_runs": "tells whether one run is better than another",
    "run_word_vectors": "learns word vectors from text",
    "evaluate_word_vectors": "scores word vectors, and shows what is near what",
    "plot_runs": "draws losses and scores of trainings",
    "extract_features": "writes the vectors of texts",
    "generate": "continues prompts",
    "convert_checkpoint": "writes a model in another format",
    "export_saved_model": "writes a SavedModel that reads text",
    "serve": "serves vectors, labels, tags and answers",
}
CONFIGS = "configs"


def load(path: str, **options: Any) -> "Pretrained":
    """Opens a model, or word vectors, of any format that --init_checkpoint takes.

    Args:
      path: a file or a folder, also one that a script has trained.
      **options: see inference.pretrained.Pretrained.

    Returns:
      What encodes, classifies, tags, answers, generates ..., as it can.

    Raises:
      UserError: nothing there, or nothing known.
    """
    from inference import pretrained

    return pretrained.Pretrained(path, **options)


def layer(path: str, trainable: bool = False, **options: Any) -> "TextFeatures":
    """Makes a Keras layer from texts to features, with the weights of a model.

    Args:
      path: as of `load`.
      trainable: whether Keras trains the model, too.
      **options: see inference.keras_features.make.

    Returns:
      The layer, which is saved and loaded with a Keras model.

    Raises:
      UserError: no such model, or its texts are not read in a graph.
    """
    from inference import keras_features

    return keras_features.make(path, trainable, **options)


def __getattr__(name: str) -> Any:
    """Loads the layer's class, which Keras is to know before it loads a model."""
    if name == "TextFeatures":
        from inference.keras_features import TextFeatures

        return TextFeatures
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def configs_folder() -> str:
    """Returns the folder that holds `models/` and `runs/`."""
    return os.path.join(os.path.dirname(os.path.abspath(__file__)), CONFIGS)


def main() -> None:
    """Runs the script that the first word of the command line names.

    Raises:
      SystemExit: as the script ends; 2 where the first word names none.
    """
    import startup  # which is for programs: it changes how they end

    name = sys.argv[1] if len(sys.argv) > 1 else None
    if name == CONFIGS:
        print(configs_folder())
        return
    if name not in SCRIPTS:
        width = max(map(len, SCRIPTS))
        lines = [f"  {script:{width}}  {what}" for script, what in SCRIPTS.items()]
        lines.append(f"  {CONFIGS:{width}}  prints the folder of configurations")
        usage = "\n".join(["usage: word2bert SCRIPT [flags]; SCRIPT is one of", *lines])
        if name in (None, "--help", "-h"):
            with startup.printing():
                print(usage)
            return
        print(f"word2bert: there is no script {name}\n{usage}", file=sys.stderr)
        sys.exit(2)
    sys.argv = [name, *sys.argv[2:]]
    runpy.run_module(name, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
