"""A small causal model, and the loss computed by hand."""

import math

import torch

VOCABULARY = 256


class Model(torch.nn.Module):
    """Predicts from all tokens so far; in double precision, so that equal losses are equal to the last digits."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.embedding = torch.nn.Embedding(VOCABULARY, 16)
        self.recurrent = torch.nn.GRU(16, 24, batch_first=True)
        self.head = torch.nn.Linear(24, VOCABULARY)
        self.double().requires_grad_(False)

    def forward(self, ids):
        """Logits of the next token at every position."""
        return self.head(self.recurrent(self.embedding(ids))[0])


def by_hand(logits, ids, mask):
    """Sum of the negative log likelihoods of a sequence's kept targets, and how many there are.

    `logits[t - 1]` predicts `ids[t]`, which counts where `mask[t]` is 1.
    """
    total, count = 0.0, 0
    for t in range(1, len(ids)):
        if mask[t] == 1:
            row = logits[t - 1].double()
            largest = float(row.max())
            normalizer = largest + math.log(float(torch.exp(row - largest).sum()))
            total += normalizer - float(row[int(ids[t])])
            count += 1
    return total, count


def check(found, model, sequences):
    """Compares a loop's mean loss with that of sequences of ids and masks, and with the loss of all targets."""
    expected = mean(model, sequences)
    assert abs(found - expected) < 1e-6, (found, expected)
    everything = mean(model, [(ids, [1] * len(ids)) for ids, _ in sequences])
    assert abs(found - everything) > 1e-3, "the mask makes no difference"


def mean(model, sequences):
    total, count = 0.0, 0
    for ids, mask in sequences:
        more, counted = by_hand(model(torch.tensor([ids]))[0], ids, mask)
        total, count = total + more, count + counted
    return total / count


def joined(corpus):
    """The documents as one stream of ids and masks."""
    return [token for ids in corpus.ids for token in ids], [keep for mask in corpus.masks for keep in mask]


def blocks(corpus, length):
    """The stream in blocks of one length, without the rest."""
    ids, mask = joined(corpus)
    starts = range(0, len(ids) - length + 1, length)
    return [(ids[start : start + length], mask[start : start + length]) for start in starts]
