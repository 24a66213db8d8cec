"""Writes rules.json: what fastai's rules and spaCy make of some lines.

pip install fastai spacy            (made with fastai 2.8's rules, spaCy 3.8)
python make.py
"""

import json
import pathlib

import spacy
from fastai.text import core
from spacy.symbols import ORTH

FILE = pathlib.Path(__file__).with_name("rules.json")


def main():
    """Reads the lines of the file, and writes them with their tokens."""
    nlp = spacy.blank("en")
    for word in core.defaults.text_spec_tok:
        nlp.tokenizer.add_special_case(word, [{ORTH: word}])
    found = []
    for line, _ in json.loads(FILE.read_text()):
        text = line
        for rule in core.defaults.text_proc_rules:
            text = rule(text)
        words = [core.replace_space(token.text) for token in nlp.tokenizer(text)]
        found.append([line, words])
    FILE.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
