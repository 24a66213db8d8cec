"""Installs word2bert: the scripts' modules and packages, as they lie in the folder."""

import pathlib

import setuptools

ROOT = pathlib.Path(__file__).resolve().parent
# What is for the repository alone.
LEFT = {"setup", "quickstart", "tests", "benchmarks", "build", ".venv"}

setuptools.setup(
    name="word2bert",
    version="0.2.0",
    description="From word embeddings to BERT in TensorFlow 2",
    license="Apache-2.0",
    python_requires=">=3.10",
    py_modules=sorted(path.stem for path in ROOT.glob("*.py") if path.stem not in LEFT),
    packages=[
        *sorted(
            ".".join(path.parent.relative_to(ROOT).parts)
            for path in ROOT.glob("*/**/__init__.py")
            if path.relative_to(ROOT).parts[0] not in LEFT
        ),
        "configs",
    ],
    package_data={
        "configs": ["models/*.json", "runs/*.flags", "tasks/*.yml", "lineage/*"]
    },
    entry_points={"console_scripts": ["word2bert = word2bert:main"]},
    install_requires=[
        # 2.20 is the last release with a TPU build (the extra below).
        "tensorflow>=2.20",
        "tensorflow-text>=2.20",
        # To look at the events that training writes; TensorFlow brings it to 2.20 only.
        "tensorboard>=2.20",
        "numpy>=1.26",
        "absl-py>=2.0",
        "safetensors>=0.4.5",
        # ELMo's weights; TensorFlow brings it too.
        "h5py>=3.11",
        "scikit-learn>=1.3",
        "scipy>=1.11",
        "seqeval>=1.2",
        "rich>=13.0",
        # Files of tasks (run_multitask.py).
        "PyYAML>=6.0",
        # GPT's text was repaired with it (tokenization_bpe.py).
        "ftfy>=6.1",
    ],
    extras_require={
        # tensorflow-tpu carries the same `tensorflow` module as the package
        # tensorflow, which tensorflow-text brings: lay it over that one afterwards,
        # pip install --force-reinstall --no-deps "tensorflow-tpu==2.20.*"
        "tpu": ["tensorflow-tpu==2.20.*", "tensorflow-text==2.20.*"],
        # Learns vocabularies (create_vocab.py); brings an HTTP client along.
        "vocab": ["tokenizers>=0.20"],
        # spaCy splits GPT's words itself; without it, our own copy of its rules does.
        "gpt": ["spacy>=3.7"],
        # Word vectors: GloVe, and word2vec but for skip-gram, several times as fast.
        "fast": ["numba>=0.61"],
        # run_classifier.py: .xlsx files.
        "excel": ["openpyxl>=3.1"],
        # Pictures: evaluate_word_vectors.py --plot, reports and others.
        "plot": ["matplotlib>=3.8"],
        # --segmenter=jieba.
        "segment": ["jieba>=0.42"],
        # XLM's text: Moses' rules.
        "xlm": ["sacremoses>=0.2"],
        # serve.py: bert-as-service's protocol, HTTP, and what Prometheus reads.
        "serve": [
            "pyzmq>=25",
            "starlette>=0.37",
            "uvicorn>=0.29",
            "httptools>=0.6",  # uvicorn's faster parser
            "uvloop>=0.18; sys_platform != 'win32'",  # and a faster event loop
            "prometheus_client>=0.20",
        ],
        # All answers of serve.py against its schema, a slow test.
        "test-schema": ["schemathesis>=4"],
        # create_pretraining_data.py --pipeline=beam. Holds protobuf back: in an
        # environment of its own, without requirements.txt.
        "beam": ["apache-beam[tfrecord]>=2.60"],
        "test": [
            "pytest>=8.0",
            "pytest-xdist>=3.5",
            "ruff>=0.9",
            "tokenizers>=0.20",
            "jieba>=0.42",
            "sacremoses>=0.2",
            "numba>=0.61",
            "matplotlib>=3.8",
            "openpyxl>=3.1",
            # What is served, and the clients that are served.
            "pyzmq>=25",
            "starlette>=0.37",
            "uvicorn>=0.29",
            "prometheus_client>=0.20",
            "bert-serving-client==1.10.0",
            "openai>=1.40",
        ],
    },
)
