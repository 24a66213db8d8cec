"""Exports a trained model as a SavedModel that reads plain text; GPT's, token ids.

Taggers and ELMo read sentences of words.

    python export_saved_model.py --model_dir=mrpc_output --export_dir=mrpc_export/1

--model_dir is any output folder of run_classifier.py, run_multitask.py, run_squad.py or
run_tagger.py, or a folder with ELMo. For the signatures, and how to load the result,
see inference/export.py.
"""

import startup

from absl import flags

import paths
from inference import export

FLAGS = flags.FLAGS

flags.DEFINE_string(
    "model_dir",
    None,
    "An output folder of run_classifier.py, run_multitask.py, run_squad.py or "
    "run_tagger.py, or ELMo's.",
)
flags.DEFINE_string("export_dir", None, "Folder to write; new or empty.")
flags.DEFINE_enum(
    "use_checkpoint",
    "last",
    export.CHECKPOINTS,
    "The last checkpoint, or the best one by the score on the dev set.",
)
flags.DEFINE_enum(
    "dtype", "float32", export.DTYPES, "Type of the matrix products when serving."
)


def main(_) -> None:
    """Runs `export_model` on the flags."""
    paths.check_outputs(
        {"export_dir": [FLAGS.export_dir]}, {"model_dir": [FLAGS.model_dir]}
    )
    export.export_model(
        FLAGS.model_dir,
        FLAGS.export_dir,
        use_checkpoint=FLAGS.use_checkpoint,
        dtype=FLAGS.dtype,
    )


if __name__ == "__main__":
    startup.run(main, required=["model_dir", "export_dir"])
