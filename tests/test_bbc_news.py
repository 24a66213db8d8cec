"""BBC News as sentences, and its split for pre-training."""

import pytest
import scripts

from data_pipeline.readers.bbc_news import Article, read_articles, to_text


def test_sentences_end_where_a_capital_a_digit_or_a_quote_follows():
    text = 'Profits of £1.5m rose. "We won," he said! 10 more followed. e.g. this.'
    article = Article("business", ("Ad sales up", text))
    assert article.sentences() == [
        "Ad sales up",
        "Profits of £1.5m rose.",
        '"We won," he said!',
        "10 more followed. e.g. this.",
    ]
    assert article.text == f"Ad sales up {text}"


def test_documents_are_divided_by_a_blank_line():
    articles = [Article("a", ("One.", "Two.")), Article("b", ("Three. Four.",))]
    assert to_text(articles) == "One.\nTwo.\n\nThree.\nFour.\n"


@pytest.fixture
def corpus(tmp_path):
    """21 articles and a copy of one of them."""
    for i in [*range(21), 7]:
        file = tmp_path / f"corpus/class{i % 3}/{i:02}{len(list(tmp_path.rglob('*')))}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.with_suffix(".txt").write_text(f"Title {i}\n\nA story. Its end.\n")
    return tmp_path / "corpus"


def test_the_split_holds_out_a_tenth_and_repeats_nothing(corpus, tmp_path):
    scripts.run("benchmarks.split_bbc", f"--corpus={corpus}", f"--output={tmp_path}")
    train, heldout = (
        (tmp_path / f"{name}.txt").read_text().strip().split("\n\n")
        for name in ("train", "heldout")
    )
    assert (len(train), len(heldout)) == (18, 3)
    assert len({*train, *heldout}) == len(read_articles(corpus)) == 21
    assert all(text.splitlines()[1:] == ["A story.", "Its end."] for text in train)


def test_data_sets_are_written_as_plain_words(corpus, tmp_path):
    questions = 'label\tfine\ttext\nDESC\tx\tWho\'s "he" ?\nNUM\ty\t...\n'
    for part in ("train", "test"):
        (tmp_path / f"{part}.tsv").write_text(questions)
    folders = [f"--output={tmp_path}/sets", f"--bbc={corpus}", f"--trec={tmp_path}"]
    scripts.run("benchmarks.plain_sets", *folders)
    read = {p.name: p.read_text() for p in (tmp_path / "sets/trec").iterdir()}
    assert read == dict.fromkeys(
        ("train.tsv", "dev.tsv"), "text\tlabel\nwho's he\tDESC\n"
    )
    assert (tmp_path / "sets/trec.txt").read_text() == "who's he\n\n"
    assert len((tmp_path / "sets/bbc/dev.tsv").read_text().splitlines()) == 1 + 5
    assert (tmp_path / "sets/bbc.txt").read_text().startswith("title ")
