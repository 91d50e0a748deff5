"""The longest runs of tokens that are all kept, in manifests, `verify` and `inspect`."""

import json

import pytest
from tokenizers import Tokenizer

from product import Output

IDS = ["--ids-column", "input_ids"]


def longest_stretch(output):
    """The first of the longest stretches, from the definition."""
    longest = {"tokens": 0, "document": 0, "doc_id": "", "position": 0}
    for document, (doc_id, mask) in enumerate(zip(output.column("doc_id"), output.masks)):
        start = 0
        for position, keep in enumerate([*mask, 0]):
            if keep == 0:
                if position - start > longest["tokens"]:
                    tokens = position - start
                    longest = {"tokens": tokens, "document": document, "doc_id": doc_id, "position": start}
                start = position + 1
    return longest


CASES = {
    "documents": ["--rule", "hash"],
    "many shards": ["--rule", "hash", "--shard-size", "32KiB"],
    "packed sequences": ["--rule", "hash-table", "--scope", "sequence", "--sequence-length", 100],
    "equally long ones": ["--rule", "static", "--k", 7],
}


@pytest.mark.parametrize("case", CASES)
def test_manifests_state_the_longest_stretch(goldfish, fixtures, tmp_path, case):
    process = goldfish.mask(fixtures / "formats/ids.jsonl", tmp_path / "out", *IDS, *CASES[case], "--json").process
    output = Output(tmp_path / "out")
    stated = output.manifest["longest_kept_run"]
    assert stated["tokens"] == longest_stretch(output)
    assert json.loads(process.stdout)["longest_kept_run"] == stated
    goldfish.run("verify", output.folder)


def test_parts_and_masks_alone_have_that_of_a_whole_run(goldfish, fixtures, tmp_path):
    arguments = ["--ids-dtype", "uint16", "--eos-id", 2456, "--rule", "hash"]
    source = fixtures / "formats/olmo-bare"
    whole = goldfish.mask(source, tmp_path / "whole", *arguments)
    assert whole.manifest["longest_kept_run"]["tokens"] == longest_stretch(whole)
    parts = []
    for rank in range(3):
        goldfish.mask(source, tmp_path / "parts", *arguments, "--rank", rank, "--world", 3)
        parts.append(tmp_path / f"parts/rank-{rank:05}-of-00003")
    merged = goldfish.run("merge", *parts, "--output", tmp_path / "merged", "--json")
    assert Output(tmp_path / "merged").manifest["longest_kept_run"] == whole.manifest["longest_kept_run"]
    assert json.loads(merged.stdout)["longest_kept_run"] == whole.manifest["longest_kept_run"]
    goldfish.run("mask", source, "--masks-only", "--output", tmp_path / "masks", *arguments)
    masks = json.loads((tmp_path / "masks/goldfish.json").read_text())
    assert masks["longest_kept_run"] == whole.manifest["longest_kept_run"]


def test_inspect_shows_the_stretch_with_its_text(goldfish, fixtures, corpus_files, tmp_path):
    gpt2 = fixtures / "tokenizers/gpt2.json"
    output = goldfish.mask(corpus_files, tmp_path / "out", "--tokenizer", gpt2)
    expected = longest_stretch(output)
    process = goldfish.run("inspect", output.folder, "--json", "--tokenizer", gpt2)
    found = json.loads(process.stdout)["inspection"]["longest_kept"]["tokens"]
    assert {name: found[name] for name in expected} == expected
    assert (found["length"], found["unit"]) == (expected["tokens"], "tokens")
    ids = output.ids[expected["document"]][expected["position"] :][: expected["tokens"]]
    text = Tokenizer.from_file(str(gpt2)).decode(ids[:160], skip_special_tokens=False)
    assert found["text"] == text + ("…" if len(ids) > 160 else "")
    table = goldfish.run("inspect", output.folder, "--tokenizer", gpt2).stdout
    place = f"from token {expected['position']} of {expected['doc_id']}"
    assert place in table and place in output.process.stdout
