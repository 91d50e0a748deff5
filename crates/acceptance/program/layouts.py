"""Independent readers of the layouts of `goldfish export` and `goldfish mask --masks-only`."""

import csv
import gzip
import struct

import numpy as np
import pyarrow.parquet

MEGATRON_TYPES = {1: np.uint8, 4: np.int32, 8: np.uint16}


def megatron(prefix):
    """The sequences of an indexed dataset, and its document boundaries."""
    index = prefix.with_suffix(".idx").read_bytes()
    assert index[:9] == b"MMIDIDX\0\0"
    version, code, sequences, marks = struct.unpack_from("<QBQQ", index, 9)
    assert version == 1
    at = 34
    lengths = np.frombuffer(index, "<i4", sequences, at)
    places = np.frombuffer(index, "<i8", sequences, at + 4 * sequences)
    documents = np.frombuffer(index, "<i8", marks, at + 12 * sequences)
    assert len(index) == at + 12 * sequences + 8 * marks
    element = np.dtype(MEGATRON_TYPES[code])
    data = prefix.with_suffix(".bin").read_bytes()
    assert len(data) == element.itemsize * lengths.sum()
    return [np.frombuffer(data, element, n, p).tolist() for n, p in zip(lengths, places)], documents.tolist(), element


def cut(values, ends):
    return [values[start:end].tolist() for start, end in zip([0, *ends], ends)]


def datatrove(path, dtype):
    """Documents and masks of a `.ds`."""
    ends = np.fromfile(f"{path}.index", "<u8").tolist()
    return cut(np.fromfile(path, dtype), ends), cut(np.fromfile(f"{path}.loss", np.uint8), ends)


def olmo(tokens, mask, dtype):
    """Documents, masks and the rows of the sidecar."""
    lines = list(csv.reader(gzip.open(tokens.with_suffix("").with_suffix(".csv.gz"), "rt")))
    ends = [int(line[1]) for line in lines]
    assert [int(line[0]) for line in lines] == [0, *ends[:-1]]
    return cut(np.fromfile(tokens, dtype), ends), cut(np.fromfile(mask, np.uint8), ends), lines


def parquet(folder):
    """The table of a folder's Parquet files, in the order of their names."""
    return pyarrow.concat_tables([pyarrow.parquet.read_table(path) for path in sorted(folder.glob("*.parquet"))])


def shifted(mask):
    """A mask aligned with predictions; nothing is predicted at the last position."""
    return [*mask[1:], 0] if mask else []
