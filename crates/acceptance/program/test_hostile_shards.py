"""Untrusted manifests and shards: errors in little memory."""

import json
import os
import random
import shutil

import pytest
import xxhash

from program.hostile import IDS, PEAK_MIB, refused, sparse


@pytest.fixture(scope="module")
def masked(goldfish, tmp_path_factory):
    folder = tmp_path_factory.mktemp("masked") / "out"
    goldfish.run("mask", IDS, "--output", folder, "--columns", "labels")
    return folder


def reseal(folder, change=lambda manifest: None):
    """Changes the manifest and updates its checksum."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    manifest["checksum"] = ""
    text = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
    digest = xxhash.xxh3_128_hexdigest(text.encode())
    path.write_text(text.replace('"checksum": ""', f'"checksum": "xxh3_128:{digest}"'))


def set_at(*keys, value):
    def change(manifest):
        for key in keys[:-1]:
            manifest = manifest[key]
        manifest[keys[-1]] = value

    return change


MOST = 2**64 - 1
MANIFESTS = {
    "name-above": (set_at("shards", 0, "name", value="../data-00000-of-00001.arrow"), 2, "plain file name"),
    "name-absolute": (set_at("shards", 0, "name", value="/etc/passwd"), 2, "plain file name"),
    "name-below": (set_at("shards", 0, "name", value="a/b.arrow"), 2, "plain file name"),
    "name-backslash": (set_at("shards", 0, "name", value="a\\b.arrow"), 2, "plain file name"),
    "name-dots": (set_at("shards", 0, "name", value=".."), 2, "plain file name"),
    "name-empty": (set_at("shards", 0, "name", value=""), 2, "plain file name"),
    "name-nul": (set_at("shards", 0, "name", value="a\0b"), 1, "missing"),
    "name-of-the-manifest": (set_at("shards", 0, "name", value="manifest.json"), 1, "bytes, but"),
    "format-of-the-future": (set_at("format_version", value=99), 2, "use a newer goldfish"),
    "format-negative": (set_at("format_version", value=-1), 2, "not a manifest"),
    "rule-unknown": (set_at("rule", "name", value="magic"), 2, "not a manifest"),
    "rule-of-the-future": (set_at("rule", "version", value=7), 2, "version"),
    "k-zero": (set_at("rule", "k", value=0), 2, "k"),
    "k-one": (set_at("rule", "k", value=1), 2, "k"),
    "context-zero": (set_at("rule", "context", value=0), 2, "context"),
    "context-huge": (set_at("rule", "context", value=2**32 - 1), 2, "context"),
    "sequence-of-nothing": (set_at("scope", value={"name": "sequence", "length": 0}), 2, "length"),
    "counts-negative": (set_at("totals", "tokens", value=-5), 2, "not a manifest"),
    "counts-fraction": (set_at("totals", "tokens", value=1.5), 2, "not a manifest"),
    "counts-over-u64": (set_at("totals", "tokens", value=2**64), 2, "not a manifest"),
    "counts-overflow": (set_at("totals", value=dict.fromkeys(
        ("documents_in", "documents_out", "documents_rejected", "tokens", "dropped"), MOST)), 1, "expected"),
    "shard-counts-huge": (set_at("shards", 0, "documents", value=MOST), 1, "documents"),
    "shard-size-huge": (set_at("shards", 0, "size", value=MOST), 1, "bytes, but"),
    "shards-none": (set_at("shards", value=[]), 1, "not in the manifest"),
    "shards-missing": (lambda manifest: manifest.pop("shards"), 2, "not a manifest"),
    "key-unknown": (set_at("surprise", value=1), 2, "surprise"),
    "columns-unknown": (set_at("output", "columns", value=["loss"]), 2, "not a manifest"),
    "columns-others": (set_at("output", "columns", value=["attention_mask"]), 1, "expected"),
    "output-other-format": (set_at("output", "format", value="parquet"), 1, ""),
}  # fmt: skip


@pytest.mark.parametrize("name", MANIFESTS)
def test_hostile_manifests(goldfish, masked, name, tmp_path):
    change, code, words = MANIFESTS[name]
    folder = tmp_path / "out"
    shutil.copytree(masked, folder)
    reseal(folder, change)
    process = goldfish.measured("verify", folder, "--recompute", expect=code)
    assert words in process.stdout + process.stderr, process.stdout + process.stderr
    assert process.peak < PEAK_MIB
    assert goldfish.measured("inspect", folder, expect=(0, 2)).peak < PEAK_MIB


def test_two_entries_of_one_shard(goldfish, masked, tmp_path):
    folder = tmp_path / "out"
    shutil.copytree(masked, folder)
    reseal(folder, lambda manifest: manifest["shards"].append(manifest["shards"][0]))
    assert "twice" in goldfish.measured("verify", folder, expect=1).stdout


def test_files_that_the_manifest_does_not_list(goldfish, masked, tmp_path):
    folder = tmp_path / "out"
    shutil.copytree(masked, folder)
    (shard,) = folder.glob("*.arrow")
    shutil.copy(shard, folder / "extra.arrow")
    found = goldfish.run("verify", folder, expect=1).stdout
    assert "extra.arrow: not in the manifest" in found
    assert "move away what" in found and "mask the corpus again" not in found
    shard.unlink()
    found = goldfish.run("verify", folder, expect=1).stdout
    assert "mask the corpus again" in found and "without what the manifest does not list" in found


RAW_MANIFESTS = {
    "empty": b"",
    "nothing": b"null",
    "list": b"[]",
    "cut": b'{"format_version": 1, "tool"',
    "not-utf8": b'{"format_version": 1, "tool": "\xff"}',
    "mark": b'\xef\xbb\xbf{"format_version": 1}',
    "deep": b'{"format_version": 1, "tool": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "key-twice": b'{"format_version": 1, "format_version": 1}',
    "number-huge": b'{"format_version": 1e999}',
}


@pytest.mark.parametrize("name", RAW_MANIFESTS)
def test_invalid_manifests(goldfish, name, tmp_path):
    (tmp_path / "manifest.json").write_bytes(RAW_MANIFESTS[name])
    for verb in ("verify", "inspect"):
        refused(goldfish, ["manifest.json", "not a manifest"], verb, tmp_path)


@pytest.mark.parametrize("kind", ["fifo", "folder", "ring", "sparse"])
def test_manifests_that_are_not_files(goldfish, kind, tmp_path):
    path = tmp_path / "manifest.json"
    make = {
        "fifo": lambda: os.mkfifo(path),
        "folder": path.mkdir,
        "ring": lambda: os.symlink("manifest.json", path),
        "sparse": lambda: sparse(path, 1 << 40),
    }
    make[kind]()
    for verb in ("verify", "inspect"):
        refused(goldfish, ["manifest.json"], verb, tmp_path)


@pytest.mark.parametrize("kind", ["fifo", "folder", "device", "dangling"])
def test_shards_that_are_not_files(goldfish, masked, kind, tmp_path):
    folder = tmp_path / "out"
    shutil.copytree(masked, folder)
    path = next(folder.glob("data-*.arrow"))
    path.unlink()
    make = {
        "fifo": lambda: os.mkfifo(path),
        "folder": path.mkdir,
        "device": lambda: os.symlink("/dev/zero", path),
        "dangling": lambda: os.symlink("gone", path),
    }
    make[kind]()
    assert path.name in goldfish.measured("verify", folder, expect=1).stdout
    refused(goldfish, [path.name], "inspect", folder)


@pytest.mark.parametrize("form", ["arrow-stream", "arrow-file", "parquet"])
def test_damaged_shards_with_a_valid_checksum(goldfish, form, tmp_path):
    """Whoever can write a shard can write its checksum, so reading must be safe with a valid checksum."""
    folder = tmp_path / "out"
    rows = tmp_path / "few.jsonl"
    rows.write_text("".join(json.dumps({"input_ids": [7, 8, 9] * n}) + "\n" for n in range(1, 9)))
    goldfish.run("mask", rows, "--output", folder, "--output-format", form)
    shard = next(folder.glob("data-*"))
    intact = shard.read_bytes()
    source = random.Random(form)
    codes = set()
    for turn in range(60):
        damaged = bytearray(intact)
        for _ in range(1 + turn % 3):
            value = source.choice([0, 1, 127, 128, 255, source.randrange(256)])
            damaged[source.randrange(len(damaged))] = value
        if turn % 10 == 9:
            damaged = damaged[: source.randrange(len(damaged))]
        shard.write_bytes(damaged)
        digest = f"xxh3_128:{xxhash.xxh3_128_hexdigest(bytes(damaged))}"

        def change(manifest):
            manifest["shards"][0] |= {"size": len(damaged), "hash": digest}

        reseal(folder, change)
        verified = goldfish.measured("verify", folder, "--recompute", expect=(0, 1))
        shown = goldfish.measured("inspect", folder, expect=(0, 2))
        assert max(verified.peak, shown.peak) < PEAK_MIB
        codes.add(verified.returncode)
    assert 1 in codes, "no change did any damage"
