"""From text to ELMo's weights in bilm-tf's files, with the scripts alone."""

import h5py
import pytest
import scripts
import tiny
import tiny_elmo

import checkpoints
from data_pipeline import tfrecord
from vocabulary import Vocabulary

pytestmark = pytest.mark.long


def write_text(path, number, seed=0):
    """Writes tokenized sentences, blank lines between some; returns the path."""
    path.write_text("\n\n".join(tiny_elmo.sentences(number, seed)) + "\n")
    return str(path)


def test_vocabulary_has_marks_and_then_words_by_falling_counts(tmp_path, capsys):
    text = tmp_path / "text.txt"
    text.write_text("b a b\n\nc b </S> a d\n")
    output = tmp_path / "vocab.txt"
    flags = ("--model_type=elmo", f"--input_file={text}", f"--output_file={output}")
    scripts.run("create_vocab", *flags, "--min_frequency=1", "--vocab_size=6")
    assert Vocabulary.from_file(str(output)).words[3:] == ("b", "a", "c")
    scripts.run("create_vocab", *flags)
    assert output.read_text().split() == ["<S>", "</S>", "<UNK>", "b", "a"]
    assert "unk_rate = 0.250000" in capsys.readouterr().out  # c and d


def make_records(folder, text, output, *more):
    """Makes records with the tiny vocabulary; returns their path."""
    vocab, _ = tiny_elmo.write_model(folder)
    scripts.run(
        "create_pretraining_data",
        "--model_type=elmo",
        f"--vocab_file={vocab}",
        f"--input_file={text}",
        f"--output_file={output}",
        f"--max_seq_length={tiny_elmo.MAX_SEQ_LENGTH}",
        "--num_workers=1",
        *more,
    )
    return str(output)


def test_a_folder_of_elmo_stands_alone_and_becomes_bilm_tfs(tmp_path):
    train = write_text(tmp_path / "train.txt", 60)
    train = make_records(tmp_path, train, tmp_path / "train.tfrecord")
    dev = tiny_elmo.write_records(tmp_path / "dev.tfrecord", tiny_elmo.sentences(9, 1))
    scripts.run(
        "run_pretraining",
        "--model_type=elmo",
        f"--config_file={tmp_path}/options.json",
        f"--vocab_file={tmp_path}/vocab.txt",
        f"--input_file={train}",
        f"--eval_input_file={dev}",
        f"--output_dir={tmp_path}/out",
        f"--max_seq_length={tiny_elmo.MAX_SEQ_LENGTH}",
        "--unroll_steps=5",
        "--train_batch_size=4",
        "--num_train_steps=3",
        "--num_warmup_steps=0",
        "--optimizer=adagrad",
        "--learning_rate=0.2",
        "--learning_rate_decay=constant",
        "--max_grad_norm=10",
        "--do_train",
        "--do_eval",
        "--ngram_baseline=3",
    )
    results = tiny.read_results(tmp_path / "out" / "eval_results.txt")
    names = {"perplexity", "forward_perplexity", "backward_perplexity"}
    names |= {"loss", "log_likelihood", "ngram_perplexity", "global_step"}
    assert set(results) == names
    alone = tmp_path / "alone"
    (tmp_path / "out").rename(alone)
    scripts.run(
        "run_pretraining",
        f"--init_checkpoint={alone}",
        f"--input_file={dev}",
        f"--output_dir={tmp_path}/again",
        f"--max_seq_length={tiny_elmo.MAX_SEQ_LENGTH}",
        "--do_eval",
    )
    again = tiny.read_results(tmp_path / "again" / "eval_results.txt")
    assert again["loss"] == pytest.approx(results["loss"], rel=1e-5)
    scripts.run(
        "convert_checkpoint",
        f"--input_checkpoint={alone}",
        f"--output_path={tmp_path}/bilm",
        "--output_format=bilm",
    )
    opened = checkpoints.open_checkpoint(str(tmp_path / "bilm"))
    assert opened.format == "bilm"
    assert opened.config.char_cnn.n_characters == 262
    assert Vocabulary.from_file(opened.vocab_file).words == tuple(tiny_elmo.VOCAB)
    trained = checkpoints.open_checkpoint(str(alone))
    for name in opened.shapes:
        assert (opened.read(name) == trained.read(name)).all()
    with h5py.File(tmp_path / "bilm" / "lm_weights.hdf5") as file:
        assert "RNN_1/RNN/MultiRNNCell/Cell1/LSTMCell/W_P_0" in file


def test_long_sentences_are_cut_and_everything_is_counted(tmp_path, capsys):
    text = tmp_path / "text.txt"
    text.write_text(f"the a {'x' * 60}\n\n  \n{'w1 ' * 12}\n")
    path = make_records(tmp_path, text, tmp_path / "made")
    assert tfrecord.count([path]) == 3
    report = capsys.readouterr().out
    for line in ("sentences = 2", "tokens = 15", "cut_sentences = 1", "long_words = 1"):
        assert line in report


def test_what_records_cannot_be_made_of_is_said_before_work(tmp_path):
    empty = tmp_path / "empty.txt"
    empty.write_text("\n \n")
    with pytest.raises(ValueError, match="no text in .*empty.txt"):
        make_records(tmp_path, empty, tmp_path / "made")
    assert not (tmp_path / "made").exists()
    with pytest.raises(ValueError, match="--masked_lm_prob is not for.*elmo"):
        make_records(tmp_path, empty, tmp_path / "made", "--masked_lm_prob=0.2")
    vocab = tmp_path / "marks"
    vocab.write_text("<S>\nthe\n")
    with pytest.raises(ValueError, match="marks: no line </S> and no line <UNK>"):
        make_records(tmp_path, empty, tmp_path / "made", f"--vocab_file={vocab}")
