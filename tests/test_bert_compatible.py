"""--compatible gives google-research/bert's examples, all of them, in order."""

import hashlib
import json

import pytest
from tiny_corpus import config, read, write_corpus, write_vocab

import tokenization
from data_pipeline.corpora import bert_compatible, bert_corpus

# What the original has as constants.
SHARES = {
    "mask_probability": 0.8,
    "random_probability": 0.1,
    "keep_probability": 0.1,
}
SETTINGS = (
    "max_seq_length",
    "max_predictions_per_seq",
    "masked_lm_prob",
    "short_seq_prob",
    "do_whole_word_mask",
    "dupe_factor",
    "random_seed",
)


@pytest.mark.shared_data
@pytest.mark.parametrize("name", ["en_seq128_plain", "en_seq64_wwm", "zh_seq128_plain"])
def test_every_example_is_the_originals(name, golden_dir, shared_dir, tmp_path):
    folder = golden_dir / "pretraining_data"
    cases = json.loads((folder / "pretraining_data.json").read_text())
    golden = next(case for case in cases if case["name"] == name)
    vocab_file = str(shared_dir / "vocab" / golden["vocab"])
    settings = bert_corpus.instance_config(
        vocab_file,
        tokenization.load_vocab(vocab_file),
        **{key: golden[key] for key in SETTINGS},
        **SHARES,
    )
    output = tmp_path / "examples.tfrecord"
    report = bert_compatible.create(
        [str(folder / golden["input"])],
        vocab_file,
        golden["do_lower_case"],
        settings,
        [str(output)],
    )
    examples = read(output)
    assert examples[:3] == golden["first_examples"]
    assert len(examples) == report.instances == golden["num_examples"]
    digest = hashlib.sha256()
    for example in examples:
        digest.update(json.dumps(example, sort_keys=True).encode())
    assert digest.hexdigest() == golden["sha256_of_sorted_json_examples"]


def test_examples_are_dealt_out_to_the_output_files_in_turn(tmp_path):
    vocab, text = write_vocab(tmp_path), write_corpus(tmp_path / "a.txt", 11)

    def create(*names):
        paths = [str(tmp_path / name) for name in names]
        bert_compatible.create([text], vocab, True, config(), paths)
        return paths

    [whole] = map(read, create("one"))
    parts = [read(path) for path in create("first", "second", "third")]
    assert len(whole) > 10
    assert parts == [whole[i::3] for i in range(3)]


def test_a_document_runs_on_into_the_next_file(tmp_path):
    tokenizer = tokenization.FullTokenizer(write_vocab(tmp_path))
    for name, text in (("a", "wa\n\nwb\n"), ("b", "wc wd\n\n\nwe")):
        (tmp_path / name).write_text(text)
    found = bert_compatible.read_documents(
        [str(tmp_path / "a"), str(tmp_path / "b")], tokenizer
    )
    tokens = [[tokenizer.convert_ids_to_tokens(s) for s in d] for d in found]
    assert tokens == [[["wa"]], [["wb"], ["wc", "wd"]], [["we"]]]
