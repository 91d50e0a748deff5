"""axolotl's command on shards: loader, collator and trainer."""

import importlib.abc
import importlib.machinery
import os
import sys
import types

import pytest
from loops import tiny

# Set before the import: disables axolotl's telemetry.
os.environ["AXOLOTL_DO_NOT_TRACK"] = "1"

# These look for triton, and must not find the stub below.
import torch._dynamo  # noqa: E402
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, Trainer  # noqa: E402, F401


class Stub(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Replaces triton, a gigabyte that compiles kernels for GPUs."""

    def find_spec(self, name, path, target=None):
        return importlib.machinery.ModuleSpec(name, self, is_package=True) if name.split(".")[0] == "triton" else None

    def create_module(self, spec):
        class Module(types.ModuleType):
            def __getattr__(self, name):
                if name.startswith("__"):
                    raise AttributeError(name)
                decorators = {"jit", "autotune", "heuristics"}
                return (lambda *given, **_: given[0] if given and callable(given[0]) else lambda f: f) if name in decorators else type(name, (), {})

        return Module(spec.name)

    def exec_module(self, module):
        pass


@pytest.fixture(scope="module", autouse=True)
def triton():
    sys.meta_path.insert(0, Stub())
    yield
    sys.meta_path.pop(0)


def test_loss(settings, truth, monkeypatch):
    with open("axolotl.yaml", "w") as file:
        file.write(settings("axolotl"))
    from axolotl.cli.args import TrainerCliArgs
    from axolotl.cli.config import load_cfg
    from axolotl.cli.train import do_train
    from axolotl.core.trainers.base import AxolotlTrainer

    losses = tiny.note_losses(monkeypatch, AxolotlTrainer)
    # One step over all documents, on the CPU.
    step = {"micro_batch_size": len(truth.rows), "max_steps": 1, "bf16": False, "dataset_num_proc": 1}
    do_train(load_cfg("axolotl.yaml", **step), TrainerCliArgs())
    # Computed in single precision.
    assert losses == [pytest.approx(truth.loss, rel=1e-6)]
