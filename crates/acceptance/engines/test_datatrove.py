"""datatrove: its dataset over `.ds` files, and its merger over `.ds.loss`."""

from engines import losses
import numpy as np
import torch


def test_the_loss_excludes_exactly_the_dropped_targets(corpus, snippet):
    names = snippet("datatrove")
    dataset, model = names.dataset, losses.Model()
    expected = losses.blocks(corpus, 64)
    assert len(dataset) == len(expected)
    inputs = torch.stack([dataset[i]["input_ids"] for i in range(len(dataset))])
    masks = torch.from_numpy(np.stack([names.mask_of(i) for i in range(len(dataset))]))
    logits = model(inputs[:, :-1])
    each = torch.nn.functional.cross_entropy(logits.flatten(0, 1), inputs[:, 1:].flatten(), reduction="none")
    kept = masks[:, 1:].flatten()
    losses.check(float((each * kept).sum() / kept.sum()), model, expected)


def test_merging_keeps_masks_with_their_documents(corpus, tmp_path):
    """datatrove's shuffle of a tokenized file reorders masks together with documents."""
    from datatrove.io import get_datafolder
    from datatrove.pipeline.tokens.tokenizer import TokenizedFile

    name = next((corpus.folder / "datatrove").glob("*.ds")).name
    for path in (corpus.folder / "datatrove").glob("*.ds*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    file = TokenizedFile(get_datafolder(str(tmp_path)), "empty.ds", save_loss_metadata=True, token_size=4)
    file.close()
    file.filename, file.doc_ends = name, np.fromfile(tmp_path / f"{name}.index", "<u8").tolist()
    order = list(range(len(corpus.ids)))[::-1]
    (tmp_path / "new").mkdir()
    file.copy(None, order, get_datafolder(str(tmp_path / "new")), rank=0)
    (copy,) = (tmp_path / "new").glob("*.ds")
    assert np.fromfile(copy, "<u4").tolist() == [t for i in order for t in corpus.ids[i]]
    assert np.fromfile(f"{copy}.loss", np.uint8).tolist() == [k for i in order for k in corpus.masks[i]]
