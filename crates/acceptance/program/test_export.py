"""Every layout of `goldfish export`, read by independent readers."""

import json
import os
import shutil

import datasets
from program import layouts
import numpy as np
import pyarrow as pa
import pytest
from product import assert_same_rows, folder_bytes, write_ids

LENGTH = 64


@pytest.fixture(scope="module")
def shards(goldfish, rows, tmp_path_factory):
    """Documents in several shards, with empty and very short ones."""
    folder = tmp_path_factory.mktemp("export")
    documents = [*rows[:20], [], [7], [8, 9], *rows[20:], list(range(1000, 1000 + 2 * LENGTH + 1)), []]
    source = write_ids(folder / "ids.jsonl", documents)
    output = goldfish.mask(source, folder / "shards", "--id-column", "id", "--shard-size", "60k", "--k", 3)
    assert len(output.shards) >= 3
    return output


def export(goldfish, shards, layout, output, *options):
    process = goldfish.run("export", shards.folder, "--to", layout, "--output", output, *options)
    manifest = json.loads((output / "goldfish.json").read_text())
    assert manifest["layout"] == layout
    assert manifest["totals"] == shards.manifest["totals"]
    assert manifest["shards"] == shards.manifest["checksum"]
    written = {str(p.relative_to(output)) for p in output.rglob("*") if p.is_file()} - {"goldfish.json"}
    assert written == {file["name"] for file in manifest["files"]}
    assert "sound" in goldfish.run("verify", output).stdout
    return process


def labels(ids, mask):
    return [token if keep else -100 for token, keep in zip(ids, mask)]


@pytest.mark.parametrize("options, dtype", [([], np.int32), (["--ids-dtype", "uint16"], np.uint16)])
def test_megatron(goldfish, shards, tmp_path, options, dtype):
    export(goldfish, shards, "megatron", tmp_path / "out", *options)
    tokens, marks, element = layouts.megatron(tmp_path / "out/tokens")
    masks, mask_marks, mask_element = layouts.megatron(tmp_path / "out/mask")
    assert (element, mask_element) == (dtype, np.uint8)
    assert_same_rows(tokens, shards.ids)
    assert_same_rows(masks, shards.masks)
    assert marks == mask_marks == list(range(len(shards.ids) + 1))


@pytest.mark.parametrize("layout", ["megatron-labels", "neox"])
def test_labels(goldfish, shards, tmp_path, layout):
    export(goldfish, shards, layout, tmp_path / "out")
    tokens, marks, _ = layouts.megatron(tmp_path / "out/tokens")
    found, label_marks, element = layouts.megatron(tmp_path / "out/labels")
    assert element == np.int32
    assert_same_rows(tokens, shards.ids)
    assert_same_rows(found, [labels(ids, mask) for ids, mask in zip(shards.ids, shards.masks)])
    assert marks == label_marks


def test_olmo(goldfish, shards, tmp_path):
    export(goldfish, shards, "olmo", tmp_path / "out")
    found, masks, names, sources = [], [], [], []
    for path in sorted((tmp_path / "out/tokens").glob("*.npy")):
        more, more_masks, lines = layouts.olmo(path, tmp_path / "out/label_mask" / path.name, np.uint32)
        found, masks = found + more, masks + more_masks
        names += [line[2] for line in lines]
        sources += [tuple(line[3:]) for line in lines]
    assert_same_rows(found, shards.ids)
    assert_same_rows(masks, shards.masks)
    assert names == shards.column("doc_id")
    assert sources[0] == (shards.shards[0].name, "0") and len(set(sources)) == len(sources)


@pytest.mark.parametrize("options, dtype", [([], np.uint32), (["--ids-dtype", "uint16"], np.uint16)])
def test_datatrove(goldfish, shards, tmp_path, options, dtype):
    export(goldfish, shards, "datatrove", tmp_path / "out", *options)
    found, masks = [], []
    for path in sorted((tmp_path / "out").glob("*.ds")):
        more, more_masks = layouts.datatrove(path, dtype)
        found, masks = found + more, masks + more_masks
    assert_same_rows(found, shards.ids)
    assert_same_rows(masks, shards.masks)


def test_bridge(goldfish, shards, tmp_path):
    export(goldfish, shards, "bridge", tmp_path / "out", "--sequence-length", LENGTH)
    table = layouts.parquet(tmp_path / "out")
    types = {"input_ids": pa.int32(), "loss_mask": pa.int8(), "seq_start_id": pa.int32()}
    assert {field.name: field.type.value_type for field in table.schema} == types
    sequences, weights = [], []
    packed = table.to_pylist()
    for row in packed:
        ids, mask, starts = row["input_ids"], row["loss_mask"], row["seq_start_id"]
        assert len(ids) == len(mask) <= LENGTH and starts[0] == 0 and starts == sorted(set(starts))
        for start, end in zip(starts, [*starts[1:], len(ids)]):
            sequences.append(ids[start:end])
            weights.append(mask[start:end])
    # At most one token of padding, since a sequence has at least two.
    assert all(len(row["input_ids"]) >= LENGTH - 1 for row in packed[:-1])
    # Joined, the sequences are the documents, and no single token was split off.
    masks = iter(shards.masks)
    pieces = iter(zip(sequences, weights))
    for ids in shards.ids:
        mask, at = next(masks), 0
        while at < len(ids):
            piece, weight = next(pieces)
            assert piece == ids[at : at + len(piece)]
            assert weight == layouts.shifted(mask[at : at + len(piece)])
            assert len(piece) > 1 or len(ids) == 1
            at += len(piece)
    assert next(pieces, None) is None


def test_levanter(goldfish, shards, tmp_path):
    export(goldfish, shards, "levanter", tmp_path / "out", "--sequence-length", LENGTH)
    table = layouts.parquet(tmp_path / "out")
    assert [(field.name, field.type.value_type) for field in table.schema] == [("input_ids", pa.int32()), ("loss_weights", pa.float32())]
    rows, weights = table["input_ids"].to_pylist(), table["loss_weights"].to_pylist()
    assert all(len(row) == len(weight) == LENGTH for row, weight in zip(rows, weights))
    # Joined documents with weights aligned to predictions, and padding without weight.
    stream, expected = [], []
    for ids, mask in zip(shards.ids, shards.masks):
        stream += ids
        expected += layouts.shifted(mask)
    padding = len(rows) * LENGTH - len(stream)
    assert 0 <= padding < LENGTH
    expected = [0 if (i + 1) % LENGTH == 0 else weight for i, weight in enumerate([*expected, *[0] * padding])]
    assert [token for row in rows for token in row] == [*stream, *[0] * padding]
    assert [weight for row in weights for weight in row] == expected and 1 in expected


def test_torchtune(goldfish, shards, tmp_path):
    export(goldfish, shards, "torchtune", tmp_path / "out")
    files = sorted(map(str, (tmp_path / "out").glob("*.parquet")))
    found = datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path / "cache"))
    assert_same_rows(found["tokens"][:], shards.ids)
    assert_same_rows(found["mask"][:], [[keep == 0 for keep in mask] for mask in shards.masks])


def test_hf(goldfish, shards, tmp_path):
    export(goldfish, shards, "hf", tmp_path / "out")
    found = datasets.load_from_disk(str(tmp_path / "out"))
    assert found.column_names == ["input_ids", "attention_mask", "labels"]
    assert_same_rows(found["input_ids"][:], shards.ids)
    assert_same_rows(found["labels"][:], [labels(*pair) for pair in zip(shards.ids, shards.masks)])
    assert all(set(row) <= {1} and len(row) == len(ids) for row, ids in zip(found["attention_mask"], shards.ids))
    assert found._fingerprint != datasets.load_from_disk(str(shards.folder))._fingerprint


def test_the_same_bytes_twice_from_every_format_of_shards(goldfish, rows, tmp_path):
    source = write_ids(tmp_path / "ids.jsonl", rows)
    for form in ("arrow-stream", "arrow-file", "parquet"):
        goldfish.mask(source, tmp_path / form, "--output-format", form)
    for layout, options in [("megatron", []), ("olmo", []), ("datatrove", []), ("bridge", ["--sequence-length", 32]), ("levanter", ["--sequence-length", 32])]:
        data = []
        for number, form in enumerate(["arrow-stream", "arrow-stream", "arrow-file", "parquet"]):
            output = tmp_path / f"{layout}-{number}"
            goldfish.run("export", tmp_path / form, "--to", layout, "--output", output, *options)
            data.append(folder_bytes(output))
        assert data[0] == data[1]
        # OLMo's list of documents contains names of shards.
        tokens = [{n: b for n, b in files.items() if not n.endswith((".json", ".csv.gz"))} for files in data]
        assert tokens[0] == tokens[2] == tokens[3]


@pytest.mark.parametrize("layout, options", [("bridge", ["--sequence-length", 32]), ("levanter", ["--sequence-length", 32]), ("torchtune", [])])
def test_the_same_bytes_from_any_number_of_threads(goldfish, shards, tmp_path, layout, options):
    data = []
    for threads in (1, 4):
        output = tmp_path / str(threads)
        environment = {**os.environ, "RAYON_NUM_THREADS": str(threads)}
        goldfish.run("export", shards.folder, "--to", layout, "--output", output, *options, environment=environment)
        data.append(folder_bytes(output))
    assert data[0] == data[1]


def test_the_smallest_type_for_the_vocabulary(goldfish, fixtures, tmp_path):
    bare = fixtures / "formats/olmo-bare"
    goldfish.mask(bare, tmp_path / "u16", "--eos-id", 2456, "--ids-dtype", "uint16")
    goldfish.run("export", tmp_path / "u16", "--to", "megatron", "--output", tmp_path / "out")
    assert layouts.megatron(tmp_path / "out/tokens")[2] == np.uint16


def test_refusals(goldfish, shards, tmp_path):
    def refused(*arguments):
        before = folder_bytes(tmp_path)
        message = goldfish.run("export", *arguments, expect=2).stderr
        assert folder_bytes(tmp_path) == before
        return message

    out = tmp_path / "out"
    for layout in ("bridge", "levanter"):
        assert "--sequence-length" in refused(shards.folder, "--to", layout, "--output", out)
        assert "of 2 tokens at least" in refused(shards.folder, "--to", layout, "--sequence-length", 1, "--output", out)
    assert "doesn't pack sequences" in refused(shards.folder, "--to", "olmo", "--sequence-length", 9, "--output", out)
    assert "uint32 or uint16" in refused(shards.folder, "--to", "olmo", "--ids-dtype", "int32", "--output", out)
    assert "no manifest.json" in refused(tmp_path, "--to", "olmo", "--output", out)
    assert "in the folder of shards" in refused(shards.folder, "--to", "olmo", "--output", shards.folder / "olmo")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("mine")
    assert "notes.txt" in refused(shards.folder, "--to", "hf", "--output", tmp_path / "mine", "--overwrite")

    large = goldfish.mask(write_ids(tmp_path / "large.jsonl", [[5, 6], [1, 65_536, 2]]), tmp_path / "large").folder
    message = refused(large, "--to", "datatrove", "--ids-dtype", "uint16", "--output", out)
    assert "row 1" in message and "65536 at position 1" in message and "--ids-dtype" in message
    empty = goldfish.mask(write_ids(tmp_path / "none.jsonl", [[]]), tmp_path / "none").folder
    assert "no tokens" in refused(empty, "--to", "hf", "--output", out)

    shard = next(large.glob("*.arrow"))
    shard.write_bytes(shard.read_bytes().replace((65_536).to_bytes(4, "little"), (65_537).to_bytes(4, "little")))
    assert "verify the folder" in refused(large, "--to", "hf", "--output", out)


def test_an_edited_manifest_is_refused(goldfish, shards, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(shards.folder, copy)
    manifest = copy / "manifest.json"
    text = manifest.read_text()
    assert '"k": 3' in text
    manifest.write_text(text.replace('"k": 3', '"k": 4'))
    message = goldfish.run("export", copy, "--to", "hf", "--output", tmp_path / "out", expect=2).stderr
    assert "manifest.json" in message and "edited" in message and not (tmp_path / "out").exists()


def test_overwriting(goldfish, shards, tmp_path):
    out = tmp_path / "out"
    export(goldfish, shards, "datatrove", out)
    first = folder_bytes(out)
    assert "--overwrite" in goldfish.run("export", shards.folder, "--to", "olmo", "--output", out, expect=2).stderr
    assert folder_bytes(out) == first
    (out / "notes.txt").write_text("mine")
    export_again = ("export", shards.folder, "--to", "hf", "--output", out, "--overwrite")
    goldfish.run(*export_again)
    names = set(folder_bytes(out))
    assert "notes.txt" in names and "state.json" in names and not any(".ds" in name for name in names)


def test_verify_finds_changes(goldfish, shards, tmp_path):
    out = tmp_path / "out"
    export(goldfish, shards, "datatrove", out)
    loss, index = out / "00000_goldfish.ds.loss", out / "00001_goldfish.ds.index"
    content = bytearray(loss.read_bytes())
    content[5] ^= 1
    loss.write_bytes(content)
    index.unlink()
    report = json.loads(goldfish.run("verify", out, "--json", expect=1).stdout)
    assert [fault["file"] for fault in report["faults"]] == [loss.name, index.name]
