"""LLaMA-Factory's command on shards: loader, collator and trainer."""

import sys
import types

import peft  # noqa: F401
import pytest
from loops import tiny
import transformers  # noqa: F401
import yaml

# Imported for audio only; needs the exact build of PyTorch that it was compiled for.
sys.modules["torchaudio"] = types.ModuleType("torchaudio")


def train(settings, rows, **changes):
    from llamafactory.train.tuner import run_exp

    # One step over all documents.
    step = {"per_device_train_batch_size": len(rows), "max_steps": 1, "report_to": "none"}
    run_exp({**yaml.safe_load(settings), **step, **changes})


def test_loss(settings, truth, monkeypatch):
    from llamafactory.train.sft.trainer import CustomSeq2SeqTrainer

    losses = tiny.note_losses(monkeypatch, CustomSeq2SeqTrainer)
    train(settings("LLaMA-Factory"), truth.rows)
    # Its version of `transformers` also counts the first labels, which are not targets.
    targets = sum(sum(mask[1:]) for mask in truth.masks)
    firsts = sum(mask[0] for mask in truth.masks)
    # Computed in single precision.
    assert losses == [pytest.approx(truth.loss * targets / (targets + firsts), rel=1e-6)]


def test_the_stage_pt_ignores_the_mask(settings, truth, monkeypatch):
    """docs/loops.md warns of this. It is silent if the documents of a batch have equal lengths."""
    from llamafactory.train.pt.trainer import CustomTrainer

    losses = tiny.note_losses(monkeypatch, CustomTrainer)
    train(settings("LLaMA-Factory"), truth.rows, stage="pt", per_device_train_batch_size=1, gradient_accumulation_steps=len(truth.rows))
    tokens = sum(map(len, truth.rows))
    assert sum(losses) == pytest.approx(truth.whole * (tokens - len(truth.rows)) / tokens, rel=1e-6)
