"""Seconds an update of an AWD-LSTM in PyTorch: the twin of ../bench_awd_lstm.py.

Usage: torch_awd_lstm.py V E D L B T STEPS: words, sizes of embeddings and layers,
layers, rows, steps of a window, updates timed. Every window's losses, states and
dropouts are those of Merity et al. (2018), with torch.nn.LSTM.
"""

import json
import sys
import time

try:
    import torch
    from torch import nn
    from torch.nn import functional
except ImportError:
    sys.exit("torch is missing: see benchmarks/peers/README.md")

EMBEDDING, INPUT, WEIGHT, HIDDEN, OUTPUT = 0.02, 0.25, 0.2, 0.15, 0.1


def drop(x: torch.Tensor, rate: float) -> torch.Tensor:
    """Drops the same features of a row, [B, T, .], at all steps."""
    return x * functional.dropout(x.new_ones(x.shape[0], 1, x.shape[2]), rate)


class WeightDrop(nn.Module):
    """One LSTM; its weights between two steps are dropped once a window."""

    def __init__(self, inputs: int, units: int):
        super().__init__()
        self.lstm = nn.LSTM(inputs, units, batch_first=True)
        raw = self.lstm.weight_hh_l0
        del self.lstm._parameters["weight_hh_l0"]
        self.raw = nn.Parameter(raw.data)

    def forward(self, x, state):
        """Runs over all steps."""
        self.lstm.weight_hh_l0 = functional.dropout(self.raw, WEIGHT)
        return self.lstm(x, state)


class AwdLstm(nn.Module):
    """The language model, with tied embeddings."""

    def __init__(self, words: int, embedding: int, hidden: int, layers: int):
        super().__init__()
        self.table = nn.Parameter(torch.empty(words, embedding).uniform_(-0.1, 0.1))
        self.bias = nn.Parameter(torch.zeros(words))
        widths = [embedding, *[hidden] * (layers - 1), embedding]
        pairs = zip(widths, widths[1:], strict=False)
        self.rnns = nn.ModuleList(WeightDrop(*pair) for pair in pairs)

    def forward(self, ids, states):
        """Returns what AR and TAR read, the scores, and the states after."""
        kept = functional.dropout(self.table.new_ones(len(self.table), 1), EMBEDDING)
        x = drop(functional.embedding(ids, self.table * kept), INPUT)
        after = []
        for i, rnn in enumerate(self.rnns):
            raw, state = rnn(x, states[i])
            after.append(tuple(part.detach() for part in state))
            x = drop(raw, OUTPUT if i + 1 == len(self.rnns) else HIDDEN)
        return raw, x, functional.linear(x, self.table, self.bias), after


def main(*sizes: str) -> None:
    """Times updates after two that are not."""
    words, embedding, hidden, layers, rows, steps, updates = map(int, sizes)
    torch.manual_seed(0)
    model = AwdLstm(words, embedding, hidden, layers)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3, (0.7, 0.99))
    states, seconds = [None] * layers, []
    for _ in range(updates + 2):
        ids = torch.randint(words, (rows, steps + 1))
        start = time.perf_counter()
        raw, dropped, logits, states = model(ids[:, :-1], states)
        loss = functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
        loss = loss + 2 * dropped.square().mean()
        loss = loss + (raw[:, 1:] - raw[:, :-1]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.3)
        optimizer.step()
        seconds.append(time.perf_counter() - start)
    print(json.dumps({"seconds": seconds[2:]}))


if __name__ == "__main__":
    main(*sys.argv[1:])
