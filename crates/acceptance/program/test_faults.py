"""Real failures: killed runs, full disks, lost permissions, inputs and outputs that change during a run."""

import json
import os
import random
import resource
import shlex
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest

from program.faults import ID_OPTIONS, TEXT_OPTIONS, Job, Paused, kill_many, make_id_corpus, make_text_corpus
from product import folder_bytes

# faults.py runs more of them.
KILLS = int(os.environ.get("GOLDFISH_KILLS", "12"))
IDS = ["--rule", "hash", "--shard-size", "100KiB", "--threads", "1"]


@pytest.fixture(scope="module")
def ids_job(goldfish, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ids")
    return Job(goldfish, [make_id_corpus(folder / "corpus", 400)], [*ID_OPTIONS, "--threads", "1"], folder, status=1)


@pytest.fixture(scope="module")
def text_job(goldfish, tmp_path_factory):
    folder = tmp_path_factory.mktemp("text")
    return Job(goldfish, [make_text_corpus(folder / "corpus")], TEXT_OPTIONS, folder, status=1)


@pytest.fixture
def large(goldfish, tmp_path):
    """A corpus with a file that is large enough to be changed while it is read."""
    corpus = tmp_path / "large"
    corpus.mkdir()
    source = random.Random(3)
    small = json.dumps({"input_ids": [1, 2, 3] * 40})
    (corpus / "a.jsonl").write_text((small + "\n") * 300)
    with (corpus / "b.jsonl").open("w") as file:
        for _ in range(9000):
            file.write(json.dumps({"input_ids": source.choices(range(30_000), k=120)}) + "\n")
    return Job(goldfish, [corpus], IDS, tmp_path)


def nothing_visible(output):
    return not output.exists() or [path.name for path in output.iterdir()] in ([], [".partial"])


def test_killed_at_random_moments(ids_job, text_job):
    went_on = sum(kill_many(job, KILLS // 2, seed) for seed, job in enumerate((ids_job, text_job)))
    assert went_on > 0, "no kill came behind a finished shard"


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_stopped_by_a_signal(ids_job, tmp_path, sent):
    output = tmp_path / "out put's"
    with (run := Paused(ids_job.command(output), output)) as process:
        process.send_signal(sent)
    assert run.status == 2 and "interrupted" in run.error, run.error
    assert nothing_visible(output)
    kept = list((output / ".partial").glob("shard-*"))
    assert f"{len(kept)} finished shards" in run.error
    command = shlex.split(run.error.strip().splitlines()[-1])
    assert command == ids_job.command(output, "--resume")
    assert subprocess.run(command, capture_output=True).returncode == ids_job.status
    assert folder_bytes(output) == ids_job.expected


def test_stopped_by_a_signal_before_the_first_shard(ids_job, tmp_path):
    output = tmp_path / "out"
    command = ids_job.command(output)
    command[command.index("--shard-size") + 1] = "1GiB"
    with (run := Paused(command, output, shards=0)) as process:
        process.send_signal(signal.SIGINT)
    assert run.status == 2 and "run the same command again" in run.error, run.error
    assert not output.exists()


def test_a_file_that_may_not_grow(goldfish, tmp_path):
    """A limit on the size of files simulates a full disk without privileges."""
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    lines = [json.dumps({"input_ids": [i % 1000] * 200}) for i in range(4000)]
    lines[3000] = json.dumps({"input_ids": [7] * 200_000})
    (corpus / "a.jsonl").write_text("\n".join(lines))
    job = Job(goldfish, [corpus], IDS, tmp_path)

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))

    output = tmp_path / "out"
    run = subprocess.run(job.command(output), capture_output=True, preexec_fn=limit)
    error = run.stderr.decode()
    assert run.returncode == 2 and "File too large" in error and "--resume" in error, error
    assert nothing_visible(output)
    assert "resuming after" in job.finish(output).stderr


def test_a_file_system_that_fills_up(ids_job, tmp_path):
    """Needs permission to mount; otherwise the limit above has to suffice."""
    disk = tmp_path / "disk"
    disk.mkdir()

    def mount(*options):
        return subprocess.run(["mount", *options, "tmpfs", str(disk)], capture_output=True)

    if mounted := mount("-t", "tmpfs", "-o", "size=2m").returncode:
        pytest.skip(f"mount ended with {mounted}: no right to mount a file system")
    try:
        output = disk / "out"
        process = subprocess.run(ids_job.command(output), capture_output=True)
        error = process.stderr.decode()
        assert process.returncode == 2 and "No space left" in error and "--resume" in error, error
        assert nothing_visible(output)
        again = subprocess.run(ids_job.command(output, "--resume"), capture_output=True)
        assert again.returncode == 2 and "No space left" in again.stderr.decode()
        assert nothing_visible(output)
        assert mount("-o", "remount,size=64m", "-t", "tmpfs").returncode == 0
        assert "resuming after" in ids_job.finish(output).stderr
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_permission_that_is_lost(goldfish, ids_job):
    """Root ignores permissions, so root's tests run the program as another user."""
    folder = Path(tempfile.mkdtemp(prefix="goldfish-permission-"))
    try:
        folder.chmod(0o777)
        binary = shutil.copy(goldfish.binary, folder / "goldfish")
        corpus = shutil.copytree(make_id_corpus(folder / "made", 400), folder / "corpus")
        other = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
        output = folder / "out"
        command = [binary, "mask", corpus, *ID_OPTIONS, "--threads", "1", "--output", output]
        with (run := Paused(command, output, **other)):
            (output / ".partial").chmod(0o500)
        assert run.status == 2 and "Permission denied" in run.error and "--resume" in run.error, run.error
        assert nothing_visible(output)
        (output / ".partial").chmod(0o700)
        again = subprocess.run([*map(str, command), "--resume"], capture_output=True, **other)
        assert again.returncode == 1, again.stderr
        assert folder_bytes(output) == ids_job.expected
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize("change", ["truncated", "appended to", "edited"])
def test_an_input_that_changes_while_it_is_read(large, tmp_path, change):
    output, path = tmp_path / "out", tmp_path / "large/b.jsonl"
    before = path.read_bytes()
    with (run := Paused(large.command(output), output, shards=2)):
        if change == "truncated":
            os.truncate(path, len(before) - 2000)
        else:
            with path.open("r+b") as file:
                file.seek(0 if change == "edited" else len(before))
                file.write(b'{"input_ids": [5]}  \n')
    # A truncated line is rejected before the change of the file is detected at its end.
    reason = "EOF while parsing" if change == "truncated" else "changed while it was read"
    assert run.status == 2 and "b.jsonl" in run.error and reason in run.error, run.error
    assert nothing_visible(output)
    process = large.goldfish.run(*large.arguments, "--output", output, "--resume", expect=2)
    assert "b.jsonl" in process.stderr or "inputs.1.size" in process.stderr
    path.write_bytes(before)
    assert "resuming after" in large.finish(output).stderr


@pytest.mark.parametrize("name", ["a.jsonl", "b.jsonl"])
def test_an_input_that_is_replaced_before_the_run_is_resumed(large, tmp_path, name):
    """a.jsonl was read to the end, b.jsonl in part; both keep their sizes."""
    output, path = tmp_path / "out", tmp_path / "large" / name
    with Paused(large.command(output), output, shards=12) as process:
        process.kill()
    before = path.read_bytes()
    path.write_bytes(before.replace(b"2", b"3", 1))
    process = large.goldfish.run(*large.arguments, "--output", output, "--resume", expect=2)
    assert name in process.stderr and "not those that were read before" in process.stderr
    assert nothing_visible(output)
    path.write_bytes(before)
    assert "resuming after" in large.finish(output).stderr


def test_an_output_folder_that_is_removed(ids_job, tmp_path):
    output = tmp_path / "out"
    with (run := Paused(ids_job.command(output), output)):
        shutil.rmtree(output)
    assert run.status == 2 and "No such file" in run.error, run.error
    assert not output.exists()
    ids_job.finish(output)


def test_two_runs_into_one_folder(ids_job, tmp_path):
    output = tmp_path / "out"
    with (run := Paused(ids_job.command(output), output)):
        for more in ([], ["--resume"], ["--overwrite"]):
            process = subprocess.run(ids_job.command(output, *more), capture_output=True)
            assert process.returncode == 2 and b"another goldfish is writing" in process.stderr, process.stderr
    assert run.status == ids_job.status, run.error
    assert folder_bytes(output) == ids_job.expected


@pytest.fixture
def unfinished(ids_job, tmp_path):
    output = tmp_path / "out"
    with Paused(ids_job.command(output), output) as process:
        process.kill()
    return output


OTHER = {
    "--k": "5",
    "--seed": "1",
    "--context": "12",
    "--shard-size": "101KiB",
    "--columns": "labels",
    "--output-format": "parquet",
    "--eos-id": "1",
}


@pytest.mark.parametrize("option", OTHER)
def test_other_options_are_refused(ids_job, unfinished, option):
    before = folder_bytes(unfinished)
    arguments = list(map(str, ids_job.arguments))
    if option in arguments:
        del arguments[arguments.index(option) : arguments.index(option) + 2]
    arguments += [option, OTHER[option]]
    process = ids_job.goldfish.run(*arguments, "--output", unfinished, "--resume", expect=2)
    assert " then, " in process.stderr and "--overwrite" in process.stderr, process.stderr
    assert folder_bytes(unfinished) == before
    assert "resuming after" in ids_job.finish(unfinished).stderr


def test_another_input_is_refused(ids_job, unfinished, tmp_path):
    corpus = shutil.copytree(ids_job.arguments[1], tmp_path / "more")
    (corpus / "z.jsonl").write_text('{"input_ids": [1]}\n')
    arguments = ["mask", corpus, *ids_job.arguments[2:]]
    process = ids_job.goldfish.run(*arguments, "--output", unfinished, "--resume", expect=2)
    assert "inputs: " in process.stderr, process.stderr


def test_threads_and_path_may_change(ids_job, unfinished, tmp_path):
    moved = unfinished.rename(tmp_path / "moved")
    arguments = [str(word) for word in ids_job.arguments]
    arguments[arguments.index("--threads") + 1] = "2"
    ids_job.goldfish.run(*arguments, "--output", moved, "--resume", expect=ids_job.status)
    assert folder_bytes(moved) == ids_job.expected


def test_a_bad_row_can_be_skipped_when_the_run_is_resumed(goldfish, tmp_path):
    lines = [json.dumps({"input_ids": [i] * 100}) for i in range(3000)]
    lines[2500] = '{"input_ids": [-1]}'
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(lines))
    options = ["--rule", "hash", "--shard-size", "30KiB", "--on-error", "skip"]
    job = Job(goldfish, [path], options, tmp_path, status=1)
    output = tmp_path / "out"
    arguments = [word for word in job.arguments if word not in ("--on-error", "skip")]
    process = goldfish.run(*arguments, "--output", output, expect=2)
    assert "row 2500" in process.stderr and "--resume" in process.stderr
    job.finish(output)


def test_an_unfinished_run_is_left_alone(ids_job, unfinished):
    before = folder_bytes(unfinished)
    process = ids_job.goldfish.run(*ids_job.arguments, "--output", unfinished, expect=2)
    assert "--resume" in process.stderr and "--overwrite" in process.stderr
    assert folder_bytes(unfinished) == before
    ids_job.goldfish.run(*ids_job.arguments, "--output", unfinished, "--overwrite", expect=ids_job.status)
    assert folder_bytes(unfinished) == ids_job.expected


@pytest.mark.parametrize("damage", ["torn", "garbage", "flipped", "empty"])
def test_a_damaged_journal(ids_job, unfinished, damage):
    journal = unfinished / ".partial/journal"
    content = journal.read_bytes()
    place = len(content) * 2 // 3
    flipped = content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :]
    damaged = {"torn": content[:-20], "garbage": content + b"\0" * 4096, "flipped": flipped, "empty": b""}
    journal.write_bytes(damaged[damage])
    ids_job.finish(unfinished)


def test_a_missing_finished_shard(ids_job, unfinished):
    (unfinished / ".partial/shard-00002").unlink()
    process = ids_job.goldfish.run(*ids_job.arguments, "--output", unfinished, "--resume", expect=2)
    assert "shard-00002" in process.stderr and "--overwrite" in process.stderr


def test_a_finished_run_is_left_unchanged(ids_job, tmp_path):
    output = tmp_path / "out"
    ids_job.finish(output)
    times = {path.name: path.stat().st_mtime_ns for path in output.iterdir()}
    ids_job.finish(output)
    assert {path.name: path.stat().st_mtime_ns for path in output.iterdir()} == times
    process = ids_job.goldfish.run(*ids_job.arguments, "--k", "7", "--output", output, "--resume", expect=2)
    assert "4 then, 7 now" in process.stderr


def test_an_overwriting_run_is_resumed(ids_job, tmp_path):
    output = tmp_path / "out"
    ids_job.goldfish.run(*ids_job.arguments, "--k", "9", "--output", output, expect=ids_job.status)
    old = folder_bytes(output)
    with Paused(ids_job.command(output, "--overwrite"), output) as process:
        process.kill()
    visible = {name: content for name, content in folder_bytes(output).items() if not name.startswith(".partial")}
    assert visible == old
    assert "resuming after" in ids_job.finish(output).stderr


def test_packed_sequences_are_resumed(goldfish, tmp_path):
    corpus = make_id_corpus(tmp_path / "corpus", 300)
    options = ["--rule", "hash-table", "--scope", "sequence", "--sequence-length", "500", "--threads", "1"]
    options += ["--eos-id", "0", "--on-error", "skip", "--shard-size", "60KiB"]
    job = Job(goldfish, [corpus], options, tmp_path, status=1)
    output = tmp_path / "out"
    for shards in (3, 11, 20):
        with Paused(job.command(output, "--resume"), output, shards) as process:
            process.kill()
    assert "resuming after" in job.finish(output).stderr
    goldfish.run("verify", output, "--recompute")


@pytest.mark.parametrize("kind", ["arrow-file", "parquet"])
def test_other_output_formats_are_resumed(goldfish, tmp_path, kind):
    corpus = make_id_corpus(tmp_path / "corpus", 300)
    job = Job(goldfish, [corpus], [*ID_OPTIONS, "--threads", "1", "--output-format", kind], tmp_path, status=1)
    output = tmp_path / "out"
    for shards in (3, 11):
        with Paused(job.command(output, "--resume"), output, shards) as process:
            process.kill()
    assert "resuming after" in job.finish(output).stderr
