"""Masks that token ids come with: what they exclude stays excluded, and rates count what was in the loss."""

import json
import random

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from product import folder_bytes, read_json_lines, write_json_lines



@pytest.fixture(scope="module")
def rows(fixtures):
    """Documents with one value a token: as booleans, as numbers, as labels and as weights."""
    draw = random.Random(3)
    rows = []
    for row in read_json_lines(fixtures / "formats/ids.jsonl"):
        ids = row["input_ids"]
        # Turns of 1 to 30 tokens, in the loss by turns.
        mask = []
        while len(mask) < len(ids):
            mask += [len(mask) % 2] * draw.randrange(1, 30)
        mask = mask[: len(ids)]
        weights = [keep * draw.choice([0.25, 1.0, 1.5]) for keep in mask]
        labels = [token if keep else -100 for token, keep in zip(ids, mask)]
        rows.append({"input_ids": ids, "mask": mask, "bools": [keep == 1 for keep in mask], "weights": weights, "labels": labels})
    return rows


def write(folder, rows, kind, *columns):
    rows = [{name: row[name] for name in ("input_ids", *columns)} for row in rows]
    if kind == "jsonl":
        return write_json_lines(folder / "rows.jsonl", rows)
    table = pa.Table.from_pylist(rows)
    if kind == "parquet":
        pq.write_table(table, folder / "rows.parquet", row_group_size=7)
        return folder / "rows.parquet"
    with pa.OSFile(str(folder / "rows.arrow"), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=5)
    return folder / "rows.arrow"


def both(decided, existing):
    return [[int(one and other) for one, other in zip(*pair)] for pair in zip(decided, existing)]


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "arrow"])
@pytest.mark.parametrize(
    ("column", "option"), [("mask", "--mask-column"), ("bools", "--mask-column"), ("labels", "--labels-column")]
)
def test_a_token_is_kept_where_both_keep_it(goldfish, rows, tmp_path, kind, column, option):
    rule = ["--rule", "hash", "--k", 3, "--context", 5]
    alone = goldfish.mask(write(tmp_path, rows, kind), tmp_path / "alone", *rule)
    path = write(tmp_path, rows, kind, column)
    out = goldfish.mask(path, tmp_path / "out", option, column, "--columns", "labels,assistant_masks", "--json", *rule)
    existing = [row["mask"] for row in rows]
    assert out.masks == both(alone.masks, existing)
    assert out.column("assistant_masks") == out.masks
    expected = [[t if keep else -100 for t, keep in zip(*pair)] for pair in zip(out.ids, out.masks)]
    assert out.column("labels") == expected
    # Rates are of what was in the loss.
    targets = sum(map(sum, existing))
    dropped = targets - sum(map(sum, out.masks))
    totals = out.manifest["totals"]
    assert totals["excluded_before"] == totals["tokens"] - targets
    summary = json.loads(out.process.stdout)
    assert summary["drop_rate"] == pytest.approx(dropped / targets)
    assert summary["tally"]["tokens"] == targets
    assert summary["tally"]["dropped"] == dropped
    assert out.manifest["source"]["existing_mask"] == {"column": column, "kind": "labels" if column == "labels" else "mask"}
    goldfish.run("verify", out.folder, "--recompute")
    exported = goldfish.run("export", out.folder, "--to", "hf", "--output", tmp_path / "hf")
    assert exported.returncode == 0
    with pa.memory_map(str(next((tmp_path / "hf").glob("*.arrow")))) as file:
        assert pa.ipc.open_stream(file).read_all().column("labels").to_pylist() == expected


def test_the_rule_sees_the_whole_text(goldfish, rows, fixtures, tmp_path):
    tokenizer = ["--tokenizer", fixtures / "tokenizers/gpt2.json", "--ids-column", "input_ids"]
    alone = goldfish.mask(write(tmp_path, rows, "parquet"), tmp_path / "alone", "--rule", "text", *tokenizer)
    path = write(tmp_path, rows, "parquet", "mask")
    out = goldfish.mask(path, tmp_path / "out", "--rule", "text", "--mask-column", "mask", *tokenizer)
    assert out.masks == both(alone.masks, [row["mask"] for row in rows])
    goldfish.run("verify", out.folder, "--recompute", *tokenizer[:2])


def test_packed_sequences(goldfish, rows, tmp_path):
    rule = ["--rule", "hash-table", "--scope", "sequence", "--sequence-length", 100]
    alone = goldfish.mask(write(tmp_path, rows, "jsonl"), tmp_path / "alone", *rule)
    path = write(tmp_path, rows, "jsonl", "mask")
    out = goldfish.mask(path, tmp_path / "out", "--mask-column", "mask", *rule)
    assert out.masks == both(alone.masks, [row["mask"] for row in rows])


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_weights_are_multiplied(goldfish, rows, tmp_path, kind):
    rule = ["--rule", "hash", "--k", 3]
    path = write(tmp_path, rows, kind, "weights")
    refused = goldfish.run("mask", path, "--output", tmp_path / "no", "--mask-column", "weights", *rule, expect=2)
    assert "where a mask has 0 or 1" in refused.stderr and "--columns loss_weights" in refused.stderr
    weighted = ["--mask-column", "weights", "--columns", "loss_weights"]
    out = goldfish.mask(path, tmp_path / "out", *weighted, *rule)
    alone = goldfish.mask(write(tmp_path, rows, kind), tmp_path / "alone", *rule)
    for decided, found, row in zip(alone.masks, out.column("loss_weights"), rows):
        assert np.array_equal(np.float32(found), np.float32(row["weights"]) * np.float32(decided))
    assert out.table.schema.field("loss_weights").type == pa.list_(pa.field("item", pa.float32()))
    fractional = sum(weight not in (0, 1) for row in out.column("loss_weights") for weight in row)
    assert out.manifest["totals"]["fractional"] == fractional > 0
    goldfish.run("verify", out.folder, "--recompute")
    # Levanter's loop takes fractions; the others have masks of 0 and 1.
    for layout in ("megatron", "neox", "olmo", "datatrove", "torchtune", "hf"):
        failed = goldfish.run("export", out.folder, "--to", layout, "--output", tmp_path / layout, expect=2)
        assert f"the layout {layout} has no room for weights" in failed.stderr
        assert not (tmp_path / layout).exists()
    length = ["--sequence-length", 64]
    goldfish.run("export", out.folder, "--to", "levanter", "--output", tmp_path / "levanter", *length)
    tables = [pq.read_table(path) for path in sorted((tmp_path / "levanter").glob("*.parquet"))]
    written = [weight for table in tables for row in table.column("loss_weights").to_pylist() for weight in row]
    # Shifted by one in each row of 64, and documents are joined.
    flat = [weight for row in out.column("loss_weights") for weight in row]
    ids = [token for table in tables for row in table.column("input_ids").to_pylist() for token in row]
    assert ids[: len(flat)] == [token for row in out.ids for token in row]
    ends = {sum(map(len, out.ids[: n + 1])) - 1 for n in range(len(out.ids))}
    for position, weight in enumerate(written[: len(flat)]):
        last = position in ends or position % 64 == 63 or position + 1 == len(flat)
        assert weight == (0.0 if last else flat[position + 1]), position


def test_weights_without_a_mask_are_0_and_1(goldfish, rows, tmp_path):
    out = goldfish.mask(write(tmp_path, rows, "jsonl"), tmp_path / "out", "--columns", "loss_weights", "--rule", "hash")
    assert out.column("loss_weights") == out.masks
    goldfish.run("export", out.folder, "--to", "hf", "--output", tmp_path / "hf")


@pytest.mark.parametrize("name", ["labels", "loss_mask", "assistant_masks", "completion_mask", "loss_weights"])
@pytest.mark.parametrize("kind", ["jsonl", "parquet", "arrow"])
def test_masks_that_nobody_named_are_asked_about(goldfish, rows, tmp_path, name, kind):
    named = [{**row, name: row["labels" if name == "labels" else "mask"]} for row in rows]
    path = write(tmp_path, named, kind, name)
    failed = goldfish.run("mask", path, "--output", tmp_path / "out", "--rule", "hash", expect=2)
    assert f'the column "{name}" seems to say which tokens are in the loss' in failed.stderr
    option = "--labels-column" if name == "labels" else "--mask-column"
    assert f"{option} {name}" in failed.stderr and "--ignore-masks" in failed.stderr
    assert not (tmp_path / "out").exists()
    ignored = goldfish.mask(path, tmp_path / "ignored", "--ignore-masks", "--rule", "hash")
    alone = goldfish.mask(write(tmp_path, rows, kind), tmp_path / "alone", "--rule", "hash")
    assert ignored.masks == alone.masks
    # A class label or a name is no mask.
    text = [{"input_ids": row["input_ids"], "labels": "spam", "loss_mask": 3} for row in rows]
    goldfish.mask(write_json_lines(tmp_path / "classes.jsonl", text), tmp_path / "classes", "--rule", "hash")


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_bad_masks_are_rejected_by_row(goldfish, rows, tmp_path, kind):
    bad = [dict(row) for row in rows[:6]]
    bad[1]["mask"] = bad[1]["mask"][:-1]
    bad[2]["mask"] = [2] + bad[2]["mask"][1:]
    bad[3]["labels"] = bad[3]["input_ids"][1:] + [-100]
    bad[4]["mask"] = None
    column = ["--rule", "hash", "--mask-column", "mask"]
    path = write(tmp_path, bad, kind, "mask")
    assert "values for" in goldfish.run("mask", path, "--output", tmp_path / "out", *column, expect=2).stderr
    out = goldfish.mask(path, tmp_path / "out", *column, "--on-error", "skip", expect=1)
    assert [reject["row"] for reject in out.rejects] == [1, 2, 4]
    assert len(out.masks) == 3
    assert "2 at position 0, where a mask has 0 or 1" in out.rejects[1]["reason"]
    assert out.ids == [bad[row]["input_ids"] for row in (0, 3, 5)]
    path = write(tmp_path, bad, kind, "labels")
    out = goldfish.mask(path, tmp_path / "l", "--rule", "hash", "--labels-column", "labels", "--on-error", "skip", expect=1)
    assert [reject["row"] for reject in out.rejects] == [3]
    assert "not of the next one" in out.rejects[0]["reason"]


def test_options_that_do_not_fit(goldfish, rows, fixtures, tmp_path):
    text = write_json_lines(tmp_path / "text.jsonl", [{"text": "one", "mask": [1]}])
    tokenizer = ["--tokenizer", fixtures / "tokenizers/gpt2.json"]
    failed = goldfish.run("mask", text, "--output", tmp_path / "out", "--mask-column", "mask", *tokenizer, expect=2)
    assert "raw text has no tokens yet" in failed.stderr
    path = write(tmp_path, rows, "parquet", "mask")
    failed = goldfish.run("mask", path, "--output", tmp_path / "out", "--mask-column", "masc", expect=2)
    assert 'no column "masc"' in failed.stderr
    failed = goldfish.run("mask", path, "--output", tmp_path / "out", "--mask-column", "input_ids", expect=2)
    assert failed.returncode == 2


def test_parts_join_to_the_whole(goldfish, rows, tmp_path):
    many = write(tmp_path, rows * 20, "jsonl", "weights")
    options = ["--mask-column", "weights", "--columns", "loss_weights", "--rule", "hash"]
    whole = goldfish.mask(many, tmp_path / "whole", *options)
    goldfish.run("merge", *goldfish.mask_parts(many, tmp_path / "parts", 3, *options), "--output", tmp_path / "joined")
    joined = json.loads((tmp_path / "joined/manifest.json").read_text())
    assert joined["totals"] == whole.manifest["totals"]
    one = goldfish.mask(many, tmp_path / "one", "--threads", 1, *options)
    assert folder_bytes(one.folder) == folder_bytes(whole.folder)


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_columns_that_look_like_masks_are_columns_too(goldfish, rows, tmp_path, kind):
    """A class label called `labels` decides and is carried; so is the column of the mask itself."""
    classes = [{**row, "labels": "spam" if number % 2 else "ham"} for number, row in enumerate(rows)]
    path = write(tmp_path, classes, kind, "labels", "mask")
    (tmp_path / "policy.toml").write_text(
        '[[policy]]\nname = "spam"\nwhere = { labels = "spam" }\nrule = "none"\n[default]\nrule = "hash"\nk = 2\n'
    )
    options = ["--policy", tmp_path / "policy.toml", "--mask-column", "mask", "--carry", "labels,mask"]
    out = goldfish.mask(path, tmp_path / "out", *options)
    assert out.column("labels") == [row["labels"] for row in classes]
    assert out.column("policy") == ["spam" if number % 2 else "default" for number in range(len(rows))]
    carried = out.column("mask")
    assert (list(map(json.loads, carried)) if kind == "jsonl" else carried) == [row["mask"] for row in rows]


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_a_second_mask_is_asked_about(goldfish, rows, tmp_path, kind):
    path = write(tmp_path, rows, kind, "mask", "labels")
    options = ["--rule", "hash", "--mask-column", "mask"]
    failed = goldfish.run("mask", path, "--output", tmp_path / "out", *options, expect=2)
    assert 'the column "labels" seems to say' in failed.stderr
    out = goldfish.mask(path, tmp_path / "out", *options, "--ignore-masks")
    alone = goldfish.mask(write(tmp_path, rows, kind, "mask"), tmp_path / "alone", *options)
    assert out.masks == alone.masks


def test_weights_too_small_for_float32_are_rejected(goldfish, tmp_path):
    path = write_json_lines(tmp_path / "rows.jsonl", [{"input_ids": [1, 2], "w": [1e-50, 1]}, {"input_ids": [1], "w": [-1e-50]}])
    options = ["--mask-column", "w", "--columns", "loss_weights", "--rule", "none", "--on-error", "skip"]
    out = goldfish.mask(path, tmp_path / "out", *options, expect=1)
    assert [reject["row"] for reject in out.rejects] == [0, 1]
