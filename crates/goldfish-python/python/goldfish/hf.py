"""Masks for Hugging Face ``datasets``."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import datasets

    from ._masker import Masker


def mask_dataset(
    dataset: datasets.Dataset | datasets.IterableDataset,
    masker: Masker,
    *,
    batch_size: int = 1000,
    num_proc: int | None = None,
    **options: Any,
) -> Any:
    """The dataset with the column ``loss_mask`` (list<uint8>), computed on Arrow tables without a copy.

    It works on datasets in memory, on disk and streamed. ``options`` are those of :meth:`goldfish.Masker.mask`:
    ``ids_column``, ``text_column``, ``id_column``, ``labels``. ``num_proc`` is for datasets that aren't streamed.
    """
    call = functools.partial(_mask, masker=masker, options=options)
    if getattr(dataset, "num_rows", None) == 0:
        # `map` calls nothing where there are no rows, and the columns would be missing.
        return type(dataset)(call(dataset.with_format("arrow")[:]), split=dataset.split)
    workers = {} if num_proc is None else {"num_proc": num_proc}
    mapped = dataset.with_format("arrow").map(call, batched=True, batch_size=batch_size, **workers)
    return mapped.with_format(None)


def _mask(table: Any, masker: Masker, options: dict[str, Any]) -> Any:
    return masker.mask(table, **options)
