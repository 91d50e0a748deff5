"""Policies: one run under a policy decides as the runs of its rules, and says which entry decided what."""

import json
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from product import read_json_lines, write_json_lines
from program.faults import check_reruns

POLICY = """
[[policy]]
name = "copies"
where = { "meta.copies" = { at_least = 5 } }
rule = "hash"
k = 3
seed = 7

[[policy]]
name = "books"
where = { "meta.source" = ["books", "news"] }
rule = "text"
k = 3

[[policy]]
name = "code"
where = { "meta.source" = "code" }
rule = "none"

[default]
rule = "text"
k = 50
"""

# What each entry decides, and the options of a run that decides so.
ENTRIES = {
    "copies": (lambda meta: meta["copies"] >= 5, ["--rule", "hash", "--k", 3, "--seed", 7]),
    "books": (lambda meta: meta["source"] in ("books", "news"), ["--rule", "text", "--k", 3]),
    "code": (lambda meta: meta["source"] == "code", ["--rule", "none"]),
    "default": (lambda meta: True, ["--rule", "text", "--k", 50]),
}


@pytest.fixture(scope="module")
def corpus(fixtures, tmp_path_factory):
    """Rows of real text with nested metadata."""
    draw = random.Random(5)
    texts = [row["text"] for row in read_json_lines(fixtures / "corpus/prose.jsonl") if row.get("text")]
    words = " ".join(texts).split()
    rows = []
    for number in range(240):
        start = draw.randrange(len(words) - 200)
        meta = {"source": draw.choice(["books", "news", "code", "web"]), "copies": draw.randrange(7)}
        rows.append({"id": f"d{number}", "text": " ".join(words[start : start + 150]), "meta": meta})
    return rows


def chosen(row):
    return next(name for name, (meets, _) in ENTRIES.items() if meets(row["meta"]))


def write(folder, rows, kind):
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), folder / "corpus.parquet", row_group_size=50)
        return folder / "corpus.parquet"
    path = folder / "corpus.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def policy(tmp_path):
    (tmp_path / "policy.toml").write_text(POLICY)
    return tmp_path / "policy.toml"


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_one_run_decides_as_the_runs_of_its_rules(goldfish, corpus, policy, fixtures, tmp_path, kind):
    path = write(tmp_path, corpus, kind)
    common = ["--tokenizer", fixtures / "tokenizers/gpt2.json", "--append-eos", "--id-column", "id"]
    out = goldfish.mask(path, tmp_path / "out", "--policy", policy, "--carry", "meta.source", *common)
    assert out.column("policy") == [chosen(row) for row in corpus]
    assert out.column("meta.source") == [row["meta"]["source"] for row in corpus]
    alone = {name: goldfish.mask(path, tmp_path / name, *options, *common).masks for name, (_, options) in ENTRIES.items()}
    for number, row in enumerate(corpus):
        assert out.masks[number] == alone[chosen(row)][number], row["id"]
    counts = {entry["name"]: entry["counts"] for entry in out.manifest["policy"]}
    for name in ENTRIES:
        own = [mask for mask, row in zip(out.masks, corpus) if chosen(row) == name]
        assert own, name
        assert counts[name]["documents"] == len(own)
        assert counts[name]["tokens"] == sum(map(len, own))
        assert counts[name]["dropped"] == sum(mask.count(0) for mask in own)
    # Of text rules the longest run of words is known, and within the bound of 4k - 2.
    assert 0 < counts["books"]["longest_decided_run"]["length"] <= 10
    assert "longest_decided_run" not in counts["code"]
    sound = goldfish.run("verify", out.folder, "--recompute", "--tokenizer", fixtures / "tokenizers/gpt2.json")
    assert "every mask as its rule decides" in sound.stdout
    shown = goldfish.run("inspect", out.folder, "--tokenizer", fixtures / "tokenizers/gpt2.json").stdout
    for name in ENTRIES:
        assert f"{name}: " in shown


def test_threads_parts_and_resumed_runs_give_the_same_bytes(goldfish, corpus, policy, fixtures, tmp_path):
    path = write(tmp_path, corpus * 8, "jsonl")
    common = ["--tokenizer", fixtures / "tokenizers/gpt2.json", "--policy", policy, "--shard-size", "64KiB"]
    one, joined = check_reruns(goldfish, path, tmp_path, common, kills=[1])
    assert joined.manifest["policy"] == one.manifest["policy"]


def test_ids_are_decided_by_their_text(goldfish, corpus, policy, fixtures, tmp_path):
    tokenizer = fixtures / "tokenizers/gpt2.json"
    text = goldfish.mask(write(tmp_path, corpus, "jsonl"), tmp_path / "text", "--policy", policy, "--tokenizer", tokenizer)
    (tmp_path / "ids").mkdir()
    rows = [{"input_ids": ids, "meta": row["meta"]} for ids, row in zip(text.ids, corpus)]
    path = write(tmp_path / "ids", rows, "parquet")
    column = ["--ids-column", "input_ids"]
    ids = goldfish.mask(path, tmp_path / "of-ids", "--policy", policy, "--tokenizer", tokenizer, *column)
    assert ids.masks == text.masks and ids.column("policy") == text.column("policy")


def test_every_mistake_has_its_own_message(goldfish, corpus, fixtures, repository, tmp_path):
    policy = repository / "crates/goldfish-pipeline/src/policy/mistakes.toml"
    mistakes = [line[len("#: ") :] for line in policy.read_text().splitlines() if line.startswith("#: ")]
    assert len(mistakes) == 16
    path = write(tmp_path, corpus, "jsonl")
    common = ["--tokenizer", fixtures / "tokenizers/gpt2.json", "--policy", policy]
    failed = goldfish.run("mask", path, "--output", tmp_path / "out", *common, expect=2)
    assert not (tmp_path / "out").exists()
    lines = failed.stderr.splitlines()
    for expected in mistakes:
        assert sum(expected in line for line in lines) == 1, f"{expected} in {failed.stderr}"


def test_columns_that_no_input_has(goldfish, corpus, policy, fixtures, tmp_path):
    common = ["--tokenizer", fixtures / "tokenizers/gpt2.json"]
    for kind in ("jsonl", "parquet"):
        path = write(tmp_path, corpus, kind)
        policy.write_text(POLICY.replace("meta.source", "meta.sauce"))
        failed = goldfish.run("mask", path, "--output", tmp_path / "out", "--policy", policy, *common, expect=2)
        assert '"meta.sauce"' in failed.stderr and "meta" in failed.stderr
        failed = goldfish.run("mask", path, "--output", tmp_path / "out", "--carry", "soruce", *common, expect=2)
        assert '"soruce"' in failed.stderr
        assert not (tmp_path / "out").exists()
    failed = goldfish.run("mask", path, "--output", tmp_path / "out", "--policy", policy, "--k", 3, *common, expect=2)
    assert "cannot be used with" in failed.stderr


def test_a_policy_is_tried_out(goldfish, corpus, policy, fixtures, tmp_path):
    path = write(tmp_path, corpus, "jsonl")
    common = [policy, path, "--tokenizer", fixtures / "tokenizers/gpt2.json", "--id-column", "id"]
    found = json.loads(goldfish.run("policy", "check", *common, "--json").stdout)
    counts = {entry["name"]: entry["documents"] for entry in found["entries"]}
    assert counts == {name: sum(chosen(row) == name for row in corpus) for name in ENTRIES}
    sizes = {entry["name"]: entry["size"] for entry in found["entries"]}
    assert sizes["code"] == sum(len(row["text"].encode()) for row in corpus if chosen(row) == "code")
    few = json.loads(goldfish.run("policy", "check", *common, "--documents", 30, "--json", expect=(0, 1)).stdout)
    assert sum(entry["documents"] for entry in few["entries"]) == 30
    # An entry that decides nothing is a finding.
    policy.write_text(POLICY.replace('"code"\n', '"poems"\n').replace('= "code" }', '= "poems" }'))
    idle = goldfish.run("policy", "check", *common, expect=1)
    assert "decides none of these documents" in idle.stdout


def test_paths_decide(goldfish, corpus, fixtures, tmp_path):
    for name in ("books", "web"):
        (tmp_path / "in" / name).mkdir(parents=True)
        write(tmp_path / "in" / name, corpus[:20], "jsonl")
    (tmp_path / "policy.toml").write_text(
        '[[policy]]\nname = "books"\nwhere = { path = "books/*" }\nrule = "none"\n[default]\nrule = "text"\nk = 4\n'
    )
    common = ["--tokenizer", fixtures / "tokenizers/gpt2.json", "--policy", tmp_path / "policy.toml"]
    out = goldfish.mask(tmp_path / "in", tmp_path / "out", *common)
    assert out.column("policy") == ["books"] * 20 + ["default"] * 20


def test_the_manifest_is_checked(goldfish, corpus, policy, fixtures, tmp_path):
    """A policy column that names another entry, and counts that are not those of the shards, are found."""
    tokenizer = ["--tokenizer", fixtures / "tokenizers/gpt2.json"]
    out = goldfish.mask(write(tmp_path, corpus, "jsonl"), tmp_path / "out", "--policy", policy, *tokenizer)
    manifest = json.loads((out.folder / "manifest.json").read_text())
    manifest["policy"][0]["counts"]["documents"] += 1
    (out.folder / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")
    found = goldfish.run("verify", out.folder, "--recompute", *tokenizer, expect=1)
    assert "documents, over the entries of the policy" in found.stdout
    assert '"copies" decided' in found.stdout


def test_ids_that_occur_twice_are_counted(goldfish, corpus, fixtures, tmp_path):
    path = write(tmp_path, corpus + corpus[:7], "jsonl")
    common = ["--tokenizer", fixtures / "tokenizers/gpt2.json", "--k", 4]
    named = goldfish.mask(path, tmp_path / "named", "--id-column", "id", "--json", *common)
    assert json.loads(named.process.stdout)["repeated_ids"] == 7
    assert "7 documents have the id of an earlier one, such as d0" in named.process.stderr
    # Without a column of ids each document has its own.
    unnamed = goldfish.mask(path, tmp_path / "unnamed", "--json", *common)
    assert json.loads(unnamed.process.stdout)["repeated_ids"] is None


def test_lists_of_paths_and_their_opposite(goldfish, corpus, fixtures, tmp_path):
    for name in ("books", "news", "web"):
        (tmp_path / "in" / name).mkdir(parents=True)
        write(tmp_path / "in" / name, corpus[:5], "jsonl")
    common = ["--tokenizer", fixtures / "tokenizers/gpt2.json", "--policy", tmp_path / "policy.toml"]
    for number, (where, expected) in enumerate(
        [('["books/**", "news/*"]', [True, True, False]), ('{ not = ["books/**", "news/*"] }', [False, False, True])]
    ):
        (tmp_path / "policy.toml").write_text(
            f'[[policy]]\nname = "some"\nwhere = {{ path = {where} }}\nrule = "none"\n[default]\nrule = "text"\nk = 4\n'
        )
        out = goldfish.mask(tmp_path / "in", tmp_path / f"out-{number}", *common)
        assert out.column("policy") == [("some" if meets else "default") for meets in expected for _ in range(5)]


def test_columns_that_some_inputs_lack(goldfish, corpus, fixtures, tmp_path):
    """A document without the column meets no condition on it, whatever the format of its input."""
    plain = [{"text": row["text"]} for row in corpus[:4]]
    named = [{"text": row["text"], "source": "books", "meta": {"nothing": None}} for row in corpus[4:8]]
    (tmp_path / "in").mkdir()
    write_json_lines(tmp_path / "in/a.jsonl", plain)
    write_json_lines(tmp_path / "in/b.jsonl", named)
    pq.write_table(pa.Table.from_pylist(plain), tmp_path / "in/c.parquet")
    fields = pa.struct([("nothing", pa.null())])
    table = pa.table({"text": [row["text"] for row in named], "source": ["books"] * 4}).append_column(
        "meta", pa.array([{"nothing": None}, None, None, {"nothing": None}], fields)
    )
    pq.write_table(table, tmp_path / "in/d.parquet")
    (tmp_path / "policy.toml").write_text(
        '[[policy]]\nname = "books"\nwhere = { source = "books", "meta.nothing" = { present = false } }\nrule = "none"\n'
        '[default]\nrule = "text"\nk = 4\n'
    )
    common = ["--tokenizer", fixtures / "tokenizers/gpt2.json", "--policy", tmp_path / "policy.toml"]
    out = goldfish.mask(tmp_path / "in", tmp_path / "out", *common)
    names = [id.split(":")[0] for id in out.column("doc_id")]
    expected = {"a.jsonl": "default", "b.jsonl": "books", "c.parquet": "default", "d.parquet": "books"}
    assert out.column("policy") == [expected[name] for name in names]
