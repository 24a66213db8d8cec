"""Words a second of gensim's word2vec, in a single pass over a text.

Usage: gensim_word2vec.py TEXT METHOD THREADS, METHOD as of ../bench_word2vec.py.
"""

import json
import sys
import time

try:
    from gensim.models import Word2Vec
except ImportError:
    sys.exit("gensim is missing: pip install gensim==4.4.0")


def main(text: str, method: str, threads: str) -> None:
    """Counts the words, which is not timed, and trains."""
    kind, loss = method.split("-")
    model = Word2Vec(
        vector_size=100,
        window=5,
        min_count=5,
        sample=1e-3,
        sg=int(kind == "sg"),
        hs=int(loss == "hs"),
        negative=5 * (loss == "ns"),
        alpha=0.025 if kind == "sg" else 0.05,
        workers=int(threads),
    )
    model.build_vocab(corpus_file=text)
    words = model.corpus_total_words
    start = time.perf_counter()
    # With `total_examples` it would let the rate fall by lines, however long they are.
    model.train(corpus_file=text, total_words=words, epochs=1)
    seconds = time.perf_counter() - start
    print(json.dumps({"words": words, "seconds": seconds}))


if __name__ == "__main__":
    main(*sys.argv[1:])
