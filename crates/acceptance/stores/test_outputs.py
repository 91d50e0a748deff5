"""Outputs in stores: the same bytes as on a disk, despite failures."""

import itertools
import json
import os
import random
import re
import shutil
import signal
import subprocess
import time

import pytest
import yaml

from conftest import REPOSITORY
from stores.fixtures import files, upload
from stores.proxy import Faults, Proxy

STORES = ["amazon", "azure"]
IDS = ["--rule", "hash", "--on-error", "skip"]
SMALL_SHARDS = [*IDS, "--shard-size", "60KiB"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Token ids with some rejected rows: about 25 shards of 60 KiB."""
    folder = tmp_path_factory.mktemp("ids")
    dice = random.Random(5)
    for name in ("a", "b", "c"):
        rows = [json.dumps({"input_ids": dice.choices(range(5000), k=dice.randrange(400))}) for _ in range(500)]
        for row in (3, 250, 498):
            rows[row] = '{"input_ids": [1, -1]}'
        (folder / f"{name}.jsonl").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture(scope="module")
def expected(goldfish, corpus, tmp_path_factory):
    found = goldfish.mask(corpus, tmp_path_factory.mktemp("disk") / "out", *SMALL_SHARDS, expect=1)
    assert len([name for name in found if name.startswith("data-")]) > 20
    return found


numbers = itertools.count()


@pytest.fixture
def prefix():
    """A unique prefix in a store."""
    return f"out-{next(numbers)}/run"


def objects(store, prefix):
    """Objects below a prefix, by their relative names."""
    return {key[len(prefix) + 1 :]: store.get(key) for key in store.keys(f"{prefix}/")}


def uploads(store):
    """Unfinished multipart uploads, if the server lists them."""
    return store.client.list_multipart_uploads(Bucket="corpus").get("Uploads", []) if hasattr(store, "client") else []


def check(store, prefix, expected):
    """The store contains the files of a disk and nothing else."""
    found = objects(store, prefix)
    assert found.keys() == expected.keys(), sorted(found.keys() ^ expected.keys())
    assert [name for name in found if found[name] != expected[name]] == []
    assert uploads(store) == []


class Run:
    """A background process."""

    def __init__(self, goldfish, *arguments, variables, cwd=None):
        command = [str(goldfish.binary), *map(str, arguments)]
        self.process = subprocess.Popen(
            command, env=variables, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )

    def wait_for(self, condition):
        deadline = time.monotonic() + 120
        while not condition():
            assert self.process.poll() is None, self.process.communicate()[1]
            assert time.monotonic() < deadline, "it took two minutes"
            time.sleep(0.002)

    def stop_at(self, condition):
        """Stops it once a condition holds."""
        self.wait_for(condition)
        self.process.send_signal(signal.SIGSTOP)

    def end(self):
        error = self.process.communicate(timeout=300)[1]
        assert "panicked" not in error
        return self.process.returncode, error


def records(store, prefix):
    return len(store.keys(f"{prefix}/.partial/journal-"))


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("output_format", ["arrow-stream", "arrow-file", "parquet"])
def test_the_bytes_equal_those_of_a_disk(goldfish, amazon, corpus, prefix, tmp_path, output_format, threads):
    options = [*SMALL_SHARDS, "--output-format", output_format, "--columns", "labels"]
    expected = goldfish.mask(corpus, tmp_path / "out", *options, expect=1)
    url, variables = f"{amazon.root}/{prefix}", amazon.variables()
    goldfish.run("mask", corpus, "--output", url, *options, "--threads", threads, variables=variables, expect=1)
    check(amazon, prefix, expected)
    result = goldfish.run("verify", url, "--recompute", variables=variables)
    assert "sound" in result.stdout and url in result.stdout


@pytest.mark.parametrize("store", STORES)
def test_every_store(goldfish, request, corpus, expected, prefix, store):
    store = request.getfixturevalue(store)
    url, variables = f"{store.root}/{prefix}", store.variables()
    command = ["mask", corpus, "--output", url]
    goldfish.run(*command, *SMALL_SHARDS, "--k", "3", variables=variables, expect=1)
    result = goldfish.run(*command, *SMALL_SHARDS, variables=variables, expect=2)
    assert "holds shards already" in result.stderr and "--overwrite" in result.stderr
    goldfish.run(*command, *SMALL_SHARDS, "--overwrite", variables=variables, expect=1)
    check(store, prefix, expected)
    # There is nothing to resume.
    goldfish.run(*command, *SMALL_SHARDS, "--resume", variables=variables, expect=1)
    check(store, prefix, expected)
    goldfish.run("verify", url, variables=variables)
    # A run that is killed, and one that resumes it.
    again = f"{prefix}-killed"
    run = Run(goldfish, "mask", corpus, "--output", f"{store.root}/{again}", *SMALL_SHARDS, variables=variables)
    run.wait_for(lambda: records(store, again) > 3)
    run.process.kill()
    run.end()
    result = goldfish.run(
        "mask", corpus, "--output", f"{store.root}/{again}", *SMALL_SHARDS, "--resume", variables=variables, expect=1
    )
    assert "resuming after" in result.stderr
    check(store, again, expected)


def test_a_shard_of_many_parts(goldfish, amazon, large, prefix, tmp_path):
    options = ["--rule", "hash", "--columns", "labels", "--shard-size", "1GiB"]
    expected = goldfish.mask(large, tmp_path / "out", *options)
    assert max(map(len, expected.values())) > 20 << 20, "more than one part"
    # The responses that complete the uploads are lost: on retry, the store has no such upload.
    faults = Faults("break", only=lambda method, path: method == "POST" and "uploadId=" in path)
    with Proxy(amazon.port, faults) as proxy:
        variables = amazon.variables(proxy.endpoint)
        goldfish.run("mask", large, "--output", f"{amazon.root}/{prefix}", *options, variables=variables)
    assert faults.made == 1
    check(amazon, prefix, expected)


def test_stopped_by_a_signal_while_a_shard_is_uploaded(goldfish, amazon, large, prefix):
    options = ["--rule", "hash", "--columns", "labels", "--shard-size", "1GiB"]
    command = ["mask", large, "--output", f"{amazon.root}/{prefix}", *options]
    run = Run(goldfish, *command, variables=amazon.variables())
    run.wait_for(lambda: uploads(amazon))
    run.process.send_signal(signal.SIGINT)
    status, error = run.end()
    assert status == 2 and "run the same command again" in error, error
    assert objects(amazon, prefix) == {} and uploads(amazon) == []


KILLS = 12


def test_killed_at_random_moments(goldfish, amazon, corpus, expected, prefix, tmp_path):
    """Each run is killed at least once and resumed from another folder, as by another machine."""
    dice = random.Random(3)
    variables = amazon.variables()
    url = f"{amazon.root}/{prefix}"
    started = time.monotonic()
    goldfish.run("mask", corpus, "--output", f"{url}-whole", *SMALL_SHARDS, variables=variables, expect=1)
    seconds = time.monotonic() - started
    kills = resumed = 0
    for number in itertools.count():
        if kills >= KILLS:
            break
        command = ["mask", corpus, "--output", f"{url}-{number}", *SMALL_SHARDS, "--resume"]
        for _ in range(dice.choice([1, 1, 2, 3])):
            here = tmp_path / f"{number}-{kills}"
            here.mkdir(exist_ok=True)
            run = Run(goldfish, *command, variables=variables, cwd=here)
            try:
                run.process.wait(dice.uniform(0, seconds * 1.1))
            except subprocess.TimeoutExpired:
                kills += 1
            run.process.kill()
            run.end()
            visible = {name for name in objects(amazon, f"{prefix}-{number}") if not name.startswith(".partial/")}
            assert "manifest.json" not in visible or visible == expected.keys()
        # Multipart uploads of a killed run stay until a lifecycle rule removes them; these shards are too small for any.
        result = goldfish.run(*command, variables=variables, expect=1, cwd=tmp_path)
        resumed += "resuming after" in result.stderr
        check(amazon, f"{prefix}-{number}", expected)
    assert resumed > 2, f"{kills} kills, but {resumed} resumed after a finished shard"


def test_a_run_that_is_taken_over_stops(goldfish, amazon, corpus, expected, prefix):
    variables = amazon.variables()
    command = ["mask", corpus, "--output", f"{amazon.root}/{prefix}", *SMALL_SHARDS]
    run = Run(goldfish, *command, variables=variables)
    run.stop_at(lambda: records(amazon, prefix) > 4)
    result = goldfish.run(*command, variables=variables, expect=2)
    assert f"unfinished run (process {run.process.pid} on " in result.stderr and "--resume" in result.stderr
    result = goldfish.run(*command, "--resume", variables=variables, expect=1)
    assert "resuming after" in result.stderr
    run.process.send_signal(signal.SIGCONT)
    status, error = run.end()
    assert status == 2 and "another goldfish is writing to it" in error, error
    # The shard that was being uploaded is removed.
    check(amazon, prefix, expected)


def test_two_concurrent_runs(goldfish, amazon, corpus, expected, prefix):
    """In any order, at most one run finishes, others say why they stop, and the output is valid."""
    variables = amazon.variables()
    for number in range(4):
        command = ["mask", corpus, "--output", f"{amazon.root}/{prefix}-{number}", *SMALL_SHARDS, "--resume"]
        runs = [Run(goldfish, *command, variables=variables)]
        time.sleep(number * 0.15)
        runs.append(Run(goldfish, *command, variables=variables))
        ends = [run.end() for run in runs]
        for status, error in ends:
            assert status == 1 or "another goldfish is writing to it" in error, error
        goldfish.run(*command, variables=variables, expect=1)
        check(amazon, f"{prefix}-{number}", expected)


@pytest.mark.parametrize("kind", [503, 500, "reset", "break", "hang"])
def test_failed_requests_are_retried(goldfish, amazon, corpus, expected, prefix, kind):
    """`break` and `hang` lose the response of a completed request: its retry finds the result."""
    dice = random.Random(1)
    is_removal = lambda method, path: method == "DELETE" or (method == "POST" and "delete" in path)
    share = 0.1 if kind == "hang" else 0.4
    mine = lambda method, path: is_removal(method, path) or (prefix in path and dice.random() < share)
    faults = Faults(kind, only=mine)
    url = f"{amazon.root}/{prefix}"
    with Proxy(amazon.port, faults) as proxy:
        variables = {"AWS_READ_TIMEOUT": "1 second", **amazon.variables(proxy.endpoint)}
        goldfish.run("mask", corpus, "--output", url, *SMALL_SHARDS, variables=variables, expect=1)
        check(amazon, prefix, expected)
        goldfish.run("verify", url, variables=variables)
    assert faults.made > 50 * share
    assert {method for method, _ in faults.seen_requests()} >= {"GET", "HEAD", "PUT"}
    assert any(is_removal(*request) for request in faults.seen_requests())


@pytest.mark.parametrize("allowed", [0, 3, 12, 40, 75, 90])
def test_a_store_that_starts_to_refuse(goldfish, amazon, corpus, expected, prefix, allowed):
    """As with expired credentials. The run is then resumed."""
    seen = itertools.count()
    faults = Faults(403, times=1000, only=lambda method, path: prefix in path and next(seen) >= allowed)
    command = ["mask", corpus, "--output", f"{amazon.root}/{prefix}", *SMALL_SHARDS]
    with Proxy(amazon.port, faults) as proxy:
        result = goldfish.run(*command, variables=amazon.variables(proxy.endpoint), expect=2)
    assert prefix in result.stderr and "refused" in result.stderr, result.stderr
    visible = [name for name in objects(amazon, prefix) if not name.startswith(".partial/")]
    assert "manifest.json" not in visible
    goldfish.run(*command, "--resume", variables=amazon.variables(), expect=1)
    check(amazon, prefix, expected)


def test_nothing_but_complete_sets_is_ever_visible(goldfish, amazon, corpus, expected, prefix):
    """Checks before every request that a manifest implies all of its shards."""
    looked = set()

    def look(*_):
        manifest = manifest_of(amazon, prefix)
        listed = amazon.client.list_objects_v2(Bucket="corpus", Prefix=f"{prefix}/", Delimiter="/")
        if manifest is None or manifest != manifest_of(amazon, prefix):
            return
        sizes = {entry["Key"].rsplit("/", 1)[1]: entry["Size"] for entry in listed.get("Contents", [])}
        try:
            for shard in json.loads(manifest)["shards"]:
                assert sizes.get(shard["name"]) == shard["size"], (shard, sizes)
            looked.add(manifest)
        except AssertionError as error:
            faults.append(error)

    faults = []
    options = [*SMALL_SHARDS, "--output", f"{amazon.root}/{prefix}"]
    with Proxy(amazon.port, before=look) as proxy:
        variables = amazon.variables(proxy.endpoint)
        # The second set has as many shards as the first, with the same names.
        goldfish.run("mask", corpus, *options, "--seed", "4", variables=variables, expect=1)
        goldfish.run("mask", corpus, *options, "--overwrite", variables=variables, expect=1)
        look()
    assert faults == []
    assert len(looked) == 2, "both sets were seen"
    check(amazon, prefix, expected)


def manifest_of(amazon, prefix):
    try:
        return amazon.get(f"{prefix}/manifest.json")
    except amazon.client.exceptions.NoSuchKey:
        return None


@pytest.mark.parametrize("allowed", [60, 70, 80])
def test_an_old_set_is_restored_if_the_new_one_can_not_be_published(
    goldfish, amazon, corpus, expected, prefix, allowed
):
    """Copies to final names are refused from some point on; all other requests succeed."""
    variables = amazon.variables()
    command = ["mask", corpus, "--output", f"{amazon.root}/{prefix}", *IDS]
    goldfish.run(*command, "--shard-size", "60KiB", variables=variables, expect=1)
    seen = itertools.count()

    def refuse(method, path):
        return method == "PUT" and f"{prefix}/data-" in path and next(seen) == allowed - 60

    with Proxy(amazon.port, Faults(403, only=refuse)) as proxy:
        again = [*command, "--shard-size", "50KiB", "--overwrite"]
        result = goldfish.run(*again, variables=amazon.variables(proxy.endpoint), expect=2)
    assert "--resume" in result.stderr, result.stderr
    found = {name: data for name, data in objects(amazon, prefix).items() if not name.startswith(".partial/")}
    assert found == expected
    goldfish.run(*command, "--shard-size", "50KiB", "--resume", variables=variables, expect=1)
    goldfish.run("verify", f"{amazon.root}/{prefix}", variables=variables)
    assert not any(name.startswith(".partial/") for name in objects(amazon, prefix))


def test_verify_finds_defects(goldfish, amazon, corpus, expected, prefix):
    url, variables = f"{amazon.root}/{prefix}", amazon.variables()
    goldfish.run("mask", corpus, "--output", url, *SMALL_SHARDS, variables=variables, expect=1)
    shards = sorted(name for name in expected if name.startswith("data-"))
    key, whole = f"{prefix}/{shards[4]}", expected[shards[4]]

    def faults():
        result = goldfish.run("verify", url, "--json", variables=variables, expect=1)
        return [(fault["file"], fault["fault"]) for fault in json.loads(result.stdout)["faults"]]

    flipped = bytearray(whole)
    flipped[len(flipped) // 2] ^= 4
    amazon.put(key, bytes(flipped))
    [(file, fault)] = faults()
    assert file == shards[4] and fault.startswith("hash ")
    amazon.client.delete_object(Bucket="corpus", Key=key)
    assert faults() == [(shards[4], "missing")]
    amazon.put(key, expected[shards[5]])
    amazon.put(f"{prefix}/{shards[5]}", whole)
    assert [file for file, _ in faults()] == shards[4:6], "two that changed places"
    amazon.put(key, whole)
    amazon.put(f"{prefix}/{shards[5]}", expected[shards[5]])
    amazon.put(f"{prefix}/data-99998-of-99999.arrow", whole)
    assert faults() == [("data-99998-of-99999.arrow", "not in the manifest")]
    amazon.client.delete_object(Bucket="corpus", Key=f"{prefix}/data-99998-of-99999.arrow")
    goldfish.run("verify", url, variables=variables)


def test_shards_of_a_store_are_read_like_those_of_a_disk(goldfish, amazon, corpus, prefix, tmp_path):
    url, variables = f"{amazon.root}/{prefix}", amazon.variables()
    goldfish.mask(corpus, tmp_path / "out", *SMALL_SHARDS, expect=1)
    goldfish.run("mask", corpus, "--output", url, *SMALL_SHARDS, variables=variables, expect=1)
    result = [goldfish.run("inspect", where, "--json", variables=variables).stdout for where in (url, tmp_path / "out")]
    assert result[0].replace(url, str(tmp_path / "out")) == result[1]
    for name, where in (("store", url), ("disk", tmp_path / "out")):
        goldfish.run("export", where, "--to", "olmo", "--output", tmp_path / name, variables=variables)
    assert files(tmp_path / "store") == files(tmp_path / "disk")
    result = goldfish.run("export", url, "--to", "olmo", "--output", f"{url}-olmo", variables=variables, expect=2)
    assert "disk only" in result.stderr
    assert amazon.keys(f"{prefix}-olmo") == []


def test_divided_and_merged(goldfish, amazon, corpus, prefix, tmp_path):
    url, variables = f"{amazon.root}/{prefix}", amazon.variables()
    ranks = range(3)
    for rank in ranks:
        share = ["--rank", rank, "--world", 3]
        for output in (tmp_path / "parts", f"{url}/parts"):
            command = ["mask", corpus, "--output", output, *SMALL_SHARDS, *share]
            goldfish.run(*command, variables=variables, expect=1)
    parts = sorted((tmp_path / "parts").iterdir())
    goldfish.run("merge", *parts, "--output", tmp_path / "merged", expect=1)
    expected = files(tmp_path / "merged")
    result = goldfish.run("merge", f"{url}/parts/rank-*", "--output", f"{url}/merged", variables=variables, expect=1)
    assert "3 parts" in result.stdout
    check(amazon, f"{prefix}/merged", expected)
    # Parts on a disk merged into a store, and the reverse.
    goldfish.run("merge", *parts, "--output", f"{url}/from-disk", variables=variables, expect=1)
    check(amazon, f"{prefix}/from-disk", expected)
    goldfish.run("merge", f"{url}/parts/rank-*", "--output", tmp_path / "back", variables=variables, expect=1)
    assert files(tmp_path / "back") == expected
    result = goldfish.run("merge", f"{url}/parts/rank-9*", "--output", f"{url}/x", variables=variables, expect=2)
    assert "no folder matches" in result.stderr
    part = f"{url}/parts/rank-00001-of-00003"
    result = goldfish.run("merge", part, part, "--output", f"{url}/x", variables=variables, expect=2)
    assert "there already" in result.stderr
    command = ["merge", f"{url}/parts/rank-*", "--output", f"{url}/moved", "--move"]
    goldfish.run(*command, variables=variables, expect=1)
    check(amazon, f"{prefix}/moved", expected)
    assert amazon.keys(f"{prefix}/parts") == []


def test_what_is_refused(goldfish, amazon, corpus, prefix, tmp_path):
    url, variables = f"{amazon.root}/{prefix}", amazon.variables()
    command = ["mask", corpus, "--output", url, *IDS]
    result = goldfish.run(*command, "--shard-size", "5GiB", variables=variables, expect=2)
    assert "4 GiB at most" in result.stderr and "--shard-size" in result.stderr
    amazon.put(f"{prefix}/notes.txt", b"mine")
    result = goldfish.run(*command, "--overwrite", variables=variables, expect=2)
    assert "notes.txt" in result.stderr and url in result.stderr
    result = goldfish.run("mask", corpus, "--output", "http://127.0.0.1:1/out", *IDS, variables=variables, expect=2)
    assert "http" in result.stderr
    result = goldfish.run("verify", f"{url}-none", variables=variables, expect=2)
    assert "no manifest.json there" in result.stderr
    result = goldfish.run("lab", "train", "x", "--output", url, "--vocab-size", "9", variables=variables, expect=2)
    assert "disk only" in result.stderr
    assert objects(amazon, prefix) == {"notes.txt": b"mine"}


def test_a_run_is_not_taken_over_with_other_options(goldfish, amazon, corpus, expected, prefix):
    variables = amazon.variables()
    command = ["mask", corpus, "--output", f"{amazon.root}/{prefix}", *SMALL_SHARDS]
    run = Run(goldfish, *command, variables=variables)
    run.stop_at(lambda: records(amazon, prefix) > 4)
    result = goldfish.run(*command, "--seed", "9", "--resume", variables=variables, expect=2)
    assert "seed" in result.stderr
    run.process.send_signal(signal.SIGCONT)
    assert run.end()[0] == 1
    check(amazon, prefix, expected)


@pytest.fixture
def shell(goldfish, amazon, fixtures, prefix, tmp_path):
    """Runs shell commands with `bucket` set to a prefix of a store that contains a corpus."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/goldfish").symlink_to(goldfish.binary)
    shutil.copytree(fixtures / "corpus", tmp_path / "corpus")
    shutil.copy(fixtures / "tokenizers/gpt2.json", tmp_path / "tokenizer.json")
    upload(tmp_path / "corpus", amazon, f"{prefix}/corpus")

    def run(text):
        path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
        text = text.replace("s3://bucket", f"{amazon.root}/{prefix}").replace("/etc/goldfish", str(tmp_path))
        environment = {**os.environ, **amazon.variables(), "PATH": path}
        process = subprocess.run(["sh", "-eu", "-c", text], cwd=tmp_path, env=environment, capture_output=True)
        assert process.returncode == 0, f"{text}\n{process.stderr.decode()}"

    return run


def test_documented_commands(goldfish, amazon, shell, prefix, tmp_path):
    blocks = re.findall(r"```(sh|yaml)\n(.*?)```", (REPOSITORY / "docs/clusters.md").read_text(), re.DOTALL)
    spot, merge = [text for kind, text in blocks if kind == "sh" and "s3://" in text]
    (job,) = [yaml.safe_load(text) for kind, text in blocks if kind == "yaml" and "s3://" in text]
    shell(spot)
    command = ["mask", tmp_path / "corpus", "--tokenizer", tmp_path / "tokenizer.json", "--append-eos"]
    expected = goldfish.mask(*command[1:2], tmp_path / "whole", *command[2:], "--shard-size", "64MiB")
    assert objects(amazon, f"{prefix}/masked") == expected
    shell(spot)
    (container,) = job["spec"]["template"]["spec"]["containers"]
    for rank in range(job["spec"]["completions"]):
        shell(" ".join(container["command"]).replace("$(JOB_COMPLETION_INDEX)", str(rank)))
    shell(merge.replace("bucket/masked", "bucket/merged"))
    totals = json.loads(amazon.get(f"{prefix}/merged/manifest.json"))["totals"]
    assert totals == json.loads(expected["manifest.json"])["totals"]
    section = (REPOSITORY / "docs/stores.md").read_text().split("## Outputs")[1]
    shell(re.search(r"```sh\n(.*?)```", section, re.DOTALL)[1].replace("bucket/masked", "bucket/once-more"))
    assert objects(amazon, f"{prefix}/once-more").keys() == expected.keys()


def test_models_are_trained_and_audited_on_shards_of_a_store(goldfish, amazon, corpus, prefix, tmp_path):
    url, variables = f"{amazon.root}/{prefix}", amazon.variables()
    goldfish.mask(corpus, tmp_path / "out", *SMALL_SHARDS, expect=1)
    goldfish.run("mask", corpus, "--output", url, *SMALL_SHARDS, variables=variables, expect=1)
    size = ["--layers", 1, "--width", 32, "--heads", 2, "--vocab-size", 5000, "--steps", 2]
    probes = ["--prefix", 16, "--suffix", 16, "--samples", 5, "--metrics", "continuations"]
    # Two steps don't make a language model.
    probes += ["--allow-tokenizer-mismatch"]
    for name, where in (("store", url), ("disk", tmp_path / "out")):
        model = tmp_path / f"{name}-trained/model"
        goldfish.run("lab", "train", where, "--output", model, *size, variables=variables)
        goldfish.run("audit", where, "--model", model, "--output", tmp_path / name, *probes, variables=variables)
    weights = [(tmp_path / f"{name}-trained/model/model.safetensors").read_bytes() for name in ("store", "disk")]
    assert weights[0] == weights[1]
    store, disk = files(tmp_path / "store"), files(tmp_path / "disk")
    assert store.keys() == disk.keys() and store["probes.parquet"] == disk["probes.parquet"]
