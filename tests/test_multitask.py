"""Several tasks on one encoder: their turns, packs, scores, files and exports."""

import pathlib
import shutil

import numpy as np
import pytest
import scripts
import tensorflow as tf
import tiny
import tiny_tasks
from test_training import WithoutDropout, assert_close, assert_equal, tensors

import modeling
import word2bert
from checkpoints import CheckpointError
from data_pipeline import turns
from data_pipeline.features import ranking
from data_pipeline.readers import mt_dnn, task_file
from data_pipeline.readers.examples import InputExample
from data_pipeline.readers.ranking import RankingExample
from errors import UserError
from inference import export, serving
from modeling import mt_dnn as mt_dnn_model
from systems.bert import BertSystem
from systems.classification_config import ClassificationConfig
from systems.multitask_config import MultitaskConfig, PartConfig
from tasks.classification import ClassificationTask
from tasks.multitask import MultitaskTask
from tasks.task import Records
from training.config import TrainingConfig
from training.strategy import DistributionConfig, make_strategy
from training.trainer import Trainer

pytestmark = pytest.mark.long

NAMES = ("one", "pair", "score", "rank")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("several")


@pytest.fixture(scope="module")
def trained(folder):
    """The folder of a training of all four tasks, with their scores."""
    output = folder / "out"
    flags = tiny_tasks.flags(folder, output, "--num_train_epochs=2")
    scripts.run("run_multitask", *flags, "--do_train", "--do_eval", "--do_predict")
    return output


def read_tasks(folder):
    """The tasks' readers and the file's entries, by their names."""
    entries = task_file.read(str(folder / "tasks.yml"))
    return {e.name: (mt_dnn.processor(e), e) for e in entries}


def test_a_table_of_ones_own_is_a_task_beside_others(folder, trained, tmp_path):
    table = tiny.write_data(tmp_path / "table", train=20, dev=9, test=5)
    text = "own: {data_dir: table, text_a_column: text, label_column: label}\n"
    (tmp_path / "tasks.yml").write_text(text + "cola:\n")
    (tmp_path / "cola").mkdir()
    for split in ("train", "dev"):
        rows = "".join(f"x\t{i % 2}\t\tgood word{i}\n" for i in range(6))
        (tmp_path / f"cola/{split}.tsv").write_text(rows)
    flags = [f"--task_file={tmp_path}/tasks.yml", f"--data_dir={tmp_path}"]
    flags.append(f"--output_dir={tmp_path}/out")
    scripts.run(
        "run_multitask",
        *flags,
        f"--init_checkpoint={trained}",
        "--max_seq_length=24",
        "--do_train",
        "--do_eval",
        "--num_train_epochs=1",
    )
    scores = tiny.read_results(tmp_path / "out/eval_results.txt")
    assert {"own/eval_accuracy", "cola/eval_matthews_correlation"} <= set(scores)
    pathlib.Path(table, "train.tsv").unlink()  # what there is to predict is enough
    scripts.run("run_multitask", *flags, "--do_predict")
    assert np.loadtxt(tmp_path / "out/test_results_own.tsv").shape == (5, 2)


def last(output):
    return tf.train.latest_checkpoint(str(output))


def test_every_task_is_scored_by_its_own_metrics_and_predicted(folder, trained):
    scores = tiny.read_results(trained / "eval_results.txt")
    main = ["one/eval_accuracy", "pair/eval_f1", "score/eval_pearson", "rank/eval_map"]
    assert scores["eval_mean"] == pytest.approx(np.mean([scores[k] for k in main]))
    assert {"pair/eval_accuracy", "score/eval_spearman", "rank/eval_mrr"} <= set(scores)
    assert (trained / "best" / "task.json").exists()
    questions = read_tasks(folder)["rank"][0].get_test_examples(str(folder / "tasks"))
    rows = (trained / "test_results_rank.tsv").read_text().splitlines()
    sizes = [len(row.split("\t")) for row in rows]
    assert sizes == [len(question.candidates) for question in questions]
    assert np.loadtxt(trained / "test_results_one.tsv").shape == (5, 2)
    for name in NAMES:
        assert "test_loss" in tiny.read_results(trained / f"test_metrics_{name}.txt")


def test_the_folder_stands_alone(folder, trained, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(trained, moved)
    names = [f"test_results_{name}.tsv" for name in NAMES]
    wanted = [(moved / name).read_text() for name in names]
    for name in names:
        (moved / name).unlink()
    (folder / "tasks" / "score_test.tsv").rename(tmp_path / "away.tsv")
    try:
        scripts.run(
            "run_multitask",
            *tiny_tasks.flags(folder, moved)[:2],
            f"--output_dir={moved}",
            "--do_predict",
        )
    finally:
        (tmp_path / "away.tsv").rename(folder / "tasks" / "score_test.tsv")
    for name, text in zip(names, wanted, strict=True):
        path = moved / name
        assert not path.exists() if "score" in name else path.read_text() == text


def test_a_killed_run_goes_on_bit_for_bit(folder, trained, tmp_path):
    parts = tmp_path / "parts"
    flags = tiny_tasks.flags(folder, parts, "--num_train_epochs=2", "--do_train")
    flags += ["--save_checkpoints_steps=13", "--keep_optimizer=all"]
    scripts.run("run_multitask", *flags)
    whole = last(trained)
    assert pathlib.Path(last(parts)).name == pathlib.Path(whole).name
    for file in parts.glob(f"{pathlib.Path(whole).name}.*"):  # as if killed before
        file.unlink()
    (parts / "checkpoint").write_text('model_checkpoint_path: "model.ckpt-13"\n')
    scripts.run("run_multitask", *flags)
    found, wanted = tensors(last(parts)), tensors(whole)
    assert_equal({name: found[name] for name in wanted}, wanted)


def make_task(folder, *, size=3, **options):
    """The four tasks, read anew."""
    tiny.write_model(folder)
    kinds = {"one": "single_label", "pair": "single_label", "score": "regression"}
    parts = []
    for name in NAMES:
        kind = kinds.get(name, "ranking")
        labels = {"one": ("bad", "good"), "pair": ("0", "1")}.get(name, ())
        metrics = {"score": ("pearson",), "rank": ("map",)}.get(name, ("accuracy",))
        parts.append(
            PartConfig(
                name,
                kind,
                labels,
                metrics,
                metrics[0],
                24,
                True,
                name != "one",
                enable_san=name == "pair",
                pairwise_size=size if kind == "ranking" else 0,
            )
        )
    system = BertSystem(tiny.CONFIG, str(folder / "vocab.txt"))
    return MultitaskTask(MultitaskConfig(24, True, tuple(parts)), system, **options)


def records_of(task, folder, output, split="train"):
    read = {
        "train": lambda reader: reader.get_train_examples,
        "eval": lambda reader: reader.get_dev_examples,
    }[split]
    return {
        name: task.parts[name].records(
            split, read(reader)(str(folder / "tasks")), str(output)
        )
        for name, (reader, _) in read_tasks(folder).items()
    }


def test_several_tasks_on_two_devices_equal_one(folder, trained, tmp_path):
    weights = []
    for strategy in ("off", "mirrored"):
        task = make_task(folder)
        records = records_of(task, folder, tmp_path)
        task.parts = {name: WithoutDropout(part) for name, part in task.parts.items()}
        config = TrainingConfig(str(tmp_path / strategy), 7, 4, eval_steps=0, seed=3)
        made = Trainer(task, make_strategy(DistributionConfig(strategy)), config)
        made.train(records, None, {})
        found = modeling.named_variables(made.model)
        weights.append({name: v.numpy() for name, v in found.items()})
    assert_close(*weights, atol=1e-6)


@pytest.mark.parametrize(
    ("mix", "wanted"),
    [
        ("proportional", [16, 1, 4, 9]),
        ("uniform", [8, 8, 7, 7]),
        ("sqrt", [12, 3, 6, 9]),
    ],
)
def test_an_epoch_has_batches_of_each_task_by_the_mix(folder, trained, mix, wanted):
    task = make_task(folder, mix=mix)
    sizes = {"one": 63, "pair": 2, "score": 16, "rank": 34}
    records = {name: Records((), size) for name, size in sizes.items()}
    assert task.batches(records, 4) == wanted
    assert task.steps_per_epoch(records, 4) == 30


def test_the_paper_s_alpha_counts_what_is_not_of_the_first_task(folder, trained):
    task = make_task(folder, task_ratio=0.5)
    sizes = {"one": 63, "pair": 2, "score": 16, "rank": 34}
    records = {name: Records((), size) for name, size in sizes.items()}
    assert task.steps_per_epoch(records, 4) == 16 + 8
    order, _ = task.turns(records, batch_size=4, seed=3, step=0)
    epochs = np.fromiter(order.take(72).as_numpy_iterator(), int).reshape(3, 24)
    counts = np.array([np.bincount(epoch, minlength=4) for epoch in epochs])
    assert (counts[:, 0] == 16).all()
    assert (counts <= [16, 1, 4, 9]).all()
    assert len({tuple(row) for row in counts}) > 1, "the same ones every time"


@pytest.mark.parametrize("step", [1, 5, 6, 13])
def test_turns_that_are_drawn_go_on_from_any_step(step):
    def drawn(start, number):
        order, past = turns.by_epoch([2, 3, 5], 7, start, extra=4)
        return np.fromiter(order.take(number).as_numpy_iterator(), int), past

    whole, _ = drawn(0, 30)
    rest, past = drawn(step, 30 - step)
    np.testing.assert_array_equal(rest, whole[step:])
    assert past == np.bincount(whole[:step], minlength=3).tolist()


def question(right, name="q"):
    candidates = tuple(f"word{i}" for i in range(len(right)))
    return RankingExample(name, "word9", candidates, tuple(map(bool, right)))


def test_a_pack_is_a_right_candidate_with_others_and_none_is_left_out():
    examples = [
        question([0, 1, 0, 0, 0, 1]),
        question([0, 0]),
        question([1, 1, 1, 0]),
        question([1]),
    ]
    packs = [(p.question, p.candidates) for p in ranking.training_packs(examples, 3)]
    assert packs == [
        (0, (1, 0, 2)),
        (0, (5, 3, 4)),
        (2, (0, 3)),
        (2, (1, 3)),
        (2, (2, 3)),
    ]
    packs = [(p.question, p.candidates) for p in ranking.scoring_packs(examples, 4)]
    assert packs[:3] == [(0, (0, 1, 2, 3)), (0, (4, 5)), (1, (0, 1))]


def test_a_pack_holds_its_candidates_as_pairs_side_by_side(folder, trained, tmp_path):
    task = make_task(folder)
    part = task.parts["rank"]
    example = RankingExample(
        "q", "good bad", ("word1", "bad word2 word3"), (True, False)
    )
    found = part.records("train", [example], str(tmp_path))
    serialized = tf.stack(list(tf.data.TFRecordDataset(list(found.files))))
    columns, lengths = part.feature_spec.parse(serialized)
    batch = part.feature_spec.to_batch(columns, lengths, 1, 9)
    pairs = [InputExample("", example.text, text) for text in example.candidates]
    wanted = part.can.columns(pairs, part.config)
    for place, (start, stop) in enumerate(
        np.stack([wanted.offsets[:-1], wanted.offsets[1:]], 1)
    ):
        for name in ("input_ids", "segment_ids"):
            row = batch[name][0, :, place].numpy()
            np.testing.assert_array_equal(
                row[: stop - start], getattr(wanted, name)[start:stop]
            )
            assert not row[stop - start :].any()
        assert batch["lengths"][0, place] == stop - start
    assert batch["lengths"].numpy().tolist()[0][2] == 0
    assert batch["right"].numpy().tolist() == [[1, 0, -1]]


def test_scores_do_not_depend_on_how_candidates_are_packed(folder, trained, tmp_path):
    found = []
    for size in (2, 5):
        task = make_task(folder, size=size)
        records = records_of(task, folder, tmp_path / str(size), "eval")
        config = TrainingConfig(str(tmp_path), 1, eval_batch_size=4)
        made = Trainer(task, tf.distribute.get_strategy(), config)
        predictions = made.predict({"rank": records["rank"]}, 4)["rank"]
        found.append(np.concatenate(task.parts["rank"].question_scores(predictions)))
        assert 0 < task.parts["rank"].metrics(predictions)["eval_map"] <= 1
    np.testing.assert_allclose(*found, atol=1e-5)


def test_the_loss_of_a_pack_is_that_of_its_first_candidate(folder, trained, tmp_path):
    task = make_task(folder)
    part = task.parts["rank"]
    examples = [question([1, 0, 0]), question([1, 0])]
    records = part.records("train", examples, str(tmp_path))
    batch = next(iter(part.eval_batches(records, batch_size=2)))
    model = task.build_model(dtype="float32", fused=False, seed=4)
    order = batch["question"].numpy()
    scores = part.predict(model, batch)["scores"].numpy()
    wanted = 0.0
    for row, place in enumerate(order):
        there = scores[row][: 3 - place]
        wanted += np.log(np.exp(there).sum()) - there[0]
    assert float(part.loss_sums(model, batch, None)["loss"]) == pytest.approx(
        wanted, abs=1e-5
    )


def test_one_task_goes_on_from_the_encoder_and_its_head(folder, trained, tmp_path):
    scripts.run(
        "run_multitask",
        *tiny_tasks.flags(folder, tmp_path / "out")[:2],
        f"--output_dir={tmp_path / 'out'}",
        f"--init_checkpoint={trained}",
        "--finetune_task=pair",
        "--do_train",
        "--max_seq_length=24",
        "--train_batch_size=4",
        "--num_train_epochs=0.5",
        "--learning_rate=0",
    )
    found, wanted = tensors(last(tmp_path / "out")), tensors(last(trained))
    heads = {name for name in found if name.startswith(f"{mt_dnn_model.SCOPE}/")}
    assert heads == {name for name in wanted if name.startswith("scoring_list/pair/")}
    for name in heads | {name for name in found if name.startswith("bert/")}:
        if "adam" not in name:
            np.testing.assert_array_equal(found[name], wanted[name], err_msg=name)


def classifier(folder, trained, name, labels=("good", "bad")):
    """The variables of a classifier that starts from the folder."""
    config = ClassificationConfig(
        name, "single_label", labels, ("accuracy",), "accuracy", 24, True
    )
    vocab = str(folder / "vocab.txt")
    system = BertSystem(tiny.CONFIG, vocab, init_checkpoint=str(trained))
    task = ClassificationTask(config, system)
    model = task.build_model(dtype="float32", fused=False, seed=9)
    variables = modeling.named_variables(model)
    task.initialize(variables)
    return {name: variable.numpy() for name, variable in variables.items()}


@pytest.mark.parametrize("name", ["one", "pair", "other"])
def test_a_classifier_starts_from_the_encoder_and_the_head_of_its_task(
    folder, trained, name
):
    found, wanted = classifier(folder, trained, name), tensors(last(trained))
    table = "bert/embeddings/word_embeddings"
    np.testing.assert_array_equal(found[table], wanted[table])
    head = wanted["scoring_list/one/output_weights"]
    if name == "one":  # by the names of the labels
        np.testing.assert_array_equal(found["output_weights"], head[::-1])
    else:  # a network, or none
        assert not np.isin(found["output_weights"], head).any()


def test_an_export_answers_for_all_tasks_from_one_pass(folder, trained, tmp_path):
    export.export_model(str(trained), str(tmp_path / "export"))
    served = serving.load(str(tmp_path / "export"))
    loaded = word2bert.load(trained)
    data = str(folder / "tasks")
    for name, (reader, _) in read_tasks(folder).items():
        examples = reader.get_test_examples(data)
        rows = (trained / f"test_results_{name}.tsv").read_text().splitlines()
        wanted = [[float(x) for x in row.split("\t")] for row in rows]
        if name == "rank":
            texts = [(e.text, text) for e in examples for text in e.candidates]
            wanted = np.concatenate(wanted)
        else:
            texts = [(e.text_a, e.text_b or "") for e in examples]
        answers = served.predict(texts)
        if name in ("one", "pair"):
            found = answers[f"{name}/probabilities"]
            labels = np.array(reader.get_labels())
            best = labels[found.argmax(1)]
            assert answers[f"{name}/labels"].tolist() == best.tolist()
        else:
            found, wanted = answers[f"{name}/scores"], np.ravel(wanted)
        np.testing.assert_allclose(found, wanted, atol=1e-5)
        here = loaded.classify(texts)
        assert set(here) == set(answers)
        for key, value in here.items():
            if value.dtype.kind == "f":
                np.testing.assert_allclose(value, answers[key], atol=1e-5)
            else:
                assert value.tolist() == answers[key].tolist()
    alone, beside = loaded.classify("good"), loaded.classify([("good", "")])
    np.testing.assert_allclose(alone["one/probabilities"], *beside["one/probabilities"])


def check_flags(*flags):
    module = scripts.load("run_multitask")
    module.FLAGS(["run_multitask", *flags])
    try:
        return "; ".join(module.check_flags())
    finally:
        module.FLAGS.unparse_flags()


def test_flags_that_exclude_each_other_are_refused():
    assert "--task_ratio=0.5 and --mix=sqrt exclude" in check_flags(
        "--task_ratio=0.5", "--mix=sqrt", "--do_train"
    )
    assert "--task_ratio=0.5 is of several tasks" in check_flags(
        "--task_ratio=0.5", "--finetune_task=one", "--do_train"
    )


@pytest.mark.parametrize(
    ("tasks", "more", "message"),
    [
        (
            None,
            ["--finetune_task=two"],
            "--finetune_task=two; the tasks of .* are one, ",
        ),
        (
            "two: {data_format: PremiseOnly, task_type: Regression}",
            [],
            "not trained on ",
        ),
        (
            "one: {data_format: PremiseOnly, task_type: Classification, "
            "labels: [good, bad]}",
            [],
            "labels is .*'good', 'bad'.* but the model was trained for .*'bad', 'g",
        ),
        (
            "one: {data_format: PremiseOnly, task_type: Regression}",
            [],
            "wanted a finite",
        ),
    ],
)
def test_a_trained_model_is_asked_for_what_it_is(
    folder, trained, tmp_path, tasks, more, message
):
    path = folder / "tasks.yml"
    if tasks:
        path = tmp_path / "tasks.yml"
        path.write_text(tasks)
    with pytest.raises(UserError, match=message):
        scripts.run(
            "run_multitask",
            f"--task_file={path}",
            f"--data_dir={folder / 'tasks'}",
            f"--output_dir={trained}",
            "--do_eval",
            *more,
        )


def test_task_json_says_which_key_is_wrong(trained, tmp_path):
    path = tmp_path / "task.json"
    text = (trained / "task.json").read_text()
    assert MultitaskConfig.from_json_file(str(trained / "task.json")).parts[0].labels
    for old, new, message in (
        ('"dropout_p": 0.05', '"dropout_p": "x"', "part 0: dropout_p is 'x'"),
        ('"ranking"', '"rating"', "part 3: output_kind has 'rating'"),
        ('"task_name": "pair"', '"task_name": "one"', "parts has the task one twice"),
        ('"max_seq_length": 24', '"max_seq_length": 0', "max_seq_length is 0"),
    ):
        path.write_text(text.replace(old, new, 1))
        with pytest.raises(UserError, match=message):
            MultitaskConfig.from_json_file(str(path))


def test_a_training_set_without_anything_to_compare_is_refused(
    folder, trained, tmp_path
):
    part, nothing = make_task(folder).parts["rank"], [question([0, 0]), question([1])]
    for split in ("train", "eval"):
        message = f"none of the 2 questions of the {split} set has"
        with pytest.raises(UserError, match=message):
            part.records(split, nothing, str(tmp_path))
    # To predict needs no answers; no score is made of these.
    assert part.records("predict", nothing, str(tmp_path)).num_examples == 2
    can_be_scored = scripts.load("run_multitask").can_be_scored
    assert not can_be_scored(nothing)
    assert can_be_scored([*nothing, question([0, 1])])


def test_a_head_that_a_used_model_lacks_is_missing(folder, trained):
    task = make_task(folder)
    system = BertSystem(
        tiny.CONFIG,
        str(folder / "vocab.txt"),
        init_checkpoint=str(trained / "best"),
        new_head=False,
    )
    part = PartConfig(
        "new", "single_label", ("a", "b"), ("accuracy",), "accuracy", 24, True
    )
    config = MultitaskConfig(24, True, (*task.config.parts, part))
    task = MultitaskTask(config, system)
    model = task.build_model(dtype="float32", fused=False, seed=1)
    with pytest.raises(CheckpointError, match="missing: scoring_list/new/output_wei"):
        task.initialize(modeling.named_variables(model))
