"""Masks of memmaps alone: equal to those of shards, in the layout of the loop, with no other file changed."""

import json
import random
import shutil
import signal
import time
from subprocess import DEVNULL, PIPE, Popen, TimeoutExpired

from program import layouts
import numpy as np
import pytest
from product import assert_same_rows, folder_bytes

EOS = ["--eos-id", 2456]
RULES = [
    ["--rule", "hash"],
    ["--rule", "hash", "--window", "inclusive", "--head", "short", "--k", 3, "--seed", 7],
    ["--rule", "static", "--k", 5],
    ["--rule", "random", "--seed", 3],
    ["--rule", "hash-table"],
    ["--rule", "hash-avalanche", "--k", 3],
    ["--rule", "hash-table", "--scope", "sequence", "--sequence-length", 100],
]
MEMMAPS = [
    ("megatron/ids-u16.bin", []),
    ("megatron/ids-i32.bin", []),
    ("olmo/part-0-00000.npy", []),
    ("olmo-bare/part-0-00000.npy", []),
    ("datatrove/00000_u16.ds", ["--ids-dtype", "uint16"]),
    ("datatrove/00001_u32.ds", ["--ids-dtype", "uint32"]),
]


@pytest.fixture
def data(fixtures, tmp_path):
    """A copy of the memmaps."""
    folder = tmp_path / "data"
    for name in ("megatron", "olmo", "olmo-bare", "datatrove"):
        shutil.copytree(fixtures / "formats" / name, folder / name)
    return folder


def beside(path):
    """The mask beside a memmap, as bytes."""
    name = path.with_suffix(".loss.bin") if path.suffix == ".bin" else path.with_name(path.name + ".loss")
    return name.read_bytes()


def joined(masks):
    return bytes(keep for mask in masks for keep in mask)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: "-".join(map(str, rule[1:])))
def test_masks_are_those_of_shards(goldfish, data, tmp_path, rule):
    for number, (name, options) in enumerate(MEMMAPS):
        shards = goldfish.mask(data / name, tmp_path / f"shards-{number}", *EOS, *options, *rule)
        goldfish.run("mask", data / name, "--masks-only", *EOS, *options, *rule)
        assert beside(data / name) == joined(shards.masks), name
        (data / name).with_name("goldfish.json").unlink()


def test_text_rule(goldfish, fixtures, tmp_path):
    """Ids in a memmap are decided by their text."""
    tokenizer = ["--tokenizer", fixtures / "tokenizers/gpt2.json"]
    shards = goldfish.mask(fixtures / "formats/docs.jsonl", tmp_path / "shards", *tokenizer, "--rule", "text")
    goldfish.run("export", shards.folder, "--to", "datatrove", "--output", tmp_path / "ds")
    (memmap,) = (tmp_path / "ds").glob("*.ds")
    expected = memmap.with_name(memmap.name + ".loss").read_bytes()
    process = goldfish.run("mask", memmap, "--masks-only", "--output", tmp_path / "again", *tokenizer)
    assert "rule       text" in process.stdout
    assert (tmp_path / "again" / f"{memmap.name}.loss").read_bytes() == expected == joined(shards.masks)


def test_many_inputs_and_any_number_of_threads(goldfish, data, tmp_path):
    before = folder_bytes(data)
    inputs = [data / "datatrove/00000_u16.ds", data / "megatron/ids-u16.bin", data / "olmo"]
    outputs = []
    for threads in (1, 2, 5):
        output = tmp_path / f"out-{threads}"
        goldfish.run("mask", *inputs, "--masks-only", "--output", output, "--threads", threads)
        outputs.append(folder_bytes(output))
    assert outputs[0] == outputs[1] == outputs[2]
    assert folder_bytes(data) == before
    names = ["datatrove/00000_u16.ds.loss", "goldfish.json", "megatron/ids-u16.bin", "megatron/ids-u16.idx"]
    assert sorted(outputs[0]) == [*names, "olmo/part-0-00000.npy"]
    manifest = json.loads(outputs[0]["goldfish.json"])
    assert [entry["documents"] for entry in manifest["inputs"]] == [41, 41, 41]
    # Beside the data, the same bytes have other names.
    goldfish.run("mask", *inputs, "--masks-only")
    now = folder_bytes(data)
    assert {name: now[name] for name in before} == before
    new = {"datatrove/00000_u16.ds.loss", "goldfish.json", "olmo/part-0-00000.npy.loss"}
    assert set(now) - set(before) == new | {"megatron/ids-u16.loss.bin", "megatron/ids-u16.loss.idx"}
    assert now["olmo/part-0-00000.npy.loss"] == outputs[0]["olmo/part-0-00000.npy"]
    assert now["megatron/ids-u16.loss.idx"] == outputs[0]["megatron/ids-u16.idx"]
    # Masks are not read as tokens.
    shards = goldfish.mask([data / "megatron", data / "olmo", data / "datatrove"], tmp_path / "shards", *EOS)
    assert len(shards.manifest["inputs"]) == 5 and "not read" not in shards.process.stderr


def test_megatron_index(goldfish, data):
    """One byte for each token, with the documents and sequences of the tokens."""
    for name in ("ids-u16", "ids-i32"):
        goldfish.run("mask", data / f"megatron/{name}.bin", "--masks-only")
        tokens, marks, _ = layouts.megatron(data / "megatron" / name)
        masks, mask_marks, element = layouts.megatron(data / "megatron" / f"{name}.loss.x")
        assert element == np.uint8 and marks == mask_marks
        assert [len(row) for row in tokens] == [len(row) for row in masks]
        (data / "megatron/goldfish.json").unlink()


def test_a_document_of_many_sequences(goldfish, tmp_path):
    """The sequences of a document are decided together and keep their boundaries."""
    lengths, marks = np.array([30, 0, 20, 45], "<i4"), np.array([0, 3, 4], "<i8")
    ids = (np.arange(95) * 7919 % 5000).astype("<u2")
    offsets = np.array([0, 60, 60, 100], "<i8")
    header = b"MMIDIDX\0\0" + np.array([1], "<u8").tobytes() + b"\x08" + np.array([4, 3], "<u8").tobytes()
    (tmp_path / "x.idx").write_bytes(header + lengths.tobytes() + offsets.tobytes() + marks.tobytes())
    (tmp_path / "x.bin").write_bytes(ids.tobytes())
    shards = goldfish.mask(tmp_path / "x.bin", tmp_path / "shards", "--context", 3)
    goldfish.run("mask", tmp_path / "x.bin", "--masks-only", "--output", tmp_path / "out", "--context", 3)
    masks, mask_marks, _ = layouts.megatron(tmp_path / "out/x")
    assert mask_marks == marks.tolist()
    assert [len(row) for row in masks] == lengths.tolist()
    assert sum(masks, []) == sum(shards.masks, [])


def test_refusals_change_nothing(goldfish, fixtures, data, tmp_path):
    def refused(*arguments):
        before = folder_bytes(tmp_path)
        message = goldfish.run("mask", *arguments, "--masks-only", expect=2).stderr
        assert folder_bytes(tmp_path) == before
        return message

    memmap = data / "datatrove/00000_u16.ds"
    assert "memmaps only" in refused(fixtures / "formats/ids.jsonl", "--output", tmp_path / "out")
    assert "cannot be used" in refused(memmap, "--columns", "labels")
    assert "cannot be used" in refused(memmap, "--on-error", "skip")
    assert "is in the output folder" in refused(memmap, "--output", data)
    memmap.with_name(memmap.name + ".loss").write_bytes(b"another's")
    assert "is not listed in" in refused(memmap)
    assert "is not listed in" in refused(memmap, "--overwrite")
    # A document without a mask would misalign all others.
    tokenizer = ["--tokenizer", fixtures / "tokenizers/wordpiece.json", "--rule", "hash"]
    np.array([1, 2, 60_000, 3], "<u2").tofile(tmp_path / "wide.ds")
    np.array([2, 4], "<u8").tofile(tmp_path / "wide.ds.index")
    assert "document 1: token id 60000" in refused(tmp_path / "wide.ds", *tokenizer)
    assert "misaligned" in refused(tmp_path / "wide.ds", *tokenizer)


def test_overwriting_and_verifying(goldfish, data):
    memmap = data / "olmo/part-0-00000.npy"
    goldfish.run("mask", memmap, "--masks-only")
    first = beside(memmap)
    assert "--overwrite" in goldfish.run("mask", memmap, "--masks-only", "--seed", 1, expect=2).stderr
    assert beside(memmap) == first
    goldfish.run("mask", memmap, "--masks-only", "--seed", 1, "--overwrite")
    assert beside(memmap) != first
    assert "sound" in goldfish.run("verify", data / "olmo").stdout
    ids = np.fromfile(memmap, "<u2")
    ids[77] += 1
    ids.tofile(memmap)
    assert "of what it held before" in goldfish.run("verify", data / "olmo", expect=1).stdout


def test_masks_of_other_memmaps_stay(goldfish, tmp_path):
    """A run on one memmap never removes the mask of another."""
    for name in ("a", "b"):
        (np.arange(900) * 7919 % 5000).astype("<u2").tofile(tmp_path / f"{name}.npy")
    goldfish.run("mask", tmp_path / "a.npy", "--masks-only", *EOS)
    before = folder_bytes(tmp_path)
    message = goldfish.run("mask", tmp_path / "b.npy", "--masks-only", "--overwrite", *EOS, expect=2).stderr
    assert "a.npy.loss is the mask of a memmap that is not among the inputs" in message
    assert folder_bytes(tmp_path) == before and not list(tmp_path.glob(".*"))
    goldfish.run("mask", tmp_path / "a.npy", tmp_path / "b.npy", "--masks-only", "--overwrite", *EOS)
    assert {"a.npy.loss", "b.npy.loss"} < set(folder_bytes(tmp_path))
    # A mask that was removed by hand is no obstacle.
    (tmp_path / "a.npy.loss").unlink()
    goldfish.run("mask", tmp_path / "b.npy", "--masks-only", "--overwrite", *EOS)
    assert "sound" in goldfish.run("verify", tmp_path).stdout


def test_masks_are_not_read_as_tokens(goldfish, data, tmp_path):
    """Neither from a separate folder nor from an export; masks beside tokens do not hide tokens."""
    goldfish.run("mask", data / "olmo", "--masks-only", *EOS)
    goldfish.run("mask", data / "olmo", "--masks-only", "--output", tmp_path / "masks", *EOS)
    message = goldfish.run("mask", tmp_path / "masks", "--output", tmp_path / "no", *EOS, expect=2).stderr
    assert "only masks and exports of goldfish" in message
    shards = goldfish.mask(data / "olmo", tmp_path / "shards", *EOS)
    tokens = sum(shards.ids, [])
    shutil.copytree(tmp_path / "masks", data / "olmo/masks")
    for layout in ("olmo", "megatron", "megatron-labels"):
        goldfish.run("export", shards.folder, "--to", layout, "--output", tmp_path / layout)
        width = ["--ids-dtype", "uint32"] if layout == "olmo" else []
        again = goldfish.mask(tmp_path / layout, tmp_path / f"{layout}-again", *EOS, *width)
        assert sum(again.ids, []) == tokens, layout
        hidden = {"olmo": "label_mask", "megatron": "mask.bin", "megatron-labels": "labels.bin"}[layout]
        assert f"{hidden} is not read: goldfish wrote it" in again.process.stderr
        shutil.copytree(tmp_path / layout, data / "olmo" / layout)
    parent = goldfish.mask(data / "olmo", tmp_path / "parent", *EOS)
    assert parent.ids == shards.ids and parent.process.stderr.count("goldfish wrote it") == 4
    # The manifest beside the tokens does not hide them.
    above = goldfish.mask([data / "olmo", data / "olmo-bare"], tmp_path / "above", *EOS)
    goldfish.run("mask", data / "olmo-bare", "--masks-only", *EOS)
    (tmp_path / "both").mkdir()
    for name in ("olmo", "olmo-bare"):
        shutil.copytree(data / name, tmp_path / "both" / name)
    assert goldfish.mask(tmp_path / "both", tmp_path / "both-out", *EOS).ids == above.ids


def test_tokens_are_never_replaced(goldfish, data, tmp_path):
    """Even if a manifest beside them lists them, as that of an export does."""
    shards = goldfish.mask(data / "olmo", tmp_path / "shards", *EOS)
    exported = tmp_path / "exported"
    goldfish.run("export", shards.folder, "--to", "datatrove", "--output", exported)
    before = folder_bytes(exported)
    goldfish.run("mask", exported, "--masks-only", "--overwrite", "--seed", 9)
    now = folder_bytes(exported)
    assert set(now) == set(before)
    changed = {name for name in now if now[name] != before[name]}
    assert changed == {"goldfish.json", "00000_goldfish.ds.loss"}
    # An export refuses a folder with data.
    refused = goldfish.run("export", shards.folder, "--to", "olmo", "--output", exported, "--overwrite", expect=2)
    assert "memmaps with their masks" in refused.stderr and folder_bytes(exported) == now


def test_a_killed_run_leaves_no_mask(goldfish, tmp_path):
    """A killed run leaves the data unchanged, and all masks or none; or some without the manifest, for the next run to complete."""
    ids = (np.arange(6_000_000) * 2_654_435_761 % 50_000).astype("<u2")
    for name in ("a", "b"):
        ids.tofile(tmp_path / f"{name}.ds")
        np.arange(1000, len(ids) + 1, 1000, dtype="<u8").tofile(tmp_path / f"{name}.ds.index")
    before = {p.name for p in tmp_path.iterdir()}
    whole = {"a.ds.loss", "b.ds.loss", "goldfish.json"}
    killed = 0
    for wait in (0.02, 0.05, 0.1, 0.2, 0.4):
        overwrite = ["--overwrite"] if killed else []
        process = Popen([goldfish.binary, "mask", tmp_path, "--masks-only", "--json", *overwrite])
        time.sleep(wait)
        process.kill()
        if process.wait() == 0:
            break
        killed += 1
        visible = {p.name for p in tmp_path.iterdir() if not p.name.startswith(".")} - before
        # The masks get their names one after the other, the manifest last.
        assert visible == whole or visible <= whole - {"goldfish.json"}
    assert killed
    goldfish.run("mask", tmp_path, "--masks-only", "--overwrite")
    assert {p.name for p in tmp_path.iterdir()} - before == whole
    masks = [(tmp_path / f"{name}.ds.loss").read_bytes() for name in ("a", "b")]
    assert masks[0] == masks[1] and len(masks[0]) == len(ids)


RESUMED = ["--context", 5, "--k", 3]


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Eight memmaps of three layouts, with packed sequences across files."""
    folder = tmp_path_factory.mktemp("many")
    for number in range(8):
        ids = (np.arange(1_500_000 + number * 77_777) * (2_654_435_761 + number) % 50_000).astype("<u2")
        place = folder / f"part-{number % 2}" / f"{number}.ds"
        place.parent.mkdir(exist_ok=True)
        ids.tofile(place)
        ends = np.append(np.arange(1000, len(ids), 1000, dtype="<u8"), np.uint64(len(ids)))
        ends.tofile(f"{place}.index")
    return folder


@pytest.mark.parametrize("scope", [[], ["--scope", "sequence", "--sequence-length", 777, "--rule", "hash"]])
@pytest.mark.parametrize("beside", [True, False])
def test_killed_runs_are_resumed(goldfish, many, tmp_path, scope, beside):
    """A run that is killed and resumed many times writes the bytes of an uninterrupted one."""
    data, own = tmp_path / "data", tmp_path / "own"
    shutil.copytree(many, data)
    goldfish.run("mask", many, "--masks-only", "--output", tmp_path / "expected", *RESUMED, *scope)
    expected = folder_bytes(tmp_path / "expected")
    command = ["mask", data, "--masks-only", *RESUMED, *scope, *([] if beside else ["--output", own])]
    dice = random.Random(5)
    kills = resumed = 0
    for number in range(40):
        process = Popen([goldfish.binary, *map(str, command), "--resume"], stdout=DEVNULL, stderr=PIPE, text=True)
        try:
            # More time after each kill, in case the machine is busy.
            process.wait(dice.uniform(0.01, 0.12 * (1 + number / 8)))
        except TimeoutExpired:
            kills += 1
        process.kill()
        stderr = process.communicate()[1]
        resumed += "resuming after the masks of" in stderr
        if process.returncode == 0:
            break
        # Files with their final names are complete, even just before the end.
        root = data if beside else own
        visible = [p for p in root.rglob("*.loss") if ".goldfish-partial" not in p.parts] if root.exists() else []
        assert all(p.read_bytes() == expected[str(p.relative_to(root))] for p in visible)
    goldfish.run(*command, "--resume")
    assert kills and resumed, f"{kills} kills, {resumed} resumed"
    found = folder_bytes(data if beside else own)
    masks = {name: bytes for name, bytes in expected.items() if name.endswith(".loss")}
    assert {name: found[name] for name in masks} == masks
    if not beside:
        assert found == expected
    assert "sound" in goldfish.run("verify", data if beside else own).stdout
    # A finished run has nothing to do, and other options are refused.
    goldfish.run(*command, "--resume")
    refused = goldfish.run(*command, "--seed", 9, "--resume", expect=2)
    assert "seed" in refused.stderr and folder_bytes(data if beside else own) == found


def test_changed_inputs_are_not_resumed(goldfish, many, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(many, data)
    stopped = Popen([goldfish.binary, "mask", str(data), "--masks-only"], stdout=DEVNULL, stderr=PIPE, text=True)
    journal = data / ".goldfish-partial/journal"
    while not journal.exists() and stopped.poll() is None:
        time.sleep(0.001)
    stopped.send_signal(signal.SIGINT)
    stderr = stopped.communicate()[1]
    assert stopped.returncode == 2 and "--resume" in stderr, stderr
    refused = goldfish.run("mask", data, "--masks-only", expect=2).stderr
    assert "unfinished run" in refused and "--resume" in refused
    refused = goldfish.run("mask", data, "--masks-only", "--seed", 3, "--resume", expect=2).stderr
    assert "keep --seed as it was" in refused
    first = data / "part-0/0.ds"
    before = first.read_bytes()
    first.write_bytes(bytes([before[0] ^ 1]) + before[1:])
    refused = goldfish.run("mask", data, "--masks-only", "--resume", expect=2).stderr
    assert "0.ds" in refused and "not those that were read before" in refused
    first.write_bytes(before)
    staged = data / ".goldfish-partial/file-00000"
    kept = staged.read_bytes()
    staged.write_bytes(kept[:-1])
    refused = goldfish.run("mask", data, "--masks-only", "--resume", expect=2).stderr
    assert "another size" in refused
    staged.write_bytes(kept)
    goldfish.run("mask", data, "--masks-only", "--resume")
    assert "sound" in goldfish.run("verify", data).stdout
