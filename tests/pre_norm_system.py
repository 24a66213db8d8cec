"""A variant of BERT in one file: layer normalization inside the residual branches.

    x = x + Dropout(Attention(LayerNorm(x)))           Xiong et al. 2020, figure 1 (b)
    x = x + Dropout(FeedForward(LayerNorm(x)))
    and a last LayerNorm after all blocks

docs/adding_a_variant.md walks through it; test_pre_norm_system.py compares it with
these equations, and takes it through the scripts.
"""

import dataclasses

from checkpoints import files, google_bert
from checkpoints.own_folders import OwnFolders
from modeling.bert_config import BertConfig
from modeling.layers import attention, dense, dropout, packing, transformer
from systems.bert import BertSystem


class PreNormBlock(transformer.TransformerBlock):
    def call(self, x, bias, dropout_seed=None, rows=packing.PADDED):
        shared = {"dropout_seed": dropout_seed, "rows": rows}
        output = self.attention.output_block
        read = self.attention.self_attention(output.norm(x), bias, **shared)
        x = _add(x, read, output, **shared)
        output = self.output_block
        return _add(x, self.intermediate(output.norm(x)), output, **shared)


def _add(x, read, output, dropout_seed, rows):
    """Adds Dropout(Dense(read)) to x; the weights are in `output` of BERT's block."""
    y = output.dense(read)
    rate, site, places = output.dropout_rate, output.site, rows.places
    return x + dropout.dropout(y, rate, dropout_seed, site, places)


class PreNormEncoder(transformer.Encoder):
    block_class = PreNormBlock

    def __init__(self, *sizes, **kwargs):
        super().__init__(*sizes, **kwargs)
        epsilon = self.blocks[-1].output_block.norm.epsilon
        self.norm = dense.LayerNorm(epsilon, **self.inherit("LayerNorm"))

    def build(self, input_shape):
        super().build(input_shape)
        self.norm.build(input_shape)

    def call(self, x, bias, dropout_seed=None, rows=packing.PADDED):
        *below, top = super().call(x, bias, dropout_seed, rows)
        return [*below, self.norm(top)]

    def attentions(self, inputs, bias):
        parts = [block.attention for block in self.blocks]
        read = [p.output_block.norm(x) for p, x in zip(parts, inputs, strict=True)]
        return attention.attentions((p.self_attention for p in parts), read, bias)


@dataclasses.dataclass(frozen=True)
class PreNormConfig(BertConfig):
    owner = "pre-norm BERT's"
    encoder_class = PreNormEncoder

    @classmethod
    def from_dict(cls, json_object, source="PreNormConfig.from_dict"):
        values = {k: v for k, v in json_object.items() if k != "model_type"}
        return super().from_dict(values, source)

    def to_dict(self):
        return {"model_type": "pre_norm", **super().to_dict()}


class PreNormSystem(BertSystem):
    model_type = "pre_norm"


class PreNormFolders(OwnFolders):
    def beside(self, folder):
        told = {"do_lower_case": files.read_do_lower_case(folder)}
        return super().beside(folder) | told

    def save_beside(self, folder, config, vocab_file, do_lower_case):
        self.save_config(folder, config)
        length = config.max_position_embeddings
        files.write_tokenizer(folder, vocab_file, do_lower_case, length)

    def tables(self, config):
        return google_bert.tables(config)


FILES = PreNormFolders("pre_norm", PreNormConfig, google_bert.VOCAB_TENSORS)
