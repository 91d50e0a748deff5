"""torchtune: its SFT dataset, collator and loss."""

import importlib.abc
import importlib.machinery
import sys
import types

from engines import losses
import pytest
import torch


class Stub(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Replaces torchao, which torchtune imports for quantization and which has no release for this PyTorch."""

    def find_spec(self, name, path, target=None):
        if name.split(".")[0] == "torchao":
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec):
        class Module(types.ModuleType):
            def __getattr__(self, name):
                if name.startswith("__"):
                    raise AttributeError(name)
                return (lambda *_, **__: lambda f: f) if name == "implements" else type(name, (), {})

        module = Module(spec.name)
        module.__version__ = "0"
        return module

    def exec_module(self, module):
        pass


@pytest.fixture(scope="module", autouse=True)
def torchao():
    sys.meta_path.insert(0, Stub())
    yield
    sys.meta_path.pop(0)


def test_the_loss_excludes_exactly_the_dropped_targets(corpus, snippet):
    dataset = snippet("torchtune").dataset
    from torchtune.data import padded_collate_sft
    from torchtune.modules.loss import CEWithChunkedOutputLoss

    rows = [dataset[i] for i in range(len(dataset))]
    assert [list(row["tokens"]) for row in rows] == corpus.ids
    batch = padded_collate_sft(rows, padding_idx=0, ignore_idx=-100)
    model = losses.Model()
    # As in torchtune's recipes: labels are shifted by one, and the last one is padding.
    labels = torch.hstack((batch["labels"][:, 1:], torch.full((len(rows), 1), -100)))
    loss = CEWithChunkedOutputLoss(num_output_chunks=1)([model(batch["tokens"])], labels)
    losses.check(float(loss), model, list(zip(corpus.ids, corpus.masks)))
