"""A small causal model, and the loss computed by hand."""

import torch

VOCABULARY = 256

# One thread is faster on small tensors.
torch.set_num_threads(1)


class Model(torch.nn.Module):
    """A causal model in double precision, so that equal losses agree to the last digits."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.embedding = torch.nn.Embedding(VOCABULARY, 16)
        self.recurrent = torch.nn.GRU(16, 24, batch_first=True)
        self.head = torch.nn.Linear(24, VOCABULARY)
        self.double().requires_grad_(False)
        # Large weights, so that losses differ much between tokens.
        self.head.weight *= 4

    def forward(self, ids):
        """Logits of the next token at every position."""
        return self.head(self.recurrent(self.embedding(ids))[0])


def by_hand(model, ids):
    """The negative log-likelihood of each token except the first: `logits[t - 1]` predicts `ids[t]`."""
    ids = torch.tensor(ids)
    logits = model(ids[None])[0].double()
    shares = torch.exp(logits[:-1] - logits[:-1].amax(1, keepdim=True))
    shares = shares / shares.sum(1, keepdim=True)
    return -torch.log(shares[torch.arange(len(ids) - 1), ids[1:]])


def check(found, model, sequences):
    """Compares a mean loss with that of the kept targets of sequences of ids and masks."""
    pairs = [(by_hand(model, ids), torch.tensor(mask[1:], dtype=torch.float64)) for ids, mask in sequences]
    kept = float(sum((each * mask).sum() for each, mask in pairs) / sum(mask.sum() for _, mask in pairs))
    assert abs(found - kept) < 1e-6, (found, kept)
    everything = float(torch.cat([each for each, _ in pairs]).mean())
    assert abs(found - everything) > 1e-4, "the mask makes no difference"
    # A single target makes a difference.
    targets = sum(mask.sum() for _, mask in pairs)
    assert kept / targets > 1e-4, targets


def joined(corpus):
    """The documents as one stream of ids and masks."""
    return [token for ids in corpus.ids for token in ids], [keep for mask in corpus.masks for keep in mask]


def blocks(corpus, length):
    """The stream in blocks of equal length, without the remainder."""
    ids, mask = joined(corpus)
    starts = range(0, len(ids) - length + 1, length)
    return [(ids[start : start + length], mask[start : start + length]) for start in starts]
