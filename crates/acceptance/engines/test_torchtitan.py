"""torchtitan: its loss over the samples of the page."""

from engines import losses
import torch
from torchtitan.components.loss import IGNORE_INDEX, cross_entropy_loss


def test_the_loss_excludes_exactly_the_dropped_targets(corpus, snippet):
    samples = snippet("torchtitan").samples
    model = losses.Model()
    batch = list(samples("titan", 64))
    inputs = torch.stack([inputs["input"] for inputs, _ in batch])
    labels = torch.stack([labels for _, labels in batch])
    ids, mask = losses.joined(corpus)
    sequences = [(ids[i : i + 65], mask[i : i + 65]) for i in range(0, len(batch) * 64, 64)]
    assert inputs.tolist() == [ids[:-1] for ids, _ in sequences]
    loss = cross_entropy_loss(model(inputs), labels) / (labels != IGNORE_INDEX).sum()
    # Summed in single precision.
    losses.check(float(loss), model, sequences)
