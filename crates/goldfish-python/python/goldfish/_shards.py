"""Shards mapped into memory: documents as views into the files."""

from __future__ import annotations

import bisect
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ._goldfish import GoldfishError, shard_index


class Document(NamedTuple):
    """One document of a shard. The arrays are views of the mapped file: copy what must outlive the shards."""

    doc_id: str
    """Its id."""
    input_ids: Any
    """numpy int32 ``[tokens]``."""
    loss_mask: Any
    """numpy uint8 ``[tokens]``: 1 for a token in the loss, 0 for a dropped one. Not shifted."""

    @property
    def labels(self) -> Any:
        """numpy int64 ``[tokens]``: the ids, -100 where they are dropped. Not shifted."""
        import numpy

        return numpy.where(self.loss_mask != 0, self.input_ids, -100).astype(numpy.int64)


def open(folder: str | os.PathLike[str]) -> Shards:
    """Opens an output folder of ``goldfish mask``.

    Raises
    ------
    GoldfishError
        If there is no manifest, or a shard is not what the manifest says.
    """
    return Shards(folder)


class Shards:
    """The documents of a folder of shards, a sequence of :class:`Document`.

    Files are mapped into memory on first access; only numpy is needed. It can be pickled; other processes map the files
    again.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        path = self.folder / "manifest.json"
        try:
            self.manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            shards = self.manifest["shards"]
            self._names = [shard["name"] for shard in shards]
            counts = [(int(shard["documents"]), int(shard["tokens"])) for shard in shards]
            self._format = self.manifest["output"]["format"]
        except OSError as error:
            raise _unreadable(path, f"{path}: {error.strerror}; is this the output folder of a finished goldfish mask?")
        except (ValueError, KeyError, TypeError) as error:
            raise _unreadable(path, f"{path} is not a manifest ({error!r}); mask the corpus again")
        if self._format == "parquet":
            raise _unreadable(
                path,
                f"{self.folder} holds Parquet, which can't be mapped into memory; read it with pyarrow.parquet, or mask "
                "with --output-format arrow-stream",
            )
        self._starts = [0]
        for documents, _ in counts:
            self._starts.append(self._starts[-1] + documents)
        self.tokens = sum(tokens for _, tokens in counts)
        """Tokens of all documents."""
        self._open: dict[int, _Shard] = {}

    def __len__(self) -> int:
        return self._starts[-1]

    def __getitem__(self, index: int) -> Document:
        if not isinstance(index, int):
            index = index.__index__()
        if index < 0:
            index += len(self)
        if not 0 <= index < len(self):
            raise IndexError(f"document {index} of {len(self)}")
        number = bisect.bisect_right(self._starts, index) - 1
        return self._shard(number).document(index - self._starts[number])

    def __iter__(self) -> Iterator[Document]:
        for number in range(len(self._names)):
            shard = self._shard(number)
            for row in range(len(shard)):
                yield shard.document(row)

    def table(self) -> Any:
        """All columns as a pyarrow Table, mapped into memory."""
        import pyarrow
        import pyarrow.ipc

        opener = pyarrow.ipc.open_stream if self._format == "arrow-stream" else pyarrow.ipc.open_file
        tables = [opener(pyarrow.memory_map(str(self.folder / name))).read_all() for name in self._names]
        return pyarrow.concat_tables(tables)

    def _shard(self, number: int) -> _Shard:
        if number not in self._open:
            path = self.folder / self._names[number]
            shard = _Shard(path, self._format)
            expected = self._starts[number + 1] - self._starts[number]
            if len(shard) != expected:
                raise _unreadable(
                    path, f"{path} has {len(shard)} documents, the manifest says {expected}; run goldfish verify"
                )
            self._open[number] = shard
        return self._open[number]

    def __reduce__(self) -> tuple[Any, ...]:
        return Shards, (str(self.folder),)

    def __repr__(self) -> str:
        return f"<goldfish.Shards {self.folder}: {len(self)} documents, {self.tokens} tokens>"


class _Batch(NamedTuple):
    doc_id_ends: Any
    doc_id_start: int
    ids_ends: Any
    ids: Any
    mask_ends: Any
    mask: Any


class _Shard:
    """A mapped file, and views of the buffers of its record batches."""

    def __init__(self, path: Path, file_format: str) -> None:
        import numpy

        batches = shard_index(str(path), file_format == "arrow-file")
        self._bytes = numpy.memmap(path, numpy.uint8, "r") if path.stat().st_size else numpy.zeros(0, numpy.uint8)
        self._starts = [0]
        self._batches: list[_Batch] = []

        def view(kind: Any, start: int, count: int) -> Any:
            return numpy.frombuffer(self._bytes, kind, count, start) if count else numpy.zeros(0, kind)

        for rows, tokens, (doc_id_ends, doc_id_start, ids_ends, ids, mask_ends, mask) in batches:
            if not rows:
                continue
            batch = _Batch(
                view("<i4", doc_id_ends, rows + 1),
                doc_id_start,
                view("<i4", ids_ends, rows + 1),
                view("<i4", ids, tokens),
                view("<i4", mask_ends, rows + 1),
                view(numpy.uint8, mask, tokens),
            )
            self._batches.append(batch)
            self._starts.append(self._starts[-1] + rows)

    def __len__(self) -> int:
        return self._starts[-1]

    def document(self, row: int) -> Document:
        number = bisect.bisect_right(self._starts, row) - 1
        batch, row = self._batches[number], row - self._starts[number]
        start, end = (batch.doc_id_start + int(at) for at in batch.doc_id_ends[row : row + 2])
        ids = batch.ids[batch.ids_ends[row] : batch.ids_ends[row + 1]]
        mask = batch.mask[batch.mask_ends[row] : batch.mask_ends[row + 1]]
        return Document(self._bytes[start:end].tobytes().decode("utf-8"), ids, mask)


def _unreadable(path: Path, message: str) -> GoldfishError:
    error = GoldfishError(message)
    error.kind, error.file = "shards", str(path)
    return error
