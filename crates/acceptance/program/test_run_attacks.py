"""Attacks on the folder of an audit run: none of them gets past a gate.

Each attack changes the copy of a run. Most then write SHA256SUMS again, as an attacker would who knows the format, so that the
content has to give the change away. `report` with a gate must not exit with 0, `compare` must refuse the run, and `verify` must
find it.
"""

import hashlib
import json
import os
import shutil
import subprocess

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xxhash

from product import executable, write_run_table

GATE = "exact_match.rate > 0.1"
FILES = [
    "config.json",
    "evidence.jsonl",
    "probes.parquet",
    "results.parquet",
    "self-test.json",
    "summary.json",
]
TEXT = "SHA256SUMS"


def documents(path, first, number):
    """Documents of different token ids."""
    with open(path, "w") as file:
        for i in range(first, first + number):
            ids = [(i * 7919 + j * j * 31 + j) % 90 for j in range(60)]
            row = {"id": f"d{i}", "source": ["web", "books"][i % 2], "input_ids": ids}
            file.write(json.dumps(row) + "\n")
    return path


class Run:
    """The folder of a run, as an attacker handles it."""

    def __init__(self, folder):
        self.folder = folder

    def path(self, name):
        return self.folder / name

    def copy(self, folder):
        shutil.copytree(self.folder, folder)
        return Run(folder)

    def edit(self, name, change):
        value = json.loads(self.path(name).read_text())
        change(value)
        self.path(name).write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n")

    def table(self, name):
        return pq.read_table(self.path(name))

    def write(self, name, table, key=None):
        write_run_table(self.path(name), table, key)

    def column(self, name, column, change):
        """Changes the values of a column: `change(value, row)`."""
        table = self.table(name)
        at = table.schema.get_field_index(column)
        field = table.schema.field(at)
        rows = table.to_pylist()
        values = [change(row[column], row) for row in rows]
        self.write(name, table.set_column(at, field, pa.array(values, field.type)))

    def rows(self, name, change):
        """Replaces the rows by those that `change(rows)` gives."""
        table = self.table(name)
        self.write(name, pa.Table.from_pylist(change(table.to_pylist()), table.schema))

    def lines(self, change):
        lines = change(self.path("evidence.jsonl").read_text().splitlines())
        self.path("evidence.jsonl").write_text("".join(line + "\n" for line in lines))

    def seal(self):
        """Writes the checksums again."""
        sums = [
            f"{hashlib.sha256(self.path(name).read_bytes()).hexdigest()}  {name}\n"
            for name in sorted([*FILES, "origin.json"])
            if self.path(name).is_file()
        ]
        self.path(TEXT).write_text("".join(sums))

    def rekey(self):
        """Gives the run the key that fits its configuration, everywhere."""
        config = json.loads(self.path("config.json").read_text())
        config["key"] = ""
        compact = json.dumps(config, separators=(",", ":"), ensure_ascii=False)
        key = "xxh3_128:" + xxhash.xxh3_128_hexdigest(compact.encode())
        self.edit("config.json", lambda config: config.update(key=key))
        self.edit("summary.json", lambda summary: summary.update(key=key))
        for name in ["probes.parquet", "results.parquet"]:
            self.write(name, self.table(name), key)


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    program = executable("GOLDFISH_FAKE_RUN")
    folder = tmp_path_factory.mktemp("attacked")
    corpus = documents(folder / "corpus.jsonl", 0, 40)
    control = documents(folder / "control.jsonl", 1000, 40)

    def make(name, recites):
        run = folder / name
        command = [program, run, corpus, "--control", control, "--recites", str(recites), "--stride", "30"]
        command += ["--separator-ids", "3,5"]
        subprocess.run([*map(str, command)], check=True)
        return Run(run)

    return make


@pytest.fixture(scope="module")
def run(make):
    """A run in which the model recites."""
    run = make("run", 50)
    rate = json.loads(run.path("summary.json").read_text())["exact_match"]["rate"]
    assert 0.2 < rate < 0.8
    return run


@pytest.fixture(scope="module")
def older(make):
    """A run on the same probes of a model that recites nothing: what an attacker would like to show."""
    return make("older", 0)


def program(*arguments):
    command = [executable("GOLDFISH_BIN"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def verdicts(run, baseline, tmp_path):
    """The exit codes of report, compare and verify, and what they printed."""
    commands = [
        ["report", run.folder, "--fail-if", GATE, "--output", tmp_path / "page.html"],
        ["compare", baseline.folder, run.folder],
        ["verify", run.folder],
    ]
    done = [program(*command) for command in commands]
    return [one.returncode for one in done], "".join(one.stdout + one.stderr for one in done)


def recited(rows):
    return [row for row in rows if row["exact_match"]]


def no_match(run):
    """The positives become near misses in every column that says so."""

    def change(rows):
        for row in recited(rows):
            row.update(exact_match=False, match_length=0)
            if row["ranks"]:
                row["ranks"][0] = 2
        return rows

    run.rows("results.parquet", change)


def summary(change):
    return lambda run, _: run.edit("summary.json", change)


def config(change):
    def attack(run, _):
        run.edit("config.json", change)
        run.rekey()

    return attack


def self_test(change):
    return lambda run, _: run.edit("self-test.json", change)


def result(column, change):
    return lambda run, _: run.column("results.parquet", column, change)


def both(column, change):
    def attack(run, _):
        for name in ["probes.parquet", "results.parquet"]:
            run.column(name, column, change)

    return attack


def results(change):
    return lambda run, _: run.rows("results.parquet", change)


def probes(change):
    return lambda run, _: run.rows("probes.parquet", change)


def evidence(change):
    return lambda run, _: run.lines(change)


def take(*names):
    """Files of the older run."""
    return lambda run, older: [shutil.copy(older.path(name), run.path(name)) for name in names]


def swap(rows):
    first = next(i for i, row in enumerate(rows) if row["exact_match"])
    second = next(i for i, row in enumerate(rows) if not row["exact_match"])
    rows[first], rows[second] = rows[second], rows[first]
    return rows


def swap_values(rows):
    """Two rows trade what was measured, and keep their names."""
    first, second = recited(rows)[0], next(row for row in rows if not row["exact_match"])
    for column in ["exact_match", "match_length", "ranks", "log_probs", "generated", "rouge_l", "loss"]:
        first[column], second[column] = second[column], first[column]
    return rows


def drop_positives_everywhere(run, _):
    names = {row["probe_id"] for row in recited(run.table("results.parquet").to_pylist())}
    for name in ["probes.parquet", "results.parquet"]:
        run.rows(name, lambda rows: [row for row in rows if row["probe_id"] not in names])
    run.lines(lambda _: [])


def one_document(value, row):
    return "d0" if row["set"] == "audited" else value


def move_to_control(value, row):
    return "control" if row.get("exact_match") else value


def half(values):
    return [value / 2 for value in values] if values else values


def changed_expected(lines):
    first = json.loads(lines[0])
    first["tokens"]["expected"][0] ^= 1
    return [json.dumps(first), *lines[1:]]


def changed_log_probs(lines):
    first = json.loads(lines[0])
    first["log_probs"] = half(first["log_probs"])
    return [json.dumps(first), *lines[1:]]


def fail_check(found):
    found["checks"][0]["outcome"] = "failed"


def absent(value, row):
    """Recitations become answers with the passage in the prompt."""
    return "in_prompt" if row.get("exact_match") and row["set"] == "audited" else value


def in_context(change):
    return summary(lambda s: change(s["in_context"]))


RESEALED = {
    "summary: rate": summary(lambda s: s["exact_match"].update(rate=0.0)),
    "summary: positives": summary(lambda s: s["exact_match"].update(positives=0)),
    "summary: upper bound": summary(lambda s: s["exact_match"].update(upper=0.001)),
    "summary: number of probes": summary(lambda s: s["exact_match"].update(n=100_000)),
    "summary: control's rate": summary(lambda s: s["control"]["exact_match"].update(rate=0.5)),
    "summary: excess": summary(lambda s: s["excess"]["exact_match"].update(difference=0.0, lower=-0.1)),
    "summary: passages in the prompt": in_context(lambda s: s["exact_match"].update(rate=1.0, positives=s["exact_match"]["n"])),
    "summary: copying": in_context(lambda s: s.update(copying="copies")),
    "summary: no passages in the prompt": summary(lambda s: s.update(in_context=None)),
    "summary: nontrivial": summary(lambda s: s["nontrivial"]["audited"]["exact_match"].update(rate=0.0)),
    "summary: notes": summary(lambda s: s.update(notes=[])),
    "summary: a field more": summary(lambda s: s.update(approved=True)),
    "summary: strata": summary(lambda s: s.update(strata=[])),
    "summary: model": summary(lambda s: s["model"].update(name="another")),
    "summary: membership": summary(lambda s: s.update(membership=[])),
    "summary: self-test": summary(lambda s: s["self_test"].update(checks=[])),
    "summary: the older run's": take("summary.json"),
    "results: exact_match alone": result("exact_match", lambda *_: False),
    "results: match_length alone": result("match_length", lambda *_: 0),
    "results: positives become near misses": lambda run, _: no_match(run),
    "results: positives dropped": results(lambda rows: [row for row in rows if not row["exact_match"]]),
    "results and probes: positives dropped": drop_positives_everywhere,
    "results: last row dropped": results(lambda rows: rows[:-1]),
    "results: rows swapped": results(swap),
    "results: values swapped": results(swap_values),
    "results: a row twice": results(lambda rows: [rows[0], rows[0], *rows[2:]]),
    "results: positives become control": result("set", move_to_control),
    "results: recitations become copies": result("passage", absent),
    "results and probes: passages": both("passage", lambda *_: "absent"),
    "results: one document": result("doc_id", one_document),
    "results and probes: one document": both("doc_id", one_document),
    "results and probes: sets traded": both("set", lambda v, _: {"audited": "control", "control": "audited"}[v]),
    "results and probes: copies": both("copies", lambda *_: 1000),
    "results and probes: strata": both("stratum", lambda *_: "web"),
    "results: loss": result("loss", lambda value, _: value + 5),
    "results: loss of dropped tokens": result("loss_kept", lambda *_: 9.0),
    "results: rouge_l": result("rouge_l", lambda *_: 0.0),
    "results: min_k": result("min_k", lambda value, _: value + 5),
    "results: log-probabilities": result("log_probs", lambda value, _: half(value)),
    "results: ranks": result("ranks", lambda value, _: [2] * len(value)),
    "results: continuation": result("generated", lambda value, _: [id ^ 1 for id in value]),
    "results: no continuation": result("generated", lambda *_: None),
    "results: all trivial": result("trivial", lambda *_: "periodic"),
    "results: decided by another way": result("decided_by", lambda *_: "generate"),
    "results: draws": result("ln_draws", lambda value, _: value + 20),
    "results: the older run's": take("results.parquet"),
    "results and evidence: the older run's": take("results.parquet", "evidence.jsonl"),
    "results, evidence and summary: the older run's": take("results.parquet", "evidence.jsonl", "summary.json"),
    "config: the older run's": take("config.json"),
    "evidence: a line dropped": evidence(lambda lines: lines[1:]),
    "evidence: all dropped": evidence(lambda _: []),
    "evidence: lines swapped": evidence(lambda lines: [lines[1], lines[0], *lines[2:]]),
    "evidence: a line twice": evidence(lambda lines: [lines[0], lines[0], *lines[2:]]),
    "evidence: other tokens": evidence(changed_expected),
    "evidence: other log-probabilities": evidence(changed_log_probs),
    "config: model": config(lambda c: c["model"].update(name="another")),
    "config: intervals": config(lambda c: c["options"]["statistics"].update(rates="clopper_pearson")),
    "config: seed of the bootstrap": config(lambda c: c["options"]["statistics"]["bootstrap"].update(seed=77)),
    "config: no control": config(lambda c: c.update(control=None)),
    "config: separator": config(lambda c: c["in_context"].update(separator=[5, 3])),
    "config: no passages in the prompt": config(lambda c: c.update(in_context=None)),
    "config: contamination": config(lambda c: c["control"]["matching"].update(contaminated=0, unmatched=0, wanted=9)),
    "config: documents": config(lambda c: c["audited"].update(documents=10_000)),
    "config: redacted": config(lambda c: c["options"].update(redact=True)),
    "config: decided by continuations": config(lambda c: c["options"].update(decide="generate")),
    "config: Min-K's share": config(lambda c: c["options"].update(min_k=0.5)),
    "config: version": config(lambda c: c.update(run_version=c["run_version"] + 1)),
    "config without its key": lambda run, _: run.edit("config.json", lambda c: c["model"].update(name="another")),
    "probes: a row dropped": probes(lambda rows: rows[:-1]),
    "probes: other tokens": probes(lambda rows: [{**row, "suffix": row["suffix"][::-1]} for row in rows]),
    "probes: other masks": probes(lambda rows: [{**row, "dropped": [0]} for row in rows]),
    "self-test: a check failed": self_test(fail_check),
    "self-test: no checks": self_test(lambda found: found.update(checks=[])),
}


@pytest.mark.parametrize("name", RESEALED)
def test_a_change_under_new_checksums_is_found(name, run, older, tmp_path):
    attacked = run.copy(tmp_path / "run")
    RESEALED[name](attacked, older)
    attacked.seal()
    (report, compare, verify), text = verdicts(attacked, older, tmp_path)
    assert report == 2 and compare == 2 and verify in (1, 2), text
    assert "panicked" not in text
    assert not (tmp_path / "page.html").exists(), "no page of a run that is refused"


def flip(run, name):
    content = bytearray(run.path(name).read_bytes())
    content[len(content) // 2] ^= 1
    run.path(name).write_bytes(content)


def listed_less(run, name):
    lines = run.path(TEXT).read_text().splitlines()
    run.path(TEXT).write_text("".join(line + "\n" for line in lines if not line.endswith(name)))


def link(run, name):
    target = run.folder.parent / f"target-{name}"
    shutil.move(run.path(name), target)
    run.path(name).symlink_to(target)


def pipe(run, name):
    run.path(name).unlink()
    os.mkfifo(run.path(name))


def remove(run, name):
    run.path(name).unlink()


UNSEALED = {"a bit": flip, "removed": remove, "not listed": listed_less, "a pipe": pipe}


@pytest.mark.parametrize("change", UNSEALED)
@pytest.mark.parametrize("name", FILES)
def test_a_change_under_the_old_checksums_is_found(name, change, run, older, tmp_path):
    attacked = run.copy(tmp_path / "run")
    UNSEALED[change](attacked, name)
    (report, compare, verify), text = verdicts(attacked, older, tmp_path)
    assert report == 2 and compare == 2 and verify in (1, 2), text
    assert "panicked" not in text


def test_without_checksums_a_run_is_not_complete(run, older, tmp_path):
    attacked = run.copy(tmp_path / "run")
    attacked.path(TEXT).unlink()
    codes, text = verdicts(attacked, older, tmp_path)
    assert codes == [2, 2, 2] and "not complete" in text


def test_a_copy_is_sound_and_tables_that_pyarrow_writes_are_read(run, older, tmp_path):
    """Or the attacks would show nothing: the copy, and the copy written again by the attacker's own means, pass."""
    copy = run.copy(tmp_path / "run")
    codes, text = verdicts(copy, older, tmp_path)
    assert codes == [1, 0, 0] and "holds" in text
    for name in ["probes.parquet", "results.parquet"]:
        copy.rows(name, lambda rows: rows)
    copy.lines(lambda lines: lines)
    copy.edit("config.json", lambda _: None)
    copy.edit("summary.json", lambda _: None)
    copy.rekey()
    copy.seal()
    assert verdicts(copy, older, tmp_path)[0] == [1, 0, 0]


def test_the_digest_gives_a_whole_forgery_away(run, older, tmp_path):
    """Another run under the name of this one fits together; only what was signed tells them apart."""
    digest = "sha256:" + hashlib.sha256(run.path(TEXT).read_bytes()).hexdigest()
    sound = program("verify", run.folder, "--digest", digest)
    assert sound.returncode == 0 and digest in sound.stdout
    forged = older.copy(tmp_path / "run")
    assert program("verify", forged.folder).returncode == 0
    found = program("verify", forged.folder, "--digest", digest, "--json")
    assert found.returncode == 1
    (fault,) = json.loads(found.stdout)["faults"]
    assert "this is not the run that was signed" in fault["fault"]


def test_sha256sum_reads_the_checksums(run):
    done = subprocess.run(["sha256sum", "--check", "--quiet", TEXT], cwd=run.folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
