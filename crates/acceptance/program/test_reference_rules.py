"""Rules that reproduce other implementations bit by bit, compared with numpy."""

import functools
import hashlib

import numpy as np
import pytest

from product import assert_same_rows, write_ids
from program.reference import (
    TABLE_SIZE,
    coefficient_sum_mask,
    hash_avalanche_mask,
    hash_table_mask,
    over_sequences,
    uniform_table,
)

KS = [2, 3, 4, 5, 8, 32, 50, 128]
CONTEXTS = [1, 2, 4, 13, 25, 50]
IDS = ["--ids-column", "input_ids"]
TABLE_SHA256 = "33025be4fa64d02d0a2e630dfa7fc166bf76a5364206fe4cd8973ce46e836562"


def coefficients_of(context):
    return np.random.RandomState(context).randint(-(2**63), 2**63 - 1, size=context, dtype=np.int64)


@pytest.fixture(params=["hash-table", "hash-avalanche", "coefficient-sum"])
def rule(request, tmp_path):
    """(name, context, k) -> arguments and the function from ids to mask."""

    def make(context, k):
        arguments = ["--rule", request.param, "--context", context, "--k", k]
        if request.param == "coefficient-sum":
            coefficients = coefficients_of(context)
            path = tmp_path / f"coefficients-{context}.npy"
            np.save(path, coefficients)
            function = functools.partial(coefficient_sum_mask, k=k, context=context, coefficients=coefficients)
            return [*arguments, "--coefficients", path], function
        function = {"hash-table": hash_table_mask, "hash-avalanche": hash_avalanche_mask}[request.param]
        return arguments, functools.partial(function, k=k, context=context)

    return make


def test_the_table_is_that_of_torch():
    table = uniform_table()
    assert hashlib.sha256(table.astype("<f4").tobytes()).hexdigest() == TABLE_SHA256
    np.testing.assert_allclose(table[:4], [0.23368388, 0.44126403, 0.7411477, 0.9092719], rtol=1e-7)


@pytest.mark.parametrize("k", KS)
@pytest.mark.parametrize("context", CONTEXTS)
def test_documents(goldfish, rule, edge_input, edge_rows, tmp_path, context, k):
    arguments, function = rule(context, k)
    output = goldfish.mask(edge_input, tmp_path / "out", *IDS, *arguments)
    assert_same_rows(output.ids, edge_rows)
    assert_same_rows(output.masks, [function(row) for row in edge_rows])


@pytest.mark.parametrize("k", KS)
@pytest.mark.parametrize("context", CONTEXTS)
def test_packed_sequences(goldfish, rule, edge_input, edge_rows, tmp_path, context, k):
    arguments, function = rule(context, k)
    scope = ["--scope", "sequence", "--sequence-length", 512]
    output = goldfish.mask(edge_input, tmp_path / "out", *IDS, *arguments, *scope)
    assert_same_rows(output.ids, edge_rows)
    assert_same_rows(output.masks, over_sequences(edge_rows, 512, function))


@pytest.mark.parametrize("length", [1, 3, 64, 1000, 1_000_000])
def test_sequence_lengths_and_several_files(goldfish, rule, edge_rows, tmp_path, length):
    arguments, function = rule(4, 4)
    parts = [edge_rows[:7], edge_rows[7:16], edge_rows[16:]]
    files = [write_ids(tmp_path / f"part-{i}.jsonl", part) for i, part in enumerate(parts)]
    scope = ["--scope", "sequence", "--sequence-length", length]
    output = goldfish.mask(files, tmp_path / "out", *IDS, *arguments, *scope)
    assert_same_rows(output.masks, over_sequences(edge_rows, length, function))


def test_a_table_from_a_file(goldfish, edge_input, edge_rows, tmp_path):
    table = uniform_table()[::-1].copy()
    assert len(table) == TABLE_SIZE
    np.save(tmp_path / "table.npy", table)
    output = goldfish.mask(
        edge_input, tmp_path / "out", *IDS, "--rule", "hash-table", "--table", tmp_path / "table.npy"
    )
    expected = [hash_table_mask(row, 4, 13, table) for row in edge_rows]
    assert expected != [hash_table_mask(row, 4, 13) for row in edge_rows]
    assert_same_rows(output.masks, expected)


@pytest.mark.parametrize(
    "array",
    [np.zeros(5, np.float32), np.zeros((TABLE_SIZE, 1), np.float32), np.zeros(TABLE_SIZE, np.int64)],
    ids=["too short", "two axes", "integers"],
)
def test_a_wrong_table_is_refused(goldfish, edge_input, tmp_path, array):
    np.save(tmp_path / "table.npy", array)
    arguments = [*IDS, "--rule", "hash-table", "--table", tmp_path / "table.npy"]
    process = goldfish.run("mask", edge_input, "--output", tmp_path / "out", *arguments, expect=2)
    assert "table" in process.stderr


@pytest.mark.parametrize("count", [12, 14])
def test_the_number_of_coefficients_must_be_the_context(goldfish, edge_input, tmp_path, count):
    np.save(tmp_path / "c.npy", coefficients_of(count))
    arguments = [*IDS, "--rule", "coefficient-sum", "--context", 13, "--coefficients", tmp_path / "c.npy"]
    process = goldfish.run("mask", edge_input, "--output", tmp_path / "out", *arguments, expect=2)
    assert "coefficients" in process.stderr
