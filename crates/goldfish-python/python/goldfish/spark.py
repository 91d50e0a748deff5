"""Masks in Spark."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyspark.sql

    from ._masker import Masker


def mask_frame(frame: pyspark.sql.DataFrame, masker: Masker, **options: Any) -> pyspark.sql.DataFrame:
    """The frame with the column ``loss_mask`` (``array<tinyint>``, since Spark has no unsigned bytes): ``mapInArrow``.

    ``options`` are ``ids_column``, ``text_column``, ``id_column`` and ``labels`` of :meth:`goldfish.Masker.mask`. Lists
    keep the width of their offsets, so that a batch which fits into Arrow before masking also fits after it; Spark's
    ``spark.sql.execution.arrow.maxRecordsPerBatch`` says how many documents are in one.
    """
    from pyspark.sql import types

    added = []
    if options.get("text_column") is not None:
        added.append((options.get("ids_column", "input_ids"), types.IntegerType()))
    added.append(("loss_mask", types.ByteType()))
    if options.get("labels"):
        added.append(("labels", types.IntegerType()))
    fields = [types.StructField(name, types.ArrayType(kind)) for name, kind in added]
    schema = types.StructType([*frame.schema.fields, *fields])
    return frame.mapInArrow(functools.partial(_mask, masker=masker, options=options), schema)


def _mask(batches: Iterator[Any], masker: Masker, options: dict[str, Any]) -> Iterator[Any]:
    import pyarrow

    for batch in batches:
        masked = masker.mask(batch, **options)
        place = masked.schema.get_field_index("loss_mask")
        mask = masked.column(place)
        signed = type(mask).from_arrays(mask.offsets, mask.values.view(pyarrow.int8()))
        yield masked.set_column(place, "loss_mask", signed)
