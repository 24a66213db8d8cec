"""Writes gensim's figures for the files of a folder to gensim.json there.

python make_gensim.py FOLDER    # with gensim 4.4.0
"""

import json
import pathlib
import sys

from gensim.models import KeyedVectors


def pairs(vectors, path, **options):
    pearson, spearman, unknown = vectors.evaluate_word_pairs(path, **options)
    return [float(pearson[0]), float(spearman[0]), float(unknown)]


def analogies(vectors, path, **options):
    _, sections = vectors.evaluate_word_analogies(path, **options)
    counts = {s["section"]: (len(s["correct"]), len(s["incorrect"])) for s in sections}
    return {name: [right, right + wrong] for name, (right, wrong) in counts.items()}


class CosMul(KeyedVectors):
    """gensim's own loop over questions, with its own most_similar_cosmul."""

    def most_similar(self, positive, negative, topn, restrict_vocab=None):
        return self.most_similar_cosmul(positive, negative, topn)


folder = pathlib.Path(sys.argv[1])
vectors = KeyedVectors.load_word2vec_format(folder / "vectors.txt")
cosmul = CosMul.load_word2vec_format(folder / "vectors.txt")
few = CosMul.load_word2vec_format(folder / "vectors.txt", limit=250)
pairs_file, questions_file = folder / "pairs.tsv", folder / "questions.txt"
found = {
    "pairs": {
        "default": pairs(vectors, pairs_file),
        "case_insensitive=0": pairs(vectors, pairs_file, case_insensitive=False),
        "dummy4unknown": pairs(vectors, pairs_file, dummy4unknown=True),
        "restrict_vocab=250": pairs(vectors, pairs_file, restrict_vocab=250),
    },
    "3cosadd": {
        "default": analogies(vectors, questions_file),
        "case_insensitive=0": analogies(
            vectors, questions_file, case_insensitive=False
        ),
        "dummy4unknown": analogies(vectors, questions_file, dummy4unknown=True),
        "restrict_vocab=250": analogies(vectors, questions_file, restrict_vocab=250),
    },
    "3cosmul": {
        "default": analogies(cosmul, questions_file),
        "case_insensitive=0": analogies(cosmul, questions_file, case_insensitive=False),
        "dummy4unknown": analogies(cosmul, questions_file, dummy4unknown=True),
        # most_similar_cosmul does not know restrict_vocab.
        "restrict_vocab=250": analogies(few, questions_file),
    },
    "nearest": vectors.most_similar("king", topn=5),
    "analogy": {
        "3cosadd": vectors.most_similar(["king", "woman"], ["man"], topn=5),
        "3cosmul": vectors.most_similar_cosmul(["king", "woman"], ["man"], topn=5),
    },
    "odd_one_out": vectors.doesnt_match(["king", "queen", "woman", "england"]),
}
(folder / "gensim.json").write_text(json.dumps(found, indent=1) + "\n")
