"""OLMo-core: its dataset, labels, transformer and loss."""

from engines import losses
import pytest
import torch
from olmo_core.data import DataCollator, PaddingDirection
from olmo_core.data.utils import get_labels
from olmo_core.nn.transformer import TransformerConfig


@pytest.mark.parametrize("blocks", [1, 2], ids=["exported", "masks-only"])
def test_the_loss_excludes_exactly_the_dropped_targets(corpus, snippet, blocks):
    dataset = snippet("OLMo-core", blocks).dataset
    dataset.prepare()
    expected = losses.blocks(corpus, 64)
    assert len(dataset) == len(expected)
    batch = DataCollator(pad_token_id=0, pad_direction=PaddingDirection.right)([dataset[i] for i in range(len(dataset))])
    torch.manual_seed(1)
    model = TransformerConfig.llama_like(vocab_size=256, d_model=16, n_layers=1, n_heads=2).build(init_device="cpu")
    model.init_weights(device=torch.device("cpu"), max_seq_len=64)
    model.double()
    with torch.no_grad():
        model.lm_head.w_out.weight *= 40
        ids = batch["input_ids"]
        loss = model(ids, labels=get_labels(batch), ignore_index=-100, loss_reduction="mean").loss
        losses.check(float(loss), lambda ids: model(ids), expected)
