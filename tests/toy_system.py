"""A whole system in one file: the bag of the words so far.

    h_t = e_t + (e_1 + ... + e_t) / t                  what stands for word t
    p(w_t+1 | w_1 ... w_t) = softmax(U h_t)            what comes next

docs/adding_a_system.md walks through it; test_toy_system.py takes it through the
scripts.
"""

# B batch, T words, H width, V words of the vocabulary.

import dataclasses
import functools

import tensorflow as tf

import vocabulary
from checkpoints import word_vectors
from checkpoints.foreign import Format
from checkpoints.own_folders import OwnFolders
from data_pipeline.features import gpt as features
from data_pipeline.features import tagging_graph
from data_pipeline.features.lines import Layout
from data_pipeline.features.tagging import SpecialIds
from modeling.config_files import COUNT, OwnConfig, check_value
from modeling.layers import base, decoder, heads
from optimization.groups import depth_groups
from systems.capabilities import Answers, Classifies, Generates
from systems.pieces import ReadsPieces, TagsPieces
from systems.system import CLASSIFIER, SPAN, TAGGER, System
from tasks.causal_language_model import CausalLanguageModelTask


@dataclasses.dataclass(frozen=True)
class ToyConfig(OwnConfig):
    owner = "the toy's"
    model_type = "toy"

    vocab_size: int | None = None  # None: as many as the vocabulary has
    width: int = 16

    def __post_init__(self):
        check_value("width", self.width, COUNT)


class ToyModel(base.Model):
    config_class = ToyConfig
    max_length = None

    def __init__(self, config, *, name="toy", **kwargs):
        super().__init__(config, name=name, **kwargs)
        self.build()

    def build(self, input_shape=None):
        shape = [self.config.vocab_size, self.config.width]
        self.words = self.add_normal("words", shape)  # e
        self.next = self.add_normal("next", shape)  # U

    def call(self, input_ids, input_mask, dropout_seed=None):
        lengths = tf.reduce_sum(input_mask, axis=1)
        before = self.initial_cache(tf.shape(input_ids)[0], 0)
        hidden, _ = self.step(input_ids, before, tf.zeros_like(lengths), lengths)
        return {"sequence_output": hidden, "all_encoder_layers": [hidden]}

    def step(self, input_ids, cache, position, lengths):
        words = tf.gather(tf.convert_to_tensor(self.words), input_ids)  # [B, T, H]
        length = tf.shape(input_ids)[1]
        real = tf.sequence_mask(lengths, length, words.dtype)[:, :, None]
        sums = cache[:, None] + tf.cumsum(words * real, axis=1)
        numbers = position[:, None] + tf.range(1, length + 1)  # [B, T]
        hidden = words + sums / tf.cast(numbers, words.dtype)[:, :, None]
        return hidden, sums[:, -1]

    def initial_cache(self, batch_size, length):
        return tf.zeros([batch_size, self.config.width])

    def cache_spec(self):
        return tf.TensorSpec([None, self.config.width])

    def lm_logits(self, hidden):
        return tf.matmul(hidden, self.next, transpose_b=True)

    @property
    def num_tokens(self):
        return self.config.vocab_size


class ToyLanguageModel(ToyModel):
    def call(self, input_ids, input_mask, dropout_seed=None):
        hidden = super().call(input_ids, input_mask)["sequence_output"]
        losses = decoder.next_token_losses(
            hidden, input_ids, input_mask, self.lm_logits, self.fused
        )
        return {"sequence_output": hidden, "lm_losses": losses}


class ToyHead(base.Layer):
    """The encoder with scores for every word: of labels, or of an answer's ends."""

    def __init__(self, config, head, num_outputs, *, frozen_encoder, **kwargs):
        super().__init__(name=base.ROOT_NAME, **kwargs)
        self.encoder = ToyModel(config, **self.inherit("toy"))
        self.scores = heads.OutputProjection(num_outputs, **self.inherit(head))
        self.scores.build([None, config.width])

    def call(self, input_ids, input_mask, dropout_seed=None):
        return self.scores(self.encoder(input_ids, input_mask)["sequence_output"])


class ToyTokenizer(tf.Module):
    """Words are what white space separates, in Python as in a graph."""

    no_answer_last = True

    def __init__(self, vocab_file):
        super().__init__()
        self.words = vocabulary.Vocabulary.from_file(vocab_file)
        self.words.require_marks()
        self.first, self.last = self.words.bos, self.words.eos
        self.between = self.last
        self.lookup = self.words.in_graph()

    @property
    def vocab(self):
        return {word: i for i, word in enumerate(self.words.words)}

    def __call__(self, texts):
        return tf.ragged.map_flat_values(self.lookup, tf.strings.split(texts))

    def ids(self, texts):
        found = self(tf.constant(texts, tf.string))
        return found.values.numpy(), found.row_splits.numpy()

    def piece_ids(self, text):
        return self.ids([text])[0].tolist()

    def tokens(self, word):
        return [word]

    def join(self, ids):
        return " ".join(self.words.words[i] for i in ids)


class ToyTexts(tf.Module):
    """Lays texts out in a graph as `ToyClassification.columns` does."""

    def __init__(self, tokenizer, max_seq_length):
        super().__init__()
        self.tokenizer, self.length = tokenizer, max_seq_length

    def __call__(self, text_a, text_b=None):
        first, last = (
            tf.fill([tf.size(text_a), 1], mark)
            for mark in (self.tokenizer.first, self.tokenizer.last)
        )
        room = self.length - 2 if text_b is None else self.length // 2 - 2
        parts = [first, self.tokenizer(text_a)[:, :room], last]
        if text_b is not None:
            parts += [self.tokenizer(text_b)[:, :room], last]
        ids = tf.concat(parts, axis=1)
        mask = tf.sequence_mask(ids.row_lengths(), dtype=tf.int32)
        return {"input_ids": ids.to_tensor(), "input_mask": mask}


class ToyClassification(Classifies):
    def spec(self, config):
        return features.classification_spec(
            config.output_kind, False, len(config.labels)
        )

    def columns(self, examples, config):
        tokenizer = self.system.tokenizer()
        return features.classification_columns(
            examples,
            tokenizer,
            features.SpecialTokens(tokenizer.first, tokenizer.between, tokenizer.last),
            config.max_seq_length,
            config.labels,
            config.output_kind,
        )

    def build(self, config, **kwargs):
        return ToyHead(self.system.config, CLASSIFIER, config.num_outputs, **kwargs)

    def run(self, model, batch, dropout_seed):
        scores = model(**self.system.encoder_inputs(batch))
        last = tf.maximum(tf.reduce_sum(batch["input_mask"], axis=1) - 1, 0)
        return {"logits": tf.gather(scores, last, batch_dims=1)}


class ToyTagging(TagsPieces):
    def special_ids(self, tokenizer):
        return SpecialIds(tokenizer.first, tokenizer.last, tokenizer.words.unk)


class ToyAnswers(Answers):
    def tokenizer(self):
        return self.system.tokenizer()

    def build(self, **kwargs):
        return ToySpans(self.system.config, SPAN, 2, **kwargs)


class ToySpans(ToyHead):
    def call(self, input_ids, input_mask, dropout_seed=None):
        return tuple(tf.unstack(super().call(input_ids, input_mask), axis=2))


class ToyLines(ReadsPieces):
    default_layers = (-1,)

    def layout(self, tokenizer):
        return Layout((tokenizer.first,), (tokenizer.last,))


class ToyGeneration(Generates):
    @functools.cached_property
    def tokenizer(self):
        return self.system.tokenizer()

    @property
    def stop_id(self):
        return self.tokenizer.last

    def encode(self, prompts):
        return [[self.tokenizer.first, *self.tokenizer.piece_ids(p)] for p in prompts]

    def decode(self, ids):
        return self.tokenizer.join(ids)


class ToyPretraining(CausalLanguageModelTask):
    vocab_size_key = "vocab_size"

    def build_model(self, **kwargs):
        return ToyLanguageModel(self.system.config, **kwargs)


class ToySystem(System):
    model_type = "toy"
    heads = {kind: f"{kind}/.*" for kind in (CLASSIFIER, SPAN, TAGGER)}
    label_axes = {f"{CLASSIFIER}/output_(weights|bias)": (0,)}
    num_layers = 1

    @property
    def hidden_size(self):
        return self.config.width

    def tokenizer(self):
        return ToyTokenizer(self.vocab_file)

    def entries(self):
        return list(self.tokenizer().words.words)

    def build_encoder(self, **kwargs):
        return ToyModel(self.config, **kwargs)

    def parameter_groups(self, config):
        encoder = ("^toy/", float(config.finetune_encoder))
        return depth_groups([encoder, ("", 1.0)], config.weight_decay)

    def text_encoder(self, max_seq_length):
        return ToyTexts(self.tokenizer(), max_seq_length)

    def word_reader(self, max_seq_length):
        tokenizer = self.tokenizer()
        special = ToyTagging(self).special_ids(tokenizer)
        return tagging_graph.WordPieces(tokenizer, special, max_seq_length)


def save_vectors(folder, tensors, checkpoint):
    words = vocabulary.Vocabulary.from_file(checkpoint.vocab_file).words
    vectors = word_vectors.WordVectors(list(words), tensors["toy/words"])
    word_vectors.write(f"{folder}/vectors.txt", vectors, "glove")


FILES = OwnFolders("toy", ToyConfig, frozenset({"toy/words", "toy/next"}))
FORMAT = Format("toy_vectors", save=save_vectors)
