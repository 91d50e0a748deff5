"""`verify` passes what `mask` wrote and finds what was done to it since."""

import hashlib
import json
import shutil

import pyarrow as pa
import pytest
import xxhash

IDS = ["--ids-column", "input_ids"]


@pytest.fixture(scope="module")
def pristine(goldfish, fixtures, tmp_path_factory):
    folder = tmp_path_factory.mktemp("verify") / "out"
    return goldfish.mask(fixtures / "formats/ids.jsonl", folder, *IDS, "--columns", "labels", "--shard-size", "32KiB")


@pytest.fixture
def copy(pristine, tmp_path):
    return type(pristine)(shutil.copytree(pristine.folder, tmp_path / "copy"))


def checksums(content):
    """Name of the function -> digest in hexadecimal."""
    return {
        "sha256": hashlib.sha256(content).hexdigest(),
        "xxh3-64": xxhash.xxh3_64_hexdigest(content),
        "xxh3-128": xxhash.xxh3_128_hexdigest(content),
        "xxh64": xxhash.xxh64_hexdigest(content),
    }


def edit_manifest(output, change):
    manifest = output.manifest
    change(manifest)
    (output.folder / "manifest.json").write_text(json.dumps(manifest, indent=2))


def swap_two_mask_bits(path):
    """Turns a 1 of the mask into 0 and a 0 into 1 in the raw file, so that no count changes."""
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
    "a shard left out": lambda m: m["shards"].pop(),
    "shards in another order": lambda m: m["shards"].reverse(),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_manifest(goldfish, copy, edit):
    edit_manifest(copy, EDITS[edit])
    goldfish.run("verify", copy.folder, expect=1)


def test_recompute_finds_another_rule(goldfish, copy):
    edit_manifest(copy, lambda m: m["rule"].update(k=5))
    goldfish.run("verify", copy.folder, "--recompute", expect=1)


def test_recompute_finds_a_wrong_mask_bit_under_a_right_checksum(goldfish, copy):
    entry, shard = copy.manifest["shards"][1], copy.shards[1]
    digest = entry["hash"].rsplit(":", 1)[-1]
    kinds = [name for name, value in checksums(shard.read_bytes()).items() if value == digest.lower()]
    assert len(kinds) == 1, f"the hash {entry['hash']} of the manifest is of no kind known here"
    swap_two_mask_bits(shard)
    goldfish.run("verify", copy.folder, expect=1)

    fixed = entry["hash"].replace(digest, checksums(shard.read_bytes())[kinds[0]])
    edit_manifest(copy, lambda m: m["shards"][1].update(hash=fixed))
    process = goldfish.run("verify", copy.folder, "--recompute", expect=1)
    assert shard.name in process.stdout + process.stderr


def test_a_manifest_that_is_no_json(goldfish, copy):
    (copy.folder / "manifest.json").write_text("{")
    goldfish.run("verify", copy.folder, expect=(1, 2))


def test_no_output_at_all(goldfish, tmp_path):
    goldfish.run("verify", tmp_path / "nowhere", expect=2)
    (tmp_path / "empty").mkdir()
    goldfish.run("verify", tmp_path / "empty", expect=2)
