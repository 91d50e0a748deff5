"""The example program `score_checkpoint`, which scores sequences with a checkpoint."""

import functools

import pytest
import torch

from product import answers

torch.manual_seed(0)
torch.set_num_threads(2)
# `transformers` calls this, and the CUDA stubs of environments/torch_cpu.py can't answer.
torch.cuda.is_current_stream_capturing = lambda: False


@pytest.fixture(scope="session")
def ask():
    return functools.partial(answers, "GOLDFISH_SCORE_CHECKPOINT")
