"""The command `word2bert`: runs one of the scripts, wherever they are installed.

word2bert run_classifier --task_name=MRPC --data_dir=glue/MRPC ...
word2bert configs      # prints the folder of the released architectures and runs
"""

import os
import runpy
import sys

import startup

SCRIPTS = {
    "create_vocab": "learns a vocabulary from text",
    "create_pretraining_data": "makes records for pre-training from text",
    "run_pretraining": "pre-trains a model on such records",
    "run_classifier": "fine-tunes a classifier of texts and pairs",
    "run_multitask": "fine-tunes one encoder on several tasks at once",
    "run_squad": "fine-tunes a model that answers questions",
    "run_tagger": "fine-tunes a tagger of words",
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


def configs_folder() -> str:
    """Returns the folder that holds `models/` and `runs/`."""
    return os.path.join(os.path.dirname(os.path.abspath(__file__)), CONFIGS)


def main() -> None:
    """Runs the script that the first word of the command line names.

    Raises:
      SystemExit: as the script ends; 2 where the first word names none.
    """
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
