"""`verify` accepts what `mask` wrote and finds later changes."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import xxhash

IDS = ["--ids-column", "input_ids"]


@pytest.fixture(scope="module")
def pristine(goldfish, fixtures, tmp_path_factory):
    folder = tmp_path_factory.mktemp("verify") / "out"
    arguments = [*IDS, "--rule", "hash", "--columns", "labels", "--shard-size", "32KiB"]
    return goldfish.mask(fixtures / "formats/ids.jsonl", folder, *arguments)


@pytest.fixture
def copy(pristine, tmp_path):
    return type(pristine)(shutil.copytree(pristine.folder, tmp_path / "copy"))


def checksums(content):
    """Hexadecimal digests by the name of the function."""
    return {
        "sha256": hashlib.sha256(content).hexdigest(),
        "xxh3-64": xxhash.xxh3_64_hexdigest(content),
        "xxh3-128": xxhash.xxh3_128_hexdigest(content),
        "xxh64": xxhash.xxh64_hexdigest(content),
    }


def manifest_bytes(manifest):
    return (json.dumps(manifest, indent=2, ensure_ascii=False) + "\n").encode()


def seal(manifest):
    """Sets the checksum of the manifest; the fingerprint in state.json is its prefix."""
    digest = xxhash.xxh3_128_hexdigest(manifest_bytes(manifest | {"checksum": ""}))
    return manifest | {"checksum": f"xxh3_128:{digest}"}


def edit_manifest(output, change, sealed=False):
    manifest = output.manifest
    assert seal(manifest) == manifest, "this test no longer knows how a manifest is sealed"
    change(manifest)
    if sealed:
        state = output.folder / "state.json"
        before, manifest = manifest["checksum"], seal(manifest)
        fingerprints = [checksum.removeprefix("xxh3_128:")[:16] for checksum in (before, manifest["checksum"])]
        state.write_text(state.read_text().replace(*fingerprints))
    (output.folder / "manifest.json").write_bytes(manifest_bytes(manifest))


def swap_two_mask_bits(path):
    """Swaps a 1 and a 0 of the mask in the raw file, so that no count changes."""
    with pa.memory_map(str(path)) as mapped:
        base = mapped.read_buffer(mapped.size()).address
        mapped.seek(0)
        values = pa.ipc.open_stream(mapped).read_all().column("loss_mask").chunk(0).values
        offset = values.buffers()[1].address + values.offset - base
        bits = values.to_pylist()
    content = bytearray(path.read_bytes())
    one, zero = offset + bits.index(1), offset + bits.index(0)
    assert (content[one], content[zero]) == (1, 0)
    content[one], content[zero] = 0, 1
    path.write_bytes(content)


@pytest.mark.parametrize("arguments", [[], ["--recompute"], ["--json"], ["--recompute", "--json"]])
def test_good_output_passes(goldfish, pristine, arguments):
    process = goldfish.run("verify", pristine.folder, *arguments)
    if "--json" in arguments:
        assert isinstance(json.loads(process.stdout), dict)


@pytest.mark.parametrize("fraction", [0.0, 0.3, 0.6, 0.999])
def test_a_flipped_byte_in_any_shard(goldfish, pristine, copy, fraction):
    assert len(copy.shards) > 2
    for shard in copy.shards:
        good = shard.read_bytes()
        bad = bytearray(good)
        bad[int(fraction * len(bad))] ^= 0x01
        shard.write_bytes(bad)
        process = goldfish.run("verify", copy.folder, expect=1)
        assert shard.name in process.stdout + process.stderr
        shard.write_bytes(good)
    goldfish.run("verify", copy.folder)


def test_a_removed_shard(goldfish, copy):
    gone = copy.shards[1]
    gone.unlink()
    process = goldfish.run("verify", copy.folder, expect=1)
    assert gone.name in process.stdout + process.stderr


@pytest.mark.parametrize("change", [-1, 1])
def test_a_shard_of_another_size(goldfish, copy, change):
    content = copy.shards[0].read_bytes()
    copy.shards[0].write_bytes(content[:-1] if change < 0 else content + b"\0")
    goldfish.run("verify", copy.folder, expect=1)


EDITS = {
    "tokens of a shard": lambda m: m["shards"][0].update(tokens=m["shards"][0]["tokens"] + 1),
    "dropped of a shard": lambda m: m["shards"][1].update(dropped=m["shards"][1]["dropped"] + 1),
    "documents of a shard": lambda m: m["shards"][1].update(documents=m["shards"][1]["documents"] - 1),
    "size of a shard": lambda m: m["shards"][0].update(size=m["shards"][0]["size"] + 1),
    "total tokens": lambda m: m["totals"].update(tokens=m["totals"]["tokens"] + 1),
    "total dropped": lambda m: m["totals"].update(dropped=m["totals"]["dropped"] - 1),
    "total documents": lambda m: m["totals"].update(documents_out=m["totals"]["documents_out"] + 1),
    "longest kept run": lambda m: m["longest_kept_run"]["tokens"].update(tokens=m["longest_kept_run"]["tokens"]["tokens"] - 1),
    "place of the longest kept run": lambda m: m["longest_kept_run"]["tokens"].update(position=1),
    "a shard left out": lambda m: m["shards"].pop(),
    "shards in another order": lambda m: m["shards"].reverse(),
}


@pytest.mark.parametrize("sealed", [False, True], ids=["as edited", "sealed anew"])
@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_manifest(goldfish, copy, edit, sealed):
    edit_manifest(copy, EDITS[edit], sealed)
    goldfish.run("verify", copy.folder, expect=1)


def test_a_manifest_of_another_tool_version_passes(goldfish, copy):
    """Sealing works, so the tests above fail for their change alone."""
    edit_manifest(copy, lambda m: m["tool"].update(version="0.0.1"), sealed=True)
    goldfish.run("verify", copy.folder)


def test_a_manifest_of_a_version_without_the_longest_kept_run_passes(goldfish, copy):
    edit_manifest(copy, lambda m: m.pop("longest_kept_run"), sealed=True)
    goldfish.run("verify", copy.folder, "--recompute")
    goldfish.run("inspect", copy.folder)


@pytest.mark.parametrize("name", ["data-00099-of-00100.arrow", "data-00000-of-00001.arrow"])
def test_a_foreign_shard(goldfish, copy, name):
    shutil.copy(copy.shards[0], copy.folder / name)
    process = goldfish.run("verify", copy.folder, expect=1)
    assert name in process.stdout + process.stderr


@pytest.mark.parametrize("name", ["state.json", "dataset_info.json"])
def test_a_removed_side_file(goldfish, copy, name):
    (copy.folder / name).unlink()
    process = goldfish.run("verify", copy.folder, expect=1)
    assert name in process.stdout + process.stderr


def test_a_state_that_names_other_shards(goldfish, copy):
    state = json.loads((copy.folder / "state.json").read_text())
    state["_data_files"].pop()
    (copy.folder / "state.json").write_text(json.dumps(state))
    process = goldfish.run("verify", copy.folder, expect=1)
    assert "state.json" in process.stdout + process.stderr


OTHER_RULES = {"k": 5, "context": 12, "window": "inclusive", "head": "short", "seed": 1}


@pytest.mark.parametrize("parameter", OTHER_RULES)
def test_recompute_finds_another_rule(goldfish, copy, parameter):
    edit_manifest(copy, lambda m: m["rule"].update({parameter: OTHER_RULES[parameter]}), sealed=True)
    goldfish.run("verify", copy.folder)
    goldfish.run("verify", copy.folder, "--recompute", expect=1)


def test_recompute_finds_a_wrong_mask_bit_with_a_valid_checksum(goldfish, copy):
    entry, shard = copy.manifest["shards"][1], copy.shards[1]
    digest = entry["hash"].rsplit(":", 1)[-1]
    kinds = [name for name, value in checksums(shard.read_bytes()).items() if value == digest.lower()]
    assert len(kinds) == 1, f"the hash {entry['hash']} of the manifest is of no kind known here"
    swap_two_mask_bits(shard)
    process = goldfish.run("verify", copy.folder, expect=1)
    assert shard.name in process.stdout + process.stderr

    fixed = entry["hash"].replace(digest, checksums(shard.read_bytes())[kinds[0]])
    edit_manifest(copy, lambda m: m["shards"][1].update(hash=fixed), sealed=True)
    process = goldfish.run("verify", copy.folder, "--recompute", expect=1)
    assert shard.name in process.stdout + process.stderr


def test_recompute_finds_another_longest_run_in_the_manifest(goldfish, fixtures, tmp_path):
    output = goldfish.mask(fixtures / "formats/ids.jsonl", tmp_path / "out", *IDS, "--rule", "anchor")
    edit_manifest(output, lambda m: m["longest_kept_run"]["decided"].update(position=1), sealed=True)
    goldfish.run("verify", output.folder)
    process = goldfish.run("verify", output.folder, "--recompute", expect=1)
    assert "manifest.json: longest kept run of decided" in process.stdout


def rules(folder):
    """Name -> arguments of `mask`, and those of `verify --recompute`; files are in `folder`."""
    table = ["--table", folder / "table.npy"]
    sequence = ["--scope", "sequence", "--sequence-length", 100]
    return {
        "static": (["--rule", "static", "--start", 3], []),
        "none": (["--rule", "none"], []),
        "random": (["--rule", "random", "--seed", 9, "--id-column", "id"], []),
        "hash": (["--rule", "hash", "--window", "inclusive", "--head", "short", "--seed", 2**63], []),
        "anchor": (["--rule", "anchor", "--longest-run", 8, "--seed", 5], []),
        "hash-table": (["--rule", "hash-table"], []),
        "hash-table from a file": (["--rule", "hash-table", *table], table),
        "hash-avalanche": (["--rule", "hash-avalanche", "--exempt-special", "true", "--eos-id", 13], []),
        "coefficient-sum": (["--rule", "coefficient-sum", "--coefficients", folder / "coefficients.npy"], []),
        "packed sequences": (["--rule", "hash-table", *sequence], []),
        "packed sequences, hash": (["--rule", "hash", *sequence], []),
    }


@pytest.mark.parametrize("name", rules(Path()))
@pytest.mark.parametrize("kind", ["arrow-stream", "arrow-file", "parquet"])
def test_recompute_accepts_what_mask_wrote(goldfish, fixtures, tmp_path, name, kind):
    np.save(tmp_path / "table.npy", np.linspace(0, 1, 1_000_003, dtype=np.float32))
    np.save(tmp_path / "coefficients.npy", np.arange(-6, 7, dtype=np.int64) * 999_999_937)
    arguments, needed = rules(tmp_path)[name]
    source = fixtures / "formats/ids.jsonl"
    shards = ["--shard-size", "32KiB", "--output-format", kind]
    output = goldfish.mask(source, tmp_path / "out", *IDS, *arguments, *shards)
    assert (output.manifest["totals"]["dropped"] > 0) == (name != "none")
    goldfish.run("verify", output.folder)
    goldfish.run("verify", output.folder, "--recompute", *needed)


def test_a_manifest_that_is_not_json(goldfish, copy):
    (copy.folder / "manifest.json").write_text("{")
    goldfish.run("verify", copy.folder, expect=(1, 2))
