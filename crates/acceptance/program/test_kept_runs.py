"""The longest runs of tokens that are all kept, in manifests, `verify` and `inspect`."""

import json

import pytest
from tokenizers import Tokenizer

from product import Output, write_ids, write_texts

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
    arguments = ["--ids-dtype", "uint16", "--eos-id", 2456, "--rule", "anchor", "--longest-run", "none"]
    source = fixtures / "formats/olmo-bare"
    whole = goldfish.mask(source, tmp_path / "whole", *arguments)
    assert whole.manifest["longest_kept_run"]["tokens"] == longest_stretch(whole)
    assert whole.manifest["longest_kept_run"]["decided"]["document"] > 0, "the test would prove less"
    parts = goldfish.mask_parts(source, tmp_path / "parts", 3, *arguments)
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


def longest_run(counted, masks):
    """The first of the longest runs of counted tokens that are all kept; others neither count nor end one."""
    longest = (0, 0, 0, 0)
    for document, (counts, mask) in enumerate(zip(counted, masks)):
        run = []
        for position, (count, keep) in enumerate(zip(counts, mask)):
            run = [] if keep == 0 else run + [position] * count
            if len(run) > longest[0]:
                longest = (len(run), document, run[0], run[-1] + 1 - run[0])
    return longest


def stated_run(output, unit):
    run = output.manifest["longest_kept_run"]["decided"]
    assert run["unit"] == unit
    assert run["doc_id"] == output.column("doc_id")[run["document"]]
    return run["length"], run["document"], run["position"], run["tokens"]


@pytest.mark.parametrize("bound", [6, 14, 30, "none"])
def test_decided_tokens_are_counted_without_special_ones(goldfish, tmp_path, bound):
    """A few ids in a row recur, so that there are equal keys, and id 3 is everywhere."""
    rows = [[(i * i * (seed + 3) // 7) % (5 + seed) for i in range(40 * seed)] for seed in range(60)]
    source = write_ids(tmp_path / "ids.jsonl", rows)
    arguments = [*IDS, "--rule", "anchor", "--longest-run", bound, "--eos-id", 3]
    output = goldfish.mask(source, tmp_path / "out", *arguments)
    context = output.manifest["rule"]["context"]
    decided = [[position >= context and token != 3 for position, token in enumerate(row)] for row in rows]
    found = longest_run(decided, output.masks)
    assert stated_run(output, "tokens") == found
    assert bound == "none" or found[0] <= bound
    assert output.manifest["rule"].get("longest_run", "none") == bound
    assert any(token == 3 for row in rows for token in row[context:]), "the test would prove less"
    assert all(keep == 1 for row, mask in zip(rows, output.masks) for token, keep in zip(row, mask) if token == 3)
    goldfish.run("verify", output.folder, "--recompute")
    said = "without a bound" if bound == "none" else f"never more than {bound}"
    assert f"at most {found[0]} decided tokens in a row ({said})" in output.process.stdout


def test_decided_tokens_of_packed_sequences(goldfish, fixtures, tmp_path):
    length = 100
    sequence = ["--scope", "sequence", "--sequence-length", length]
    arguments = [*IDS, "--rule", "anchor", "--longest-run", "none", *sequence]
    output = goldfish.mask(fixtures / "formats/ids.jsonl", tmp_path / "out", *arguments)
    context = output.manifest["rule"]["context"]
    # Document by document and sequence by sequence; token 0 of all is no target.
    places, parts, decided, tokens = [], [], [], 0
    for document, mask in enumerate(output.masks):
        start = 0
        while start < len(mask):
            place = (tokens - 1) % length if tokens else length - 1
            end = min(len(mask), start + length - place)
            places.append((document, start))
            decided.append([tokens > 0 and place + i >= context for i in range(end - start)])
            parts.append(mask[start:end])
            tokens, start = tokens + end - start, end
    units, part, position, extent = longest_run(decided, parts)
    document, start = places[part]
    assert stated_run(output, "tokens") == (units, document, start + position, extent)
    goldfish.run("verify", output.folder, "--recompute")


@pytest.mark.parametrize("bound", [6, 14, "none"])
def test_words_are_counted_once(goldfish, fixtures, tmp_path, bound):
    gpt2 = fixtures / "tokenizers/gpt2.json"
    vocabulary = [f"{a}{b}{c}" for a in ("", "organ", "tele", "x") for b in ("ist", "scopes", "an") for c in ("s", "ing")]
    texts = [
        " ".join(vocabulary[(i * i * (seed + 3) // 7) % (3 + seed % 20)] + ",;"[: i % 3] for i in range(9 * seed))
        for seed in range(60)
    ]
    source = write_texts(tmp_path / "texts.jsonl", texts)
    arguments = ["--tokenizer", gpt2, "--rule", "text", "--longest-run", bound, "--append-eos"]
    output = goldfish.mask(source, tmp_path / "out", *arguments)
    context = output.manifest["rule"]["context"]
    tokenizer = Tokenizer.from_file(str(gpt2))
    longest = (0, 0, 0, 0)
    for document, (text, mask) in enumerate(zip(texts, output.masks)):
        spans, at, words = tokenizer.encode(text).offsets, 0, []
        for word in text.replace(",", " ").replace(";", " ").split():
            start = text.index(word, at)
            at = start + len(word)
            words.append([i for i, (a, b) in enumerate(spans) if a < at and b > start])
        run = []
        for tokens in words[context:]:
            run = [*run, tokens] if all(mask[i] for i in tokens) else []
            if len(run) > longest[0]:
                longest = (len(run), document, run[0][0], run[-1][-1] + 1 - run[0][0])
    assert longest[0] > 0
    assert stated_run(output, "words") == longest
    assert bound == "none" or longest[0] <= bound
    goldfish.run("verify", output.folder, "--recompute", "--tokenizer", gpt2)
    process = goldfish.run("inspect", output.folder, "--json", "--tokenizer", gpt2)
    shown = json.loads(process.stdout)["inspection"]["longest_kept"]
    assert shown["bound"] == (None if bound == "none" else bound)
    ids = output.ids[longest[1]][longest[2] :][: longest[3]][:160]
    assert shown["decided"]["text"].rstrip("…") == tokenizer.decode(ids)
