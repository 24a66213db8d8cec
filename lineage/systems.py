"""The systems: with which flags each is pre-trained, read and fine-tuned.

All vectors and states have 128 numbers, all Transformers 2 layers. What is not said
here is a script's default. Sizes are for some minutes of one core. Rates and
numbers of epochs are those of the project's other runs, or near them; they were written
down before any run and not searched, for no system.
"""

import dataclasses
from collections.abc import Mapping

from lineage.stages import Value

Flags = Mapping[str, Value]
# By the number of labels, a class or in all; None: all that there are.
EPOCHS = {4: 30, 20: 15, 1000: 5, None: 3}


@dataclasses.dataclass(frozen=True)
class System:
    """One system.

    Attributes:
      name: for --systems.
      title: as it is shown.
      year: of its paper.
      added: what it brought, in a few words.
      text: which form of the text it learns from; None: it is not pre-trained on text.
      vocabulary: flags of create_vocab.py; None: it counts words itself.
      vocab_file: its name.
      records: flags of create_pretraining_data.py.
      language: of the text, before its name where a system reads several.
      pretraining: flags of run_pretraining.py, or without a vocabulary of
        run_word_vectors.py.
      config: a file of sizes in configs/lineage.
      counted: the flag that says how long the pre-training is; None: its length is its
        own.
      most: the largest value of `counted` that is of use.
      table: the variable that is taken out as word vectors, and is all that is used.
      base: the system whose pre-trained model it begins with.
      multitask: flags of run_multitask.py, by which it goes on from there.
      frozen: flags of extract_features.py; None: it gives no vectors of lines.
      classify: flags of run_classifier.py; None: it does not classify.
      tag: flags of run_tagger.py; None: it does not tag.
      epochs: of run_classifier.py, by the number of labels.
      pace: about the seconds of one core that it learns from an article of BBC News in.
    """

    name: str
    title: str
    year: int
    added: str
    text: str | None = None
    vocabulary: Flags | None = None
    vocab_file: str = "vocab.txt"
    records: Flags = dataclasses.field(default_factory=dict)
    language: str | None = None
    pretraining: Flags = dataclasses.field(default_factory=dict)
    config: str | None = None
    counted: str | None = None
    most: int | None = None
    table: str | None = None
    base: str | None = None
    multitask: Flags | None = None
    frozen: Flags | None = None
    classify: Flags | None = None
    tag: Flags | None = None
    epochs: Mapping[int | None, int] = dataclasses.field(default_factory=lambda: EPOCHS)
    pace: float = 0.018


_WORDS = {"vector_size": 128, "min_count": 5, "window": 5, "threads": 1}
_STEPS = "num_train_steps"
# docs/word_vectors.md: a mean and a linear layer; vectors learn at a tenth of its rate.
_MEAN = {
    "tokenizer": "english",
    "max_seq_length": 512,
    "optimizer": "adamw",
    "learning_rate": 0.1,
    "layer_decay": 0.1,
    "train_batch_size": 8,
}
_LSTM_CRF = {
    "crf": True,
    "output_scheme": "IOBES",
    "optimizer": "adamw",
    "learning_rate": 2e-3,
    "train_batch_size": 32,
    "num_train_epochs": 8,
}
_TRANSFORMER_TAGS = {
    "optimizer": "adamw",
    "learning_rate": 1e-3,
    "train_batch_size": 16,
    "num_train_epochs": 8,
}
# How tables of vectors are used, and how Transformers are.
_OVER_WORDS = {
    "frozen": {"pooling": "mean", "tokenizer": "english", "batch_size": 64},
    "classify": _MEAN,
    "epochs": {4: 100, 20: 30, 1000: 10, None: 10},
    "pace": 0.0015,
    "tag": _LSTM_CRF,
}
_OVER_PIECES = {
    "frozen": {"pooling": "mean", "max_seq_length": 256, "batch_size": 32},
    "classify": {
        "max_seq_length": 256,
        "optimizer": "adamw",
        "learning_rate": 5e-4,
        "train_batch_size": 16,
    },
    "tag": _TRANSFORMER_TAGS,
}
_STEADY = {"optimizer": "adamw", "learning_rate": 2e-3, "train_batch_size": 32}


def _vectors(name, title, year, added, **pretraining):
    """A system of word vectors, of run_word_vectors.py."""
    counted = "iter" if pretraining["model_type"] != "svd" else None
    return System(
        name,
        title,
        year,
        added,
        text="plain.txt",
        pretraining={**_WORDS, **pretraining},
        counted=counted,
        most=100,
        **_OVER_WORDS,
    )


SYSTEMS = (
    System("bow", "bag of words", 1972, "words are counted and weighted"),
    _vectors(
        "svd", "counts + SVD", 1990, "words are near by company", model_type="svd"
    ),
    System(
        "nnlm",
        "NNLM",
        2003,
        "vectors are learnt by a language model",
        text="words.txt",
        vocabulary={"model_type": "nnlm", "min_frequency": 2},
        records={"model_type": "nnlm", "max_seq_length": 128},
        pretraining={
            **_STEADY,
            "model_type": "nnlm",
            "max_seq_length": 128,
            "train_batch_size": 64,
            "learning_rate": 1e-3,
        },
        config="nnlm.json",
        counted=_STEPS,
        table="nnlm/C",
        **_OVER_WORDS,
    ),
    _vectors(
        "skip_gram",
        "skip-gram",
        2013,
        "a word predicts those around it",
        model_type="word2vec",
        cbow=0,
        negative=5,
        sample=1e-3,
    ),
    _vectors(
        "cbow",
        "CBOW",
        2013,
        "those around it predict a word",
        model_type="word2vec",
        cbow=1,
        negative=5,
        sample=1e-3,
    ),
    _vectors(
        "glove",
        "GloVe",
        2014,
        "counts of the whole text are fitted",
        model_type="glove",
        x_max=10,
    ),
    System(
        "taglm",
        "TagLM",
        2017,
        "a tagger reads the states of a language model",
        base="elmo",
        tag={
            "model_type": "taglm",
            "crf": True,
            "output_scheme": "IOBES",
            "optimizer": "adamw",
            "weight_decay": 0,
            "max_grad_norm": 5,
            "learning_rate": 1e-3,
            "train_batch_size": 16,
            "num_train_epochs": 8,
        },
    ),
    System(
        "ulmfit",
        "ULMFiT",
        2018,
        "all of a language model is fine-tuned",
        text="text.txt",
        vocabulary={"model_type": "ulmfit", "vocab_size": 10000, "min_frequency": 2},
        records={"model_type": "ulmfit", "max_seq_length": 512},
        pretraining={
            "model_type": "ulmfit",
            "max_seq_length": 512,
            "train_batch_size": 32,
            "optimizer": "ulmfit_adam",
            "learning_rate_decay": "slanted",
            "learning_rate": 5e-3,
            "weight_decay": 1e-7,
            "max_grad_norm": 0.3,
        },
        config="ulmfit.json",
        pace=0.04,
        counted=_STEPS,
        frozen={"pooling": "mean", "max_seq_length": 512, "batch_size": 16},
        classify={
            "model_type": "ulmfit",
            "max_seq_length": 400,
            "train_batch_size": 16,
            "optimizer": "ulmfit_adam",
            "learning_rate_decay": "slanted",
            "warmup_proportion": 0.1,
            "learning_rate": 5e-3,
            "weight_decay": 1e-6,
        },
        tag=_TRANSFORMER_TAGS,
    ),
    System(
        "elmo",
        "ELMo",
        2018,
        "a word's vector depends on its sentence",
        text="words.txt",
        vocabulary={"model_type": "elmo", "vocab_size": 50000},
        records={"model_type": "elmo", "max_seq_length": 128},
        pretraining={
            "model_type": "elmo",
            "max_seq_length": 128,
            "unroll_steps": 20,
            "train_batch_size": 32,
            "optimizer": "adamw",
            "weight_decay": 0,
            "learning_rate": 2e-3,
            "max_grad_norm": 10,
        },
        config="elmo.json",
        pace=0.02,
        counted=_STEPS,
        frozen={"pooling": "mean", "tokenizer": "english", "max_seq_length": 512},
        classify={
            "tokenizer": "english",
            "max_seq_length": 256,
            "train_batch_size": 16,
            "optimizer": "adamw",
            "learning_rate": 2e-3,
        },
        tag=_LSTM_CRF,
    ),
    System(
        "gpt",
        "GPT",
        2018,
        "a Transformer, left to right, is fine-tuned",
        text="text.txt",
        vocabulary={"model_type": "gpt", "vocab_size": 8000},
        vocab_file="vocab.json",
        records={"model_type": "gpt", "max_seq_length": 128},
        pretraining={
            **_STEADY,
            "model_type": "gpt",
            "max_seq_length": 128,
            "learning_rate_decay": "cosine",
        },
        config="gpt.json",
        counted=_STEPS,
        **_OVER_PIECES,
    ),
    System(
        "bert",
        "BERT",
        2018,
        "masked words are read from both sides",
        text="text.txt",
        vocabulary={"vocab_size": 8000},
        records={"max_seq_length": 128, "dupe_factor": 5, "num_workers": 1},
        pretraining={**_STEADY, "max_seq_length": 128},
        config="bert.json",
        counted=_STEPS,
        **_OVER_PIECES,
    ),
    System(
        "mt_dnn",
        "MT-DNN",
        2019,
        "several tasks train one BERT",
        base="bert",
        multitask={
            "max_seq_length": 96,
            "train_batch_size": 32,
            "learning_rate": 1e-3,
            "num_train_epochs": 2,
        },
        **_OVER_PIECES,
    ),
    System(
        "xlm",
        "XLM",
        2019,
        "masked words alone, in streams of any language",
        text="text.txt",
        vocabulary={"model_type": "xlm", "languages": "en", "vocab_size": 8000},
        vocab_file="vocab",
        language="en",
        records={"model_type": "xlm", "languages": "en", "max_seq_length": 128},
        pretraining={
            **_STEADY,
            "model_type": "xlm",
            "mlm_steps": "en",
            "max_seq_length": 128,
        },
        config="xlm.json",
        counted=_STEPS,
        **_OVER_PIECES,
    ),
)
BY_NAME = {system.name: system for system in SYSTEMS}
