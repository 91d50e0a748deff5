"""Masks computed from the formulas, independently of goldfish."""

import functools

import numpy as np
import xxhash

TABLE_SIZE = 1_000_003
TABLE_SEED = 2_971_215_073
LOW_32 = np.uint64(2**32 - 1)


def window_digests(ids, context, window, head, seed):
    """xxh3 of the window of each position; None if a token is kept because its context is short.

    With `head="short"`, positions with a short context, except the first, are decided by the tokens that there are.
    """
    data = np.asarray(ids, dtype="<u4").tobytes()
    end = 1 if window == "inclusive" else 0
    digests = []
    for i in range(len(ids)):
        start = i - context + end
        if start < 0 and (head == "keep" or i == 0):
            digests.append(None)
        else:
            digests.append(xxhash.xxh3_64_intdigest(data[4 * max(0, start) : 4 * (i + end)], seed=seed))
    return digests


def hash_mask(digests, k):
    return [1 if x is None else int((x * k) >> 64 != 0) for x in digests]


def static_mask(length, k, start):
    return [int(i < start or (i - start) % k != 0) for i in range(length)]


@functools.cache
def uniform_table():
    """torch.rand on a CPU with the seed of the reference implementation."""
    words = np.random.RandomState(TABLE_SEED)._bit_generator.random_raw(TABLE_SIZE).astype(np.uint32)
    return ((words & 0xFFFFFF).astype(np.float64) / 2**24).astype(np.float32)


def _window_products(ids, context):
    ids = np.asarray(ids, dtype=np.int64)
    full = len(ids) - context + 1
    product = np.ones(max(0, full), dtype=np.int64)
    with np.errstate(over="ignore"):
        for j in range(context if full > 0 else 0):
            product *= ids[j : j + full]
    return product


def _below_table(keys, k, table):
    return table[keys] < np.float32(1 / k)


def _keep_short_contexts(length, dropped):
    mask = np.ones(length, dtype=np.int64)
    mask[length - len(dropped) :] = ~dropped
    return mask.tolist()


def hash_table_mask(ids, k, context, table=None):
    table = uniform_table() if table is None else table
    keys = np.mod(_window_products(ids, context), TABLE_SIZE)
    return _keep_short_contexts(len(ids), _below_table(keys, k, table))


def hash_avalanche_mask(ids, k, context):
    key = _window_products(ids, context).view(np.uint64)
    shift = np.uint64
    with np.errstate(over="ignore"):
        key = (~key + (key << shift(21))) & LOW_32
        key = (key << shift(21)) - key - shift(1)
        key = key ^ (key >> shift(24))
        key = ((key + (key << shift(3))) + (key << shift(8))) & LOW_32
        key = key * shift(265)
        key = key ^ (key >> shift(14))
        key = ((key + (key << shift(2))) + (key << shift(4))) & LOW_32
        key = key * shift(21)
        key = key ^ (key >> shift(28))
        key = (key + (key << shift(31))) & LOW_32
    return _keep_short_contexts(len(ids), key.astype(np.float32) < np.float32((2**32 - 1) / k))


def coefficient_sum_mask(ids, k, context, coefficients, table=None):
    table = uniform_table() if table is None else table
    ids = np.asarray(ids, dtype=np.int64)
    full = max(0, len(ids) - context + 1)
    total = np.zeros(full, dtype=np.int64)
    with np.errstate(over="ignore"):
        for j in range(context if full else 0):
            total += coefficients[j] * ids[j : j + full]
    return _keep_short_contexts(len(ids), _below_table(np.mod(total, TABLE_SIZE), k, table))


def over_sequences(rows, length, rule):
    """Applies `rule` to the shifted targets of packed blocks of `length`, split back into documents."""
    stream = [token for row in rows for token in row]
    targets = stream[1:]
    mask = [1] * min(1, len(stream))
    for start in range(0, len(targets), length):
        mask += rule(targets[start : start + length])
    out, at = [], 0
    for row in rows:
        out.append(mask[at : at + len(row)])
        at += len(row)
    return out
