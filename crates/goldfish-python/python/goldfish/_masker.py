"""The masker: dispatch over what is given, around the native kernels."""

from __future__ import annotations

import functools
import json
import operator
import os
import sys
from collections.abc import Sequence
from typing import Any, Literal

from ._goldfish import ArrowArray, GoldfishError, NativeMasker

Rule = Literal[
    "text", "anchor", "text-v1", "hash", "random", "static", "none", "hash-table", "hash-avalanche", "coefficient-sum"
]


class Masker:
    """Decides which tokens are excluded from the loss, document by document.

    The options and the masks are those of ``goldfish mask``, to the bit.

    Parameters
    ----------
    rule
        How dropped tokens are chosen. ``"text"`` and ``"text-v1"`` need ``tokenizer``, ``"random"`` the documents' ids.
    k
        Drop one token in k.
    context
        Length of the context that decides: in tokens, with the rule text in words, with text-v1 in letters and digits.
        Default: 8 for text, 12 for anchor, 50 for text-v1, else 13.
    tokenizer
        Path of a Hugging Face ``tokenizer.json``. It tokenizes text, gives the text of ids and the special tokens that
        are never dropped, and ids are checked against its vocabulary.
    seed
        Seed of the rules that hash.
    unit
        With the rules over text: ``"word"`` (default) decides whole words, ``"token"`` each token.
    longest_run
        With the rules text and anchor: the most words or tokens in a row that are kept, at least ``2 * k - 2``, or
        ``"none"`` for no bound. Default: ``4 * k - 2``.
    window
        With the rule hash: ``"preceding"`` (default) or ``"inclusive"``.
    head
        Where the context is not full: ``"keep"`` the tokens, or decide by the ``"short"`` context.
    start
        First position that the rule static drops.
    table
        Hash table of the rules hash-table and coefficient-sum, 1,000,003 float32: an array, or the path of a ``.npy``.
    coefficients
        Coefficients of the rule coefficient-sum, one integer for each token of the context.
    bos_id, eos_id
        Beginning-of-sequence and end-of-sequence ids. Default: the tokenizer's.
    prepend_bos, append_eos
        Put these tokens around each document of text. Token ids are masked as they are.
    exempt_special
        Never drop special tokens: those of the tokenizer, ``bos_id`` and ``eos_id``. Default: yes, except with the rules
        that reproduce another implementation.

    Raises
    ------
    GoldfishError
        If an option is out of its range, or the tokenizer can't be used.
    """

    __slots__ = ("_native",)

    def __init__(
        self,
        *,
        rule: Rule,
        k: int = 4,
        context: int | None = None,
        tokenizer: str | os.PathLike[str] | None = None,
        seed: int = 0,
        unit: Literal["word", "token"] | None = None,
        longest_run: int | Literal["none"] | None = None,
        window: Literal["preceding", "inclusive"] | None = None,
        head: Literal["keep", "short"] = "keep",
        start: int = 0,
        table: Any = None,
        coefficients: Sequence[int] | None = None,
        bos_id: int | None = None,
        eos_id: int | None = None,
        prepend_bos: bool = False,
        append_eos: bool = False,
        exempt_special: bool | None = None,
    ) -> None:
        numbers = {"context": context, "longest_run": None if longest_run == "none" else longest_run, "start": start, "k": k, "seed": seed, "bos_id": bos_id, "eos_id": eos_id}
        for name, value in numbers.items():
            _check_number(name, value, 64 if name in ("start", "seed") else 32)
        options = {
            "rule": rule,
            "k": k,
            "context": context,
            "tokenizer": tokenizer,
            "seed": seed,
            "unit": unit,
            "longest_run": longest_run,
            "window": window,
            "head": head,
            "start": start,
            "table": _table_bytes(table),
            "coefficients": None if coefficients is None else _factors(coefficients),
            "bos_id": bos_id,
            "eos_id": eos_id,
            "prepend_bos": prepend_bos,
            "append_eos": append_eos,
            "exempt_special": exempt_special,
        }
        self._native = NativeMasker(options)

    @classmethod
    def of_shards(
        cls, folder: str | os.PathLike[str], *, tokenizer: str | os.PathLike[str] | None = None, table: Any = None
    ) -> Masker:
        """The masker that made the masks of a folder of shards.

        ``tokenizer`` is required if the rule is text, and must be the one that the folder's manifest names; ``table``
        if the rule used one from a file.
        """
        return cls._of(NativeMasker.of_shards(os.fspath(folder), tokenizer, _table_bytes(table)))

    @classmethod
    def _of(cls, native: NativeMasker) -> Masker:
        masker = cls.__new__(cls)
        masker._native = native
        return masker

    def mask(
        self,
        data: Any,
        *,
        ids_column: str = "input_ids",
        text_column: str | None = None,
        id_column: str | None = None,
        labels: bool = False,
        offsets: Sequence[int] | None = None,
        doc_ids: Sequence[str] | None = None,
    ) -> Any:
        """Masks of documents: 1 for a token in the loss, 0 for a dropped one, aligned with the tokens and never
        shifted.

        ===================================================  ==================================================
        ``data``                                             result
        ===================================================  ==================================================
        Arrow table, record batch, data frame                the same with the column ``loss_mask`` (list<uint8>)
        Arrow array of lists (chunked array, series)         the same shape, list<uint8>
        numpy array ``[tokens]``, one document               uint8 ``[tokens]``
        numpy array ``[documents, tokens]``                  uint8 ``[documents, tokens]``
        numpy array ``[tokens]`` with ``offsets``            uint8 ``[tokens]``; document ``i`` is
                                                             ``data[offsets[i]:offsets[i + 1]]``
        list of ids, list of lists of ids                    a list, a list of lists
        str, list of str                                     dict of ``input_ids`` and ``loss_mask``, lists
        ===================================================  ==================================================

        Arrow data is anything with ``__arrow_c_array__`` or ``__arrow_c_stream__``; it isn't copied. For data of pyarrow
        and polars the result is of the same library; else it is an :class:`ArrowArray` or :class:`ArrowTable`, which any
        Arrow library reads. The GIL is released during the call.

        Parameters
        ----------
        ids_column
            Column of a table with the documents' ids: lists of any integer type.
        text_column
            Column of a table with text to tokenize; ``ids_column`` (list<int32>) is added to the table too.
        id_column
            Column of a table with the documents' ids. Only the rule random uses them.
        labels
            Add the column ``labels`` (list<int32>): the ids, -100 where they are dropped.
        offsets
            Where documents start in a flat numpy array; one more than there are documents.
        doc_ids
            Ids of the documents, where ``data`` is not a table.

        Raises
        ------
        GoldfishError
            If something is not a document; ``row`` and ``position`` say where.
        """
        names = None if doc_ids is None else _strings([str(name) for name in doc_ids], "doc_ids")
        for method, call in (("__arrow_c_array__", self._native.mask_array), ("__arrow_c_stream__", self._native.mask_stream)):
            if hasattr(data, method):
                made = call(
                    data, ids_column=ids_column, text_column=text_column, id_column=id_column, labels=labels, doc_ids=names
                )
                return _like(data, made)
        if isinstance(data, str):
            return {name: column[0] for name, column in self._texts([data], names).items()}
        if hasattr(data, "__array_interface__") and hasattr(data, "dtype"):
            return self._array(data, offsets, names)
        if isinstance(data, (list, tuple)):
            if data and isinstance(data[0], str):
                return self._texts(list(data), names)
            return self._lists(data, names)
        raise GoldfishError(
            f"can't mask {type(data).__name__}; give Arrow data, a numpy array, lists of ids, or text"
        )

    def _array(self, data: Any, offsets: Sequence[int] | None, doc_ids: list[str] | None) -> Any:
        import numpy

        if data.dtype.kind not in "iu" or data.ndim not in (1, 2):
            raise GoldfishError(
                f"the array has dtype {data.dtype} and {data.ndim} dimensions; ids are integers in one or two"
            )
        if offsets is not None and data.ndim == 2:
            raise GoldfishError("offsets divide a flat array; the rows of one with two dimensions are documents")
        limit = numpy.iinfo(numpy.int32)
        if data.size and (data.dtype.itemsize > 4 or data.dtype == numpy.uint32):
            least, most = int(data.min()), int(data.max())
            if least < 0 or most > limit.max:
                raise GoldfishError(f"ids from {least} to {most}; ids are in 0..={limit.max}")
        ids = numpy.ascontiguousarray(data, dtype=numpy.int32).reshape(-1)
        if offsets is not None:
            ends = _offsets(offsets, len(ids))
        elif data.ndim == 2:
            ends = [row * data.shape[1] for row in range(data.shape[0] + 1)]
        else:
            ends = [0, len(ids)]
        mask = self._native.mask_flat(ids, ends, doc_ids)
        return numpy.frombuffer(mask, numpy.uint8).reshape(data.shape)

    def _lists(self, data: Sequence[Any], doc_ids: list[str] | None) -> list[Any]:
        from array import array

        single = bool(data) and not isinstance(data[0], (list, tuple))
        ids, ends = array("i"), [0]
        for row, document in enumerate([data] if single else data):
            try:
                ids.extend(document)
            except (TypeError, OverflowError) as error:
                raise GoldfishError(f"row {row}: {error}; a document is a list of ids in 0..=2147483647") from None
            ends.append(len(ids))
        mask = list(self._native.mask_flat(ids, ends, doc_ids))
        return mask if single else [mask[start:end] for start, end in zip(ends, ends[1:])]

    def _texts(self, texts: list[str], doc_ids: list[str] | None) -> dict[str, list[list[int]]]:
        from array import array

        raw, mask, ends = self._native.mask_texts(_strings(texts, "text"), doc_ids)
        ids = array("i", bytes(raw))
        spans = list(zip(ends, ends[1:]))
        return {
            "input_ids": [ids[start:end].tolist() for start, end in spans],
            "loss_mask": [list(mask[start:end]) for start, end in spans],
        }

    @property
    def rule(self) -> dict[str, Any]:
        """The rule with every parameter, as in a manifest."""
        return json.loads(self._native.rule)

    @property
    def exempt_ids(self) -> list[int]:
        """Ids that are never dropped, in ascending order."""
        return self._native.exempt_ids

    def __repr__(self) -> str:
        options = ", ".join(f"{name}={value!r}" for name, value in self.rule.items() if name != "coefficients")
        return f"<goldfish.Masker {options}>"

    def __reduce__(self) -> tuple[Any, ...]:
        state = self._native.state()
        return _restore, (tuple((name, tuple(v) if isinstance(v, list) else v) for name, v in state.items()),)


@functools.lru_cache(maxsize=4)
def _restore(state: tuple[tuple[str, Any], ...]) -> Masker:
    """A masker in another process, which builds it once."""
    return Masker._of(NativeMasker.restore(dict(state)))


def _check_number(name: str, value: Any, bits: int) -> None:
    if value is None and name not in ("k", "seed", "start"):
        return
    try:
        whole = operator.index(value)
    except TypeError:
        whole = -1
    if not 0 <= whole < 2**bits:
        raise _rule_error(f"{name} is {value!r}; give a whole number in 0..={2**bits - 1}")


def _offsets(offsets: Sequence[int], tokens: int) -> list[int]:
    try:
        ends = [operator.index(end) for end in offsets]
    except TypeError as error:
        raise GoldfishError(f"offsets: {error}; give whole numbers") from None
    if not all(0 <= end <= tokens for end in ends):
        raise GoldfishError(f"offsets must rise from 0 to the number of ids, {tokens}")
    return ends


def _factors(coefficients: Sequence[int]) -> list[int]:
    try:
        factors = [operator.index(factor) for factor in coefficients]
    except TypeError as error:
        raise _rule_error(f"coefficients: {error}; give whole numbers") from None
    if not all(-(2**63) <= factor < 2**63 for factor in factors):
        raise _rule_error("coefficients: one doesn't fit int64")
    return factors


def _rule_error(message: str) -> GoldfishError:
    error = GoldfishError(message)
    error.kind = "rule"
    return error


def _strings(values: list[Any], what: str) -> list[str]:
    """The values, if each is a string that UTF-8 can encode."""
    for row, value in enumerate(values):
        if isinstance(value, str) and (value.isascii() or _is_encodable(value)):
            continue
        found = "lone surrogates" if isinstance(value, str) else type(value).__name__
        error = GoldfishError(f"row {row}: {what} must be str that UTF-8 can encode, not {found}")
        error.row = row
        raise error
    return values


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _table_bytes(table: Any) -> bytes | None:
    if table is None:
        return None
    import numpy

    if isinstance(table, (str, os.PathLike)):
        table = numpy.load(table, allow_pickle=False)
    return numpy.ascontiguousarray(table, dtype="<f4").tobytes()


def _like(data: Any, made: Any) -> Any:
    """The result in the library of the data."""
    library = type(data).__module__.partition(".")[0]
    kind = type(data).__name__
    if library == "pyarrow":
        pyarrow = sys.modules["pyarrow"]
        if isinstance(made, list):
            return pyarrow.chunked_array([pyarrow.array(chunk) for chunk in made])
        if hasattr(made, "__arrow_c_stream__"):
            return pyarrow.table(made)
        return pyarrow.record_batch(made) if kind == "RecordBatch" else pyarrow.array(made)
    if library == "polars":
        polars = sys.modules["polars"]
        if isinstance(made, list):
            return polars.concat([polars.Series("loss_mask", chunk) for chunk in made])
        return polars.DataFrame(made)
    return ArrowArray.joined(made) if isinstance(made, list) else made
