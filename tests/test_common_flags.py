"""Flags together: what cannot be is told before any file is opened."""

import pytest
import scripts
import tiny
import tiny_elmo
import tiny_gpt
import tiny_taglm
import tiny_xlm
from absl import flags

import command_line
import common_flags
import registry
from errors import UserError
from modeling.nnlm import NnlmConfig
from modeling.ulmfit import UlmfitConfig
from modeling.vectors import VectorsConfig

RUN = ("--data_dir=nowhere", "--task_name=cola", "--output_dir=nowhere")
FILES = {"squad": "predict_file", "tagger": "test_file", "pretraining": "input_file"}
WRITE_MODEL = {
    "bert": tiny.write_model,
    "gpt": tiny_gpt.write_model,
    "elmo": tiny_elmo.write_model,
    "xlm": tiny_xlm.write_model,
}
CONFIGS = {
    "taglm": tiny_taglm.CONFIG,
    "nnlm": NnlmConfig.from_json_file(str(tiny.ROOT / "configs/models/nnlm.json")),
    "ulmfit": UlmfitConfig.from_json_file(
        str(tiny.ROOT / "configs/models/ulmfit.json")
    ),
    "vectors": VectorsConfig(),
}


def problems(script, *words):
    """Returns what a script finds wrong with its flags, whose files are not there."""
    check = scripts.load(script).check_flags
    try:
        command_line.parse_flags([script, *words], check)
    except UserError as error:
        return str(error).removesuffix(" (--help lists all flags)").split("; ")
    finally:
        flags.FLAGS.unparse_flags()
    return []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "give at least one of --do_train, --do_eval, --do_predict"),
        (["--do_train", "--train_batch_size=0"], "--train_batch_size=0: 0 is not"),
        (["--do_train", "--eval_batch_size=-1"], "--eval_batch_size=-1: -1 is not"),
        (
            ["--do_train", "--predict_batch_size=-1"],
            "--predict_batch_size=-1: -1 is not",
        ),
        (["--do_train", "--max_seq_length=0"], "--max_seq_length=0: 0 is not"),
        (["--do_train", "--num_train_epochs=0"], "--num_train_epochs=0: wanted more"),
        (["--do_train", "--num_train_epochs=-1"], "--num_train_epochs=-1: -1.0 is not"),
        (["--do_train", "--num_train_epochs=nan"], "--num_train_epochs=nan: wanted a"),
        (["--do_train", "--learning_rate=-1"], "--learning_rate=-1: -1.0 is not"),
        (["--do_train", "--max_grad_norm=0"], "--max_grad_norm=0: wanted more than 0"),
        (["--do_train", "--seed=-1"], "--seed=-1: -1 is not"),
        (["--do_train", "--seed=3000000000"], "--seed=3000000000: wanted a number"),
        (
            ["--do_train", "--seed=2147483647", "--seeds=2"],
            "--seed=2147483647 and --se",
        ),
        (["--do_train", "--seeds=0"], "--seeds=0: 0 is not"),
        (["--do_train", "--warmup_proportion=2"], "--warmup_proportion=2: 2.0 is not"),
        (
            ["--do_train", "--gradient_accumulation_steps=5"],
            "--train_batch_size=32 cannot be divided by --gradient_accumulation_st",
        ),
        (
            ["--do_train", "--train_batch_pieces=512", "--train_batch_size=32"],
            "--train_batch_pieces=512 and --train_batch_size=32 exclude",
        ),
        (
            ["--do_train", "--train_batch_pieces=127"],
            "--train_batch_pieces=127 is less than one example of --max_seq_length=128",
        ),
        (
            ["--do_train", "--train_batch_pieces=512", "--use_tpu"],
            "--train_batch_pieces=512 and a TPU exclude: its batches are of many",
        ),
        (
            ["--do_train", "--train_batch_pieces=512", "--jit_compile"],
            "--train_batch_pieces=512 and --jit_compile exclude",
        ),
        (
            ["--do_train", "--profile_steps=3"],
            "--profile_steps=3: wanted two ascending",
        ),
        (["--do_train", "--profile_steps=3,2"], "--profile_steps=3,2: wanted two"),
        (["--do_train", "--profile_steps=1,²"], "--profile_steps=1,²: wanted two"),
        (["--do_train", "--use_checkpoint=best"], "--use_checkpoint=best needs eval"),
        (
            ["--do_train", "--do_eval", "--use_checkpoint=best", "--eval_steps=0"],
            "--use_checkpoint=best needs evaluations in training: --do_eval, and no",
        ),
        (
            ["--do_train", "--early_stopping_patience=2"],
            "--early_stopping_patience=2 needs evaluations in training",
        ),
        (
            ["--do_train", "--do_eval", "--learning_rate_drops=1"],
            "--learning_rate_drops=1 needs --early_stopping_patience",
        ),
        (
            ["--do_train", "--optimizer=adagrad", "--weight_decay=0.1"],
            "--weight_decay=0.1: --optimizer=adagrad has none",
        ),
        (
            ["--do_train", "--layer_decay=0.9", "--nofinetune_encoder"],
            "--layer_decay=0.9 is of the encoder's training",
        ),
        (
            ["--do_train", "--use_tpu", "--distribution_strategy=mirrored"],
            "--use_tpu and --distribution_strategy=mirrored exclude",
        ),
    ],
)
def test_what_cannot_be_is_told_by_its_flags(words, message):
    (found,) = problems("run_classifier", *RUN, *words)
    assert found.startswith(message)


@pytest.mark.parametrize(
    "words",
    [
        ["--do_train"],
        ["--do_train", "--do_eval", "--use_checkpoint=best"],
        ["--do_eval", "--use_checkpoint=best", "--eval_steps=0"],
        [
            "--do_train",
            "--do_eval",
            "--early_stopping_patience=1",
            "--learning_rate_drops=1",
        ],
        ["--do_train", "--seed=2147483646", "--seeds=2", "--profile_steps=3,12"],
        ["--do_train", "--optimizer=adagrad", "--weight_decay=0"],
        ["--do_train", "--use_tpu", "--layer_decay=0.9"],
        ["--do_train", "--train_batch_pieces=128", "--gradient_accumulation_steps=5"],
    ],
)
def test_what_can_be_is_taken(words):
    assert problems("run_classifier", *RUN, *words) == []


@pytest.mark.parametrize(
    ("words", "mean_length"),
    [(["--train_batch_size=16"], None), (["--train_batch_pieces=200"], 12.5)],
)
def test_batches_by_pieces_make_as_many_updates_of_an_epoch(words, mean_length):
    scripts.load("run_classifier")
    words += ["--gradual_unfreezing", "--num_train_epochs=2.5"]
    flags.FLAGS(["run_classifier", "--output_dir=out", *words])
    try:
        config = common_flags.finetuning_config(1000, mean_length)
    finally:
        flags.FLAGS.unparse_flags()
    assert config.num_train_steps == 156  # of 1000 x 2.5 examples, 16 each
    assert config.train_batch_size == 16
    assert config.optimizer.num_warmup_steps == pytest.approx(15, abs=1)
    assert config.optimizer.unfreeze_steps == 62


def test_all_problems_of_a_run_are_one_message():
    words = ("--train_batch_size=0", "--use_checkpoint=best", "--max_grad_norm=0")
    found = problems("run_tagger", "--do_train", "--word_vectors=a", *words)
    starts = ["--train_batch_size=0", "--max_grad_norm=0", "--use_checkpoint=best"]
    starts += ["--do_train needs --train_file", "--word_vectors needs --model_type"]
    assert [
        line[: len(start)] for line, start in zip(found, starts, strict=True)
    ] == starts


@pytest.mark.parametrize("script", ["run_squad", "run_tagger"])
def test_a_step_without_its_file_is_told(script):
    assert len(problems(script, "--do_train", "--do_eval", "--do_predict")) >= 2


def run_flags(folder, script, model_type):
    """Returns flags that go as far as to the model's config, which is read first."""
    if model_type in WRITE_MODEL:
        config = WRITE_MODEL[model_type](folder)[1]
    else:
        config = folder / "config.json"
        config.write_text(CONFIGS[model_type].to_json_string())
    (folder / "text.txt").write_text("text\n")
    words = {
        "run_classifier": [*RUN, "--do_eval"],
        "run_multitask": ["--do_eval", "--output_dir=no"],
        "run_squad": ["--do_predict", "--output_dir=no", "--predict_file=missing"],
        "run_tagger": ["--do_predict", "--output_dir=no", "--tag_scheme=BIO"],
        "run_pretraining": ["--do_eval", "--output_dir=no"],
        "extract_features": ["--output_file=no"],
    }.get(script, [])
    if script in ("run_pretraining", "extract_features"):
        words.append(f"--input_file={folder / 'text.txt'}")
    if script == "run_tagger":  # reads the words first: some systems begin with them
        words += [f"--test_file={folder / 'text.txt'}", "--tag_column=none"]
    if script == "generate":
        words.append("--prompt=a")
    return [*words, f"--config_file={config}"]


LACKING = [
    (entry.model_type, ability)
    for entry in registry.entries()
    for ability in registry.ABILITIES
    if getattr(entry, ability) is None
    and ability not in ("formats", "learns", "makes_records")  # flags of their own
]


@pytest.mark.parametrize(("model_type", "ability"), LACKING)
def test_what_a_system_does_not_do_is_refused_in_one_way(tmp_path, model_type, ability):
    verb, script = registry.ABILITIES[ability]
    able = ", ".join(sorted(registry.model_types(ability)))
    message = f"^{model_type} does not {verb}: {script} takes {able}$"
    script = script.removesuffix(".py")
    with pytest.raises(UserError, match=message):
        scripts.run(script, *run_flags(tmp_path, script, model_type))


def test_flags_that_a_system_does_not_read_are_refused_together(tmp_path):
    words = run_flags(tmp_path, "run_classifier", "elmo")
    words += [
        f"--vocab_file={tmp_path / 'vocab.txt'}",
        "--layer_decay=0.9",
        "--symmetric",
    ]
    with pytest.raises(UserError) as error:
        scripts.run("run_classifier", *words)
    assert str(error.value) == (
        "--layer_decay=0.9 is not for elmo, only for bert, gpt, ulmfit, vectors, xlm; "
        "--symmetric=True is not for elmo, only for gpt"
    )


def test_every_flag_that_a_system_reads_is_some_scripts():
    known = set()
    for _, script in registry.ABILITIES.values():
        scripts.load(script.removesuffix(".py"))
        known |= set(flags.FLAGS)
    for entry in registry.entries():
        assert entry.reads <= known
