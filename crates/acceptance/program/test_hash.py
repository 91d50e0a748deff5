"""Rules that take a few lines to recompute: hash, static, random."""

import pytest

from product import assert_same_rows, write_ids
from program.reference import hash_mask, static_mask, window_digests

KS = [2, 3, 4, 5, 8, 32, 50, 128]
IDS = ["--ids-column", "input_ids"]


@pytest.mark.parametrize("seed", [0, 1, 2**32 + 5, 2**64 - 1])
@pytest.mark.parametrize("head", ["keep", "short"])
@pytest.mark.parametrize("window", ["preceding", "inclusive"])
@pytest.mark.parametrize("context", [1, 2, 4, 13, 25, 50])
def test_hash_is_xxh3_of_the_window(goldfish, edge_input, edge_rows, tmp_path, context, window, head, seed):
    digests = [window_digests(row, context, window, head, seed) for row in edge_rows]
    options = [*IDS, "--rule", "hash", "--context", context, "--window", window, "--head", head, "--seed", seed]
    for k in KS:
        output = goldfish.mask(edge_input, tmp_path / str(k), *options, "--k", k)
        assert_same_rows(output.ids, edge_rows)
        assert_same_rows(output.masks, [hash_mask(row, k) for row in digests], f"k={k}, row")


def test_defaults_are_those_of_the_paper(goldfish, edge_input, edge_rows, tmp_path):
    output = goldfish.mask(edge_input, tmp_path / "out", *IDS, "--rule", "hash")
    expected = [hash_mask(window_digests(row, 13, "preceding", "keep", 0), 4) for row in edge_rows]
    assert_same_rows(output.masks, expected)
    rule = output.manifest["rule"]
    assert (rule["name"], rule["k"], rule["context"]) == ("hash", 4, 13)


@pytest.mark.parametrize("rule", ["hash", "anchor"])
def test_one_token_in_k_is_dropped(goldfish, fixtures, tmp_path, rule):
    for k in (2, 4, 8):
        arguments = [*IDS, "--rule", rule, "--k", k, "--context", 4]
        totals = goldfish.mask(fixtures / "formats/ids.jsonl", tmp_path / str(k), *arguments).manifest["totals"]
        assert totals["dropped"] / totals["tokens"] == pytest.approx(1 / k, rel=0.15)


@pytest.mark.parametrize("start", [0, 1, 3, 60])
@pytest.mark.parametrize("k", KS)
def test_static(goldfish, edge_input, edge_rows, tmp_path, k, start):
    output = goldfish.mask(edge_input, tmp_path / "out", *IDS, "--rule", "static", "--k", k, "--start", start)
    assert_same_rows(output.masks, [static_mask(len(row), k, start) for row in edge_rows])


class TestRandom:
    def masks(self, goldfish, source, output, seed, k=4):
        return goldfish.mask(source, output, *IDS, "--rule", "random", "--seed", seed, "--k", k).masks

    def test_reruns_are_equal_and_seeds_differ(self, goldfish, edge_input, tmp_path):
        first = self.masks(goldfish, edge_input, tmp_path / "a", 1)
        assert self.masks(goldfish, edge_input, tmp_path / "b", 1) == first
        assert self.masks(goldfish, edge_input, tmp_path / "c", 2) != first

    def test_copies_of_a_document_differ(self, goldfish, rows, tmp_path):
        source = write_ids(tmp_path / "copies.jsonl", [rows[0]] * 4)
        masks = self.masks(goldfish, source, tmp_path / "out", 0)
        assert len({tuple(mask) for mask in masks}) == 4

    @pytest.mark.parametrize("k", [2, 5, 50])
    def test_rate(self, goldfish, fixtures, tmp_path, k):
        masks = self.masks(goldfish, fixtures / "formats/ids.jsonl", tmp_path / "out", 3, k)
        flat = [bit for mask in masks for bit in mask]
        assert flat.count(0) / len(flat) == pytest.approx(1 / k, rel=0.15)
