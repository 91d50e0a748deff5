"""Traces: which parts of texts appear in a table of documents, where, and how often."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ._goldfish import GoldfishError, trace_stream
from ._masker import _like, _strings


@dataclass(frozen=True, slots=True)
class Trace:
    """What :func:`trace` found. The columns are those of the tables that ``goldfish trace`` writes."""

    texts: Any
    """One row a text: how much of it appears in the documents, the longest span, numbers of spans and places."""
    spans: Any
    """Places of the documents that have a span of a text. A span with many places has rows for eight of them."""
    summary: dict[str, Any]
    """Shares of texts and characters with their 95% intervals, the control, and the excess over it."""


def trace(
    texts: Mapping[str, str] | Sequence[str],
    documents: Any,
    *,
    control: Mapping[str, str] | Sequence[str] = (),
    text_column: str = "text",
    id_column: str | None = None,
    source_column: str | None = None,
    min_words: int = 12,
    min_characters: int | None = None,
    seed: int = 0,
) -> Trace:
    """Finds the parts of texts that appear in documents word for word, and passages of documents with edits.

    Case, layout and punctuation make no difference. What is found is what ``goldfish trace`` finds in files with the same
    documents. The GIL is released during the search.

    Parameters
    ----------
    texts
        Texts by their ids; or a sequence of texts, which are called ``"0"``, ``"1"`` and so on.
    documents
        A table of any Arrow library, or anything else with ``__arrow_c_stream__``. All of it is in memory.
    control
        Texts to compare with, such as ones that people wrote; those of a sequence are called ``"control 0"`` and so on.
    text_column, id_column, source_column
        Columns of the documents with their text, their id (default: the row, from 0) and where they come from.
    min_words
        Words of the shortest span, 4 at least.
    min_characters
        Characters of the shortest span, in place of words. Such a span has at least 6 words.
    seed
        Chooses which places are kept where a span has many, and resamples texts for the intervals.

    Raises
    ------
    GoldfishError
        If texts or documents can't be read, or no text is long enough.
    """
    if not hasattr(documents, "__arrow_c_stream__"):
        raise GoldfishError(f"can't search {type(documents).__name__}; give a table of an Arrow library")
    columns = {"text": text_column, "id": id_column, "source": source_column}
    least = (None, min_characters) if min_characters is not None else (min_words, None)
    found, spans, summary = trace_stream(
        _named(texts, "", "texts"), _named(control, "control ", "control"), documents, columns, least, seed
    )
    return Trace(_like(documents, found), _like(documents, spans), json.loads(summary))


def _named(texts: Mapping[str, str] | Sequence[str], prefix: str, what: str) -> list[tuple[str, str]]:
    if isinstance(texts, str):
        raise GoldfishError(f"{what} are a mapping or a sequence of texts, not one text")
    if isinstance(texts, Mapping):
        names = _strings(list(texts.keys()), f"ids of {what}")
        return list(zip(names, _strings(list(texts.values()), what), strict=True))
    return [(f"{prefix}{number}", text) for number, text in enumerate(_strings(list(texts), what))]
