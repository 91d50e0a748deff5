"""Shards as PyTorch datasets, and a collator that pads or packs.

Labels are aligned with the tokens and not shifted, as Hugging Face models expect them: -100 where a token is dropped, at
the first token of a document, which nothing predicts, and in padding.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy
import torch
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from ._shards import Document, Shards

IGNORED = -100
"""The label that ``torch.nn.functional.cross_entropy`` ignores."""


def _shards(shards: Shards | str | os.PathLike[str]) -> Shards:
    return shards if isinstance(shards, Shards) else Shards(shards)


def tensors(document: Document) -> dict[str, torch.Tensor]:
    """``input_ids`` and ``labels`` of a document, both int64 ``[tokens]``, copied from the mapped file."""
    labels = document.labels
    labels[:1] = IGNORED
    return {"input_ids": torch.from_numpy(document.input_ids.astype(numpy.int64)), "labels": torch.from_numpy(labels)}


class ShardDataset(Dataset):
    """A folder of shards by index: item ``i`` is :func:`tensors` of document ``i``. The files are mapped into memory,
    once in each worker."""

    def __init__(self, shards: Shards | str | os.PathLike[str]) -> None:
        self.shards = _shards(shards)

    def __len__(self) -> int:
        return len(self.shards)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return tensors(self.shards[index])


class ShardStream(IterableDataset):
    """A folder of shards in order, divided over ranks and over the workers of a ``DataLoader``.

    The documents (shuffled, if there is a ``seed``) are distributed to the ranks in blocks of ``batch_size``, and a rank's
    blocks to its workers. With ``DataLoader(stream, batch_size=batch_size)`` each batch is one block, so that batches are
    the same for every number of workers.

    A run resumes where it stopped with ``position``, the documents of this epoch that all ranks together have seen:
    ``steps * batch_size * world`` (see :meth:`position_after`).

    Parameters
    ----------
    shards
        A folder, or the result of :func:`goldfish.open`.
    batch_size
        Documents in a block.
    rank, world
        This process among those that divide the documents. Default: those of ``torch.distributed`` if it is initialized,
        else the variables ``RANK`` and ``WORLD_SIZE``, else one process.
    seed
        Shuffle; another ``epoch`` is another order.
    position
        Documents to skip, a multiple of ``batch_size * world``.
    drop_last
        Drop the last documents that don't fill a block on every rank, so that all ranks make the same number of steps.
    """

    def __init__(
        self,
        shards: Shards | str | os.PathLike[str],
        *,
        batch_size: int = 1,
        rank: int | None = None,
        world: int | None = None,
        seed: int | None = None,
        epoch: int = 0,
        position: int = 0,
        drop_last: bool = True,
    ) -> None:
        self.shards = _shards(shards)
        self.batch_size = batch_size
        if (rank is None) != (world is None):
            raise ValueError("give rank and world together")
        self.rank, self.world = _process() if rank is None else (rank, world)
        if batch_size < 1 or not 0 <= self.rank < self.world:
            raise ValueError(f"batch_size {batch_size}, rank {self.rank} of {self.world}: batches have a document at least")
        if position % (batch_size * self.world) or position < 0:
            raise ValueError(
                f"position {position} is not a multiple of batch_size * world = {batch_size * self.world}: all ranks stop "
                "after the same number of steps"
            )
        self.seed, self.epoch, self.position, self.drop_last = seed, epoch, position, drop_last

    def position_after(self, steps: int) -> int:
        """The position after this many more batches on each rank."""
        return self.position + steps * self.batch_size * self.world

    def _blocks(self) -> range:
        """This rank's blocks after the position."""
        documents, size = len(self.shards), self.batch_size
        blocks = documents // size // self.world * self.world if self.drop_last else -(-documents // size)
        return range(self.position // size + self.rank, blocks, self.world)

    def __len__(self) -> int:
        blocks, documents = self._blocks(), len(self.shards)
        return sum(min(self.batch_size, documents - block * self.batch_size) for block in blocks)

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        documents = len(self.shards)
        order = range(documents)
        if self.seed is not None:
            order = numpy.random.default_rng([self.seed, self.epoch]).permutation(documents)
        worker = get_worker_info()
        first, workers = (0, 1) if worker is None else (worker.id, worker.num_workers)
        for block in self._blocks()[first::workers]:
            for index in range(block * self.batch_size, min((block + 1) * self.batch_size, documents)):
                yield tensors(self.shards[int(order[index])])


def _process() -> tuple[int, int]:
    distributed = torch.distributed
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))


class Collator:
    """Makes a batch of documents: padded, or packed into one row.

    A document is a mapping with ``input_ids`` and either ``labels`` or ``loss_mask`` (an item of :class:`ShardDataset`, a
    row of Hugging Face ``datasets``), or a :class:`goldfish.Document`.

    - Padded: ``input_ids``, ``labels``, ``attention_mask`` and ``position_ids``, int64 ``[documents, longest]``.
    - Packed: ``input_ids``, ``labels`` and ``position_ids``, int64 ``[1, tokens]``. Positions restart in each document;
      from them, and from the lack of an ``attention_mask``, models of ``transformers`` detect where documents end, and let
      no token attend across, unless they keep a cache: outside of a ``Trainer`` load them with ``use_cache=False``.

    The first token of a document has the label -100 in both: the loss is the same, packed or not.

    Parameters
    ----------
    pack
        One row without padding.
    pad_id
        The id of padding.
    max_length
        Cut longer documents.
    multiple_of
        Pad the length to a multiple of this; when packing, with a document of padding.
    """

    def __init__(
        self, *, pack: bool = False, pad_id: int = 0, max_length: int | None = None, multiple_of: int = 1
    ) -> None:
        self.pack, self.pad_id, self.max_length, self.multiple_of = pack, pad_id, max_length, multiple_of

    def __call__(self, documents: Sequence[Mapping[str, Any] | Document]) -> dict[str, torch.Tensor]:
        rows = [self._row(document) for document in documents]
        if self.pack:
            return self._pack(rows)
        length = self._round(max((len(ids) for ids, _ in rows), default=0))
        shape = (len(rows), length)
        batch = {
            "input_ids": torch.full(shape, self.pad_id),
            "labels": torch.full(shape, IGNORED),
            "attention_mask": torch.zeros(shape, dtype=torch.int64),
            "position_ids": torch.zeros(shape, dtype=torch.int64),
        }
        for row, (ids, labels) in enumerate(rows):
            batch["input_ids"][row, : len(ids)] = ids
            batch["labels"][row, : len(ids)] = labels
            batch["attention_mask"][row, : len(ids)] = 1
            batch["position_ids"][row, : len(ids)] = torch.arange(len(ids))
        return batch

    def _pack(self, rows: list[tuple[torch.Tensor, torch.Tensor]]) -> dict[str, torch.Tensor]:
        tokens = sum(len(ids) for ids, _ in rows)
        padding = self._round(tokens) - tokens
        if padding:
            rows = [*rows, (torch.full((padding,), self.pad_id), torch.full((padding,), IGNORED))]
        join = lambda parts: torch.cat([*parts, torch.zeros(0, dtype=torch.int64)])[None]  # noqa: E731
        return {
            "input_ids": join(ids for ids, _ in rows),
            "labels": join(labels for _, labels in rows),
            "position_ids": join(torch.arange(len(ids)) for ids, _ in rows),
        }

    def _row(self, document: Mapping[str, Any] | Document) -> tuple[torch.Tensor, torch.Tensor]:
        if isinstance(document, Document):
            document = document._asdict()
        ids = _copied(document["input_ids"], self.max_length)
        if document.get("loss_mask") is not None:
            mask = _copied(document["loss_mask"], self.max_length)
            _check_lengths(ids, mask)
            labels = torch.where(mask != 0, ids, IGNORED)
        elif document.get("labels") is not None:
            labels = _copied(document["labels"], self.max_length)
            _check_lengths(ids, labels)
        else:
            raise ValueError("a document has neither loss_mask nor labels; without one nothing would be dropped")
        labels[:1] = IGNORED
        return ids, labels

    def _round(self, length: int) -> int:
        return -(-length // self.multiple_of) * self.multiple_of


def _copied(values: Any, length: int | None) -> torch.Tensor:
    """The first values as int64, in memory of their own."""
    if isinstance(values, torch.Tensor):
        return values[:length].to(torch.int64, copy=True)
    return torch.from_numpy(numpy.array(values, dtype=numpy.int64)[:length])


def _check_lengths(ids: torch.Tensor, others: torch.Tensor) -> None:
    if len(others) != len(ids):
        raise ValueError(f"a document has {len(ids)} ids, but {len(others)} labels or mask bytes")
