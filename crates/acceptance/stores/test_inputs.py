"""Corpora in stores: the shards equal those of the same files on disk, byte for byte."""

import json
import shutil

import pytest

from stores.fixtures import files, upload
from stores.servers import Web, certificates

IDS = ["--ids-column", "input_ids"]
WITH_ID = [*IDS, "--id-column", "id"]

# Input below fixtures/formats, files to upload, arguments.
FORMATS = [
    ("ids.jsonl", ["ids.jsonl"], WITH_ID),
    ("ids-list-i32.parquet", ["ids-list-i32.parquet"], WITH_ID),
    ("ids-large-list-i64.parquet", ["ids-large-list-i64.parquet"], IDS),
    ("packed-u16.parquet", ["packed-u16.parquet"], IDS),
    ("ids-stream.arrow", ["ids-stream.arrow"], WITH_ID),
    ("ids-file.arrow", ["ids-file.arrow"], WITH_ID),
    ("ids.feather", ["ids.feather"], WITH_ID),
    ("megatron/ids-u16.bin", ["megatron/ids-u16.bin", "megatron/ids-u16.idx"], []),
    ("megatron/ids-i32.idx", ["megatron/ids-i32.bin", "megatron/ids-i32.idx"], []),
    ("olmo/part-0-00000.npy", ["olmo/part-0-00000.npy", "olmo/part-0-00000.csv.gz"], []),
    ("olmo-bare/part-0-00000.npy", ["olmo-bare/part-0-00000.npy"], ["--eos-id", "2"]),
    ("datatrove/00000_u16.ds", ["datatrove/00000_u16.ds", "datatrove/00000_u16.ds.index"], ["--ids-dtype", "uint16"]),
    ("docs.jsonl", ["docs.jsonl"], None),
    ("docs.jsonl.gz", ["docs.jsonl.gz"], None),
    ("docs.jsonl.zst", ["docs.jsonl.zst"], None),
    ("docs.parquet", ["docs.parquet"], None),
    ("docs-text/003-prose-009.txt", ["docs-text/003-prose-009.txt"], None),
]


@pytest.fixture(scope="module")
def text(fixtures):
    return ["--tokenizer", fixtures / "tokenizers/gpt2.json"]


@pytest.fixture(params=["amazon", "azure", "google", "web"])
def store(request):
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("path, needed, arguments", FORMATS, ids=[path for path, _, _ in FORMATS])
def test_every_format(goldfish, fixtures, store, text, tmp_path, path, needed, arguments):
    arguments = text if arguments is None else arguments
    for name in needed:
        store.put(f"formats/{name}", (fixtures / "formats" / name).read_bytes())
    expected = goldfish.mask(fixtures / "formats" / path, tmp_path / "disk", *arguments)
    found = goldfish.mask(
        f"{store.root}/formats/{path}", tmp_path / "store", *arguments, variables=store.variables()
    )
    assert found == expected
    assert json.loads(found["manifest.json"])["totals"]["documents_out"] > 0


@pytest.fixture(scope="module")
def tree(fixtures, tmp_path_factory):
    """A folder with subfolders, and with files that are not read."""
    folder = tmp_path_factory.mktemp("tree") / "corpus"
    for name in ["ids.jsonl", "ids-list-i32.parquet", "ids-stream.arrow"]:
        (folder / "one/two").mkdir(parents=True, exist_ok=True)
        shutil.copy(fixtures / "formats" / name, folder / "one/two" / name)
    shutil.copy(fixtures / "formats/ids.jsonl", folder / "a b+c%20#1.jsonl")
    shutil.copy(fixtures / "formats/ids.jsonl", folder / "one/grün.jsonl")
    (folder / "one/.hidden.jsonl").write_text("{}\n")
    (folder / "_logs").mkdir()
    shutil.copy(fixtures / "formats/ids.jsonl", folder / "_logs/x.jsonl")
    (folder / "README").write_text("not a corpus\n")
    return folder


@pytest.fixture(params=["amazon", "azure", "google"])
def bucket(request):
    return request.getfixturevalue(request.param)


def test_folders_and_globs(goldfish, bucket, tree, tmp_path):
    url = upload(tree, bucket, "trees/corpus")
    for number, pattern in enumerate(
        ["", "/one", "/one/two/*", "/**/*.jsonl", "/o?e/*.jsonl", "/[ao]*", "/one/two/ids.jsonl", "/*/two"]
    ):
        expected = goldfish.mask(f"{tree}{pattern}", tmp_path / f"disk-{number}", *IDS)
        found = goldfish.mask(f"{url}{pattern}", tmp_path / f"store-{number}", *IDS, variables=bucket.variables())
        assert found == expected, pattern
    if bucket.root.startswith("s3:"):
        # Some tools create empty objects that represent folders.
        for key in ["trees/corpus/", "trees/corpus/one/"]:
            bucket.put(key, b"")
    slash = goldfish.mask(f"{url}/", tmp_path / "slash", *IDS, variables=bucket.variables())
    assert slash == files(tmp_path / "disk-0")
    told = goldfish.run("mask", url, "--output", tmp_path / "told", *IDS, variables=bucket.variables())
    assert f"{url}/README" in told.stderr


def test_many_files_of_one_folder(goldfish, amazon, tmp_path):
    """More files than a page of a listing, and more than the number of concurrent requests."""
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(1100):
        (folder / f"{number:04}.jsonl").write_text(json.dumps({"input_ids": [number, 5, 9]}) + "\n")
    url = upload(folder, amazon, "many")
    arguments = [*IDS, "--rule", "hash", "--context", "2"]
    expected = goldfish.mask(folder, tmp_path / "disk", *arguments)
    assert goldfish.mask(url, tmp_path / "store", *arguments, variables=amazon.variables()) == expected


def test_several_stores_and_a_disk_in_one_run(goldfish, amazon, web, fixtures, tmp_path):
    for store in (amazon, web):
        store.put("several/ids.jsonl", (fixtures / "formats/ids.jsonl").read_bytes())
    inputs = [f"{amazon.root}/several/ids.jsonl", f"{web.root}/several/ids.jsonl", fixtures / "formats/ids.jsonl"]
    found = goldfish.mask(inputs, tmp_path / "out", *IDS, variables=amazon.variables())
    names = [entry["name"] for entry in json.loads(found["manifest.json"])["inputs"]]
    assert names[:2] == inputs[:2]
    hashes = {entry["hash"] for entry in json.loads(found["manifest.json"])["inputs"]}
    assert len(hashes) == 1


def test_a_web_server_that_redirects(goldfish, web, fixtures, tmp_path):
    web.put("ids.jsonl", (fixtures / "formats/ids.jsonl").read_bytes())
    expected = goldfish.mask(fixtures / "formats/ids.jsonl", tmp_path / "disk", *IDS)
    assert goldfish.mask(f"{web.root}/moved/ids.jsonl", tmp_path / "store", *IDS) == expected


def test_a_web_server_with_a_certificate(goldfish, large, tmp_path):
    authority, certificate = certificates(tmp_path)
    web = Web(large, certificate=certificate)
    expected = goldfish.mask(large / "a.jsonl", tmp_path / "disk", *WITH_ID)
    url = f"{web.root}/a.jsonl"
    assert url.startswith("https://")
    variables = {"SSL_CERT_FILE": str(authority)}
    assert goldfish.mask(url, tmp_path / "store", *WITH_ID, variables=variables) == expected
    # Otherwise the server is not trusted.
    told = goldfish.run("mask", url, "--output", tmp_path / "refused", *WITH_ID, expect=2)
    assert "certificate" in told.stderr and not (tmp_path / "refused").exists()


def test_objects_of_many_requests(goldfish, amazon, large, large_url, tmp_path):
    expected = goldfish.mask(large, tmp_path / "disk", *WITH_ID, "--shard-size", "4MiB")
    found = goldfish.mask(large_url, tmp_path / "store", *WITH_ID, "--shard-size", "4MiB", variables=amazon.variables())
    assert found == expected
    assert len([name for name in found if name.endswith(".arrow")]) > 2
    one = goldfish.mask(
        large_url, tmp_path / "one", *WITH_ID, "--shard-size", "4MiB", "--threads", 1, variables=amazon.variables()
    )
    assert one == expected


def test_a_divided_run_equals_that_of_a_disk(goldfish, amazon, large, large_url, tmp_path):
    for place, inputs in [("disk", large), ("store", large_url)]:
        for rank in range(3):
            part = ["--rank", rank, "--world", 3, "--output", tmp_path / place]
            goldfish.run("mask", inputs, *WITH_ID, *part, variables=amazon.variables())
        parts = sorted((tmp_path / place).iterdir())
        goldfish.run("merge", *parts, "--output", tmp_path / f"{place}-merged")
    assert files(tmp_path / "store") == files(tmp_path / "disk")
    assert files(tmp_path / "store-merged") == files(tmp_path / "disk-merged")


def test_a_run_is_resumed(goldfish, amazon, large, tmp_path):
    """A bad row ends the run; a run that skips it resumes after the finished shards."""
    folder = tmp_path / "corpus"
    shutil.copytree(large, folder)
    with open(folder / "b/c.jsonl", "a") as file:
        file.write("not JSON\n")
    url = upload(folder, amazon, "resume")
    arguments = [*WITH_ID, "--shard-size", "2MiB"]
    goldfish.mask(folder, tmp_path / "disk", *arguments, "--on-error", "skip", expect=1)
    output = tmp_path / "store"
    stopped = goldfish.run(
        "mask", url, *arguments, "--output", output, variables=amazon.variables(), expect=2
    )
    assert "--resume" in stopped.stderr and "c.jsonl" in stopped.stderr
    goldfish.run(
        *["mask", url, *arguments, "--output", output, "--on-error", "skip", "--resume"],
        variables=amazon.variables(),
        expect=1,
    )
    assert files(output) == files(tmp_path / "disk")

    # A finished run is compared with the objects that are in the store now.
    again = ["mask", url, *arguments, "--output", output, "--on-error", "skip", "--resume"]
    goldfish.run(*again, variables=amazon.variables(), expect=1)
    text = (folder / "a.jsonl").read_bytes()
    place = text.index(b"input_ids") + 14
    amazon.put("resume/a.jsonl", text[:place] + (b"1" if text[place : place + 1] != b"1" else b"2") + text[place + 1 :])
    changed = goldfish.run(*again, variables=amazon.variables(), expect=2)
    assert "not those that were read before" in changed.stderr and "s3://corpus/resume/a.jsonl" in changed.stderr


def test_memmaps_are_masked_into_a_folder(goldfish, amazon, fixtures, tmp_path):
    for name in ["part-0-00000.npy", "part-0-00000.csv.gz"]:
        amazon.put(f"memmaps/{name}", (fixtures / "formats/olmo" / name).read_bytes())
    url = "s3://corpus/memmaps"
    expected = goldfish.mask(fixtures / "formats/olmo", tmp_path / "disk", "--masks-only")
    found = goldfish.mask(url, tmp_path / "store", "--masks-only", variables=amazon.variables())
    assert found == expected
