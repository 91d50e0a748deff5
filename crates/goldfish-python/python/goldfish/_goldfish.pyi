"""Types of the native module. Use it through the package."""

import os
from collections.abc import Sequence
from typing import Any

__version__: str

class GoldfishError(ValueError):
    """Why something can't be masked or read, and what to do."""

    kind: str
    """One of "rule", "tokenizer", "data", "shards"."""
    row: int | None
    """The document's place in the batch, from 0."""
    position: int | None
    """The token's place in the document, from 0."""
    column: str | None
    """The column of the table."""
    file: str | None
    """The file that can't be read."""

class ArrowArray:
    """An array or a record batch, for any consumer of ``__arrow_c_array__``."""

    def __arrow_c_array__(self, requested_schema: object | None = None) -> tuple[object, object]: ...
    def __arrow_c_schema__(self) -> object: ...
    def __len__(self) -> int: ...
    @staticmethod
    def joined(parts: list[ArrowArray]) -> ArrowArray: ...

class ArrowTable:
    """Record batches, for any consumer of ``__arrow_c_stream__``."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...
    def __arrow_c_schema__(self) -> object: ...
    def __len__(self) -> int: ...

class NativeMasker:
    def __new__(cls, options: dict[str, Any]) -> NativeMasker: ...
    @staticmethod
    def of_shards(
        folder: str, tokenizer: str | os.PathLike[str] | None = None, table: bytes | None = None
    ) -> NativeMasker: ...
    @staticmethod
    def restore(state: dict[str, Any]) -> NativeMasker: ...
    def state(self) -> dict[str, Any]: ...
    @property
    def rule(self) -> str: ...
    @property
    def exempt_ids(self) -> list[int]: ...
    def mask_flat(self, ids: Any, ends: Sequence[int], doc_ids: list[str] | None = None) -> bytearray: ...
    def mask_texts(
        self, texts: list[str], doc_ids: list[str] | None = None
    ) -> tuple[bytearray, bytearray, list[int]]: ...
    def mask_array(
        self,
        array: Any,
        *,
        ids_column: str,
        text_column: str | None,
        id_column: str | None,
        labels: bool,
        doc_ids: list[str] | None,
    ) -> ArrowArray: ...
    def mask_stream(
        self,
        stream: Any,
        *,
        ids_column: str,
        text_column: str | None,
        id_column: str | None,
        labels: bool,
        doc_ids: list[str] | None,
    ) -> ArrowTable | list[ArrowArray]: ...

def shard_index(path: str, file_format: bool) -> list[tuple[int, int, list[int]]]: ...

def trace_stream(
    texts: list[tuple[str, str]],
    control: list[tuple[str, str]],
    stream: Any,
    columns: dict[str, str | None],
    least: tuple[int | None, int | None],
    seed: int,
) -> tuple[ArrowTable, ArrowTable, str]: ...
