"""Masks in Ray Data."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ray.data

    from ._masker import Masker


def mask_dataset(dataset: ray.data.Dataset, masker: Masker, *, batch_size: int = 1024, **options: Any) -> ray.data.Dataset:
    """The dataset with the column ``loss_mask`` (list<uint8>): ``map_batches`` on pyarrow tables.

    ``options`` are ``ids_column``, ``text_column``, ``id_column`` and ``labels`` of :meth:`goldfish.Masker.mask`, and
    whatever ``map_batches`` takes besides, such as ``num_cpus`` or ``concurrency``. Lists keep the width of their
    offsets, so that a batch which fits into Arrow before masking also fits after it.
    """
    own = {name: options.pop(name) for name in ("ids_column", "text_column", "id_column", "labels") if name in options}
    call = functools.partial(_mask, masker=masker, options=own)
    return dataset.map_batches(call, batch_size=batch_size, batch_format="pyarrow", zero_copy_batch=True, **options)


def _mask(table: Any, masker: Masker, options: dict[str, Any]) -> Any:
    return masker.mask(table, **options)
