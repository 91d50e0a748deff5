"""The spans of a text in a corpus by looking at every place, and those of a trace."""

import re

import pyarrow.parquet as pq

WORD = re.compile(r"[a-z0-9]+")
LEAST = 8


def words_of(text):
    """The words of plain ASCII text, with where they are."""
    return [(match.group(), match.span()) for match in WORD.finditer(text.lower())]


def expected_spans(text, corpus):
    """The spans of a text and how many places have each, by looking at every place."""
    needle = words_of(text)
    places = {}
    for row in corpus:
        document = [word for word, _ in words_of(row["text"])]
        for at in range(len(document) - LEAST + 1):
            places.setdefault(tuple(document[at : at + LEAST]), []).append((document, at))

    def count(start, end):
        run = [word for word, _ in needle[start:end]]
        return sum(document[at : at + len(run)] == run for document, at in places.get(tuple(run[:LEAST]), []))

    spans, last = {}, 0
    for start in range(len(needle) - LEAST + 1):
        ends = [end for end in range(max(start + LEAST, last + 1), len(needle) + 1) if count(start, end)]
        if ends:
            last = ends[-1]
            spans[needle[start][1][0], needle[last - 1][1][1]] = count(start, last)
    return spans


def found_spans(folder):
    """The verbatim spans of a trace by text."""
    spans = {}
    for row in pq.read_table(folder / "spans.parquet").to_pylist():
        if row["edits"] == 0:
            spans.setdefault(row["text_id"], {})[row["text_start"], row["text_end"]] = row["places"]
    return spans
