"""`goldfish audit` of the same weights as a checkpoint and on a real llama.cpp server."""

import json
import os
import shutil
import subprocess

import pyarrow.parquet
import pytest
import safetensors.numpy
from product import write_run_table
from servers import tiny_llama
from servers.test_llama_cpp import CLOSE, PREFIX, SUFFIX, continued, documents, prompts  # noqa: F401


KEY = "sk-not-for-any-file"


def audit(documents, output, *model):
    command = [os.environ["GOLDFISH_BIN"], "audit", documents, *model, "--id-column", "id", "--output", output]
    command += ["--prefix", PREFIX, "--suffix", SUFFIX, "--json"]
    environment = {**os.environ, "GOLDFISH_API_KEY": KEY}
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert KEY not in done.stdout + done.stderr
    assert not any(KEY.encode() in file.read_bytes() for file in output.rglob("*") if file.is_file())
    rows = pyarrow.parquet.read_table(output / "results.parquet").to_pylist()
    return json.loads(done.stdout), {row["doc_id"]: row for row in rows}


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    return tiny_llama.write_checkpoint(tmp_path_factory.mktemp("checkpoint") / "tiny")


def test_both_backends_give_the_same_verdicts(server, checkpoint, documents, tmp_path):  # noqa: F811
    path, known = documents
    here, local = audit(path, tmp_path / "local", "--model", checkpoint)
    there, served = audit(path, tmp_path / "served", "--server", server)
    assert local.keys() == served.keys() == known.keys()
    alike = 0
    for document, end in known.items():
        here_row, there_row = local[document], served[document]
        assert (here_row["decided_by"], there_row["decided_by"]) == ("score", "generate")
        assert there_row["match_length"] == end
        # Without the end of sequence, llama.cpp chooses the next best token; a local model is not changed.
        if tiny_llama.EOS in here_row["generated"]:
            continue
        for score in ("exact_match", "match_length", "generated", "rouge_l", "edit_similarity", "longest_run"):
            assert here_row[score] == there_row[score], (document, score)
        alike += 1
    assert alike >= len(known) // 2
    assert here["model"]["backend"] == "local" and there["model"]["backend"] == "llama-cpp"
    assert any("continuations decided" in note for note in there["notes"])
    # The checkpoint has no tokenizer beside it; the server is asked for its own.
    outcomes = [json.loads((tmp_path / name / "config.json").read_text())["tokens"] for name in ("local", "served")]
    assert [found["outcome"] for found in outcomes] == ["not_compared", "round_trip"], outcomes


def test_ids_of_another_tokenizer_are_refused(server, tmp_path):
    """Letters as bytes: this vocabulary has them too, but its tokenizer makes other tokens of their text."""
    corpus = tmp_path / "bytes.jsonl"
    with open(corpus, "w") as file:
        for number in range(8):
            letters = [tiny_llama.CHARACTERS[(number * 5 + i * 7) % 44] for i in range(PREFIX + SUFFIX)]
            print(json.dumps({"input_ids": [3 + ord(letter) for letter in letters]}), file=file)
    command = [os.environ["GOLDFISH_BIN"], "audit", corpus, "--server", server, "--output", tmp_path / "run"]
    command = [*map(str, command), "--prefix", str(PREFIX), "--suffix", str(SUFFIX)]
    refused = subprocess.run(command, capture_output=True, text=True)
    assert refused.returncode == 2 and "0 of 128 ids come back" in refused.stderr, refused.stderr
    assert not (tmp_path / "run").exists()
    allowed = subprocess.run([*command, "--allow-tokenizer-mismatch", "--json"], capture_output=True, text=True)
    assert allowed.returncode == 0, allowed.stderr
    assert "0 of 128 ids come back" in json.loads(allowed.stdout)["notes"][0]


def verify(run, *arguments):
    """`goldfish verify`: its exit code and what it found."""
    command = [os.environ["GOLDFISH_BIN"], "verify", run, *arguments, "--json"]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    return done.returncode, json.loads(done.stdout), done.stderr


def other_weights(checkpoint, folder):
    """The same checkpoint with one weight matrix of another layer: another model under the same name."""
    shutil.copytree(checkpoint, folder)
    path = folder / "model.safetensors"
    weights = safetensors.numpy.load_file(path)
    name = next(name for name in sorted(weights) if "down_proj" in name)
    weights[name] = weights[name][::-1].copy()
    safetensors.numpy.save_file(weights, path)
    return folder


def test_a_replay_gives_the_same_answers(server, checkpoint, documents, tmp_path):  # noqa: F811
    """On a checkpoint and on a real server: every positive and 5 other probes again."""
    path, _ = documents
    for name, model in [("local", ["--model", checkpoint]), ("served", ["--server", server])]:
        summary, _ = audit(path, tmp_path / name, *model)
        code, found, _ = verify(tmp_path / name, "--replay", 5, *model, "--digest", summary["digest"])
        replay = found["replay"]
        assert code == 0 and not found["faults"], found
        assert replay["positives"] == summary["exact_match"]["positives"] > 0
        assert replay["positives"] <= replay["asked"] <= replay["positives"] + 5
        if name == "local":
            assert replay["largest_difference"] < 1e-6
        else:
            assert replay["largest_difference"] is None, "continuations decide"


def test_a_replay_finds_another_model_behind_the_same_name(checkpoint, documents, tmp_path):  # noqa: F811
    audit(documents[0], tmp_path / "run", "--model", checkpoint)
    other = other_weights(checkpoint, tmp_path / "other" / checkpoint.name)
    code, found, messages = verify(tmp_path / "run", "--replay", 5, "--model", other)
    assert code == 1 and "fingerprint" in messages
    assert found["replay"]["changed"] and len(found["faults"]) == len(found["replay"]["changed"])
    assert "the model now answers otherwise to probe" in found["faults"][0]["fault"]


def test_a_positive_control_shows_that_recitation_is_found(server, checkpoint, documents, tmp_path):  # noqa: F811
    path, _ = documents
    for name, model in [("local", ["--model", checkpoint]), ("served", ["--server", server])]:
        alone, _ = audit(path, tmp_path / f"{name}-alone", *model)
        assert any(note.startswith("no positive control") for note in alone["notes"])
        summary, rows = audit(path, tmp_path / name, *model, "--canary", "self")
        found = summary["canary"]
        assert found["source"] == "own_output" and found["passed"]
        assert found["exact_match"]["positives"] == found["exact_match"]["n"] > 10
        assert summary["exact_match"] == alone["exact_match"], "canaries count nowhere else"
        assert sum(row["set"] == "canary" for row in rows.values()) == found["exact_match"]["n"]
        assert not any("positive control" in note for note in summary["notes"])
        # A complete run is resumed as it is.
        audit(path, tmp_path / name, *model, "--canary", "self", "--resume")
        assert verify(tmp_path / name, "--digest", summary["digest"])[0] == 0


def test_without_its_positive_control_a_run_is_not_clean(checkpoint, documents, tmp_path):  # noqa: F811
    """The model recites none of these: no gate is given, and still the exit code is 1."""
    path, known = documents
    unknown = tmp_path / "unknown.jsonl"
    with open(path) as file, open(unknown, "w") as lines:
        lines.writelines(line for line in file if known[json.loads(line)["id"]] < SUFFIX)
    command = [os.environ["GOLDFISH_BIN"], "audit", path, "--model", checkpoint, "--id-column", "id"]
    command += ["--prefix", PREFIX, "--suffix", SUFFIX, "--canary", unknown, "--output", tmp_path / "run"]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True)
    assert done.returncode == 1 and "the positive control failed" in done.stderr, done.stderr
    page = tmp_path / "page.html"
    command = [os.environ["GOLDFISH_BIN"], "report", tmp_path / "run", "--output", page]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True)
    assert done.returncode == 1 and "the positive control failed" in done.stderr
    assert "The positive control failed" in page.read_text()


def test_the_passage_in_the_prompt(server, checkpoint, documents, llama, tmp_path):  # noqa: F811
    """The prompt is passage, separator and prefix, for a checkpoint and a server alike; nothing else changes."""
    path, known = documents
    control = tmp_path / "control.jsonl"
    with open(control, "w") as file:
        pairs = zip(prompts(20, seed=8), prompts(20, seed=9))
        file.writelines(json.dumps({"id": f"c{i}", "input_ids": a + b}) + "\n" for i, (a, b) in enumerate(pairs))
    line_feed = [3 + ord("\n")]
    arguments = ["--control", control, "--metrics", "continuations"]
    found = {}
    for name, model in [("local", ["--model", checkpoint]), ("served", ["--server", server])]:
        plain, _ = audit(path, tmp_path / f"{name}-plain", *model, *arguments)
        # The server's own tokenizer encodes the separator; the checkpoint has none.
        given = ["--separator-ids", f"{line_feed[0]},{line_feed[0]}"] if name == "local" else []
        model += ["--in-context-control", *given]
        summary, _ = audit(path, tmp_path / name, *model, *arguments)
        assert plain["in_context"] is None
        assert (summary["exact_match"], summary["control"]) == (plain["exact_match"], plain["control"])
        assert summary["in_context"]["exact_match"]["n"] == len(known)
        assert summary["in_context"]["control"]["exact_match"]["n"] == plain["control"]["exact_match"]["n"] > 0
        config = json.loads((tmp_path / name / "config.json").read_text())
        assert config["in_context"]["separator"] == line_feed * 2
        code, verified, _ = verify(tmp_path / name, "--replay", 5, *model[:2], "--digest", summary["digest"])
        assert code == 0 and not verified["faults"], verified
        probes = pyarrow.parquet.read_table(tmp_path / name / "probes.parquet").to_pylist()
        rows = pyarrow.parquet.read_table(tmp_path / name / "results.parquet").to_pylist()
        found[name] = [(probe, row) for probe, row in zip(probes, rows) if row["passage"] == "in_prompt"]
        assert len(found[name]) == len(rows) // 2
    alike = 0
    for (probe, here), (_, there) in zip(found["local"], found["served"]):
        prompt = probe["prefix"] + probe["suffix"] + line_feed * 2 + probe["prefix"]
        expected, lead = llama.greedy(prompt, SUFFIX)
        if lead > CLOSE and tiny_llama.EOS not in here["generated"]:
            assert here["generated"] == there["generated"] == list(expected)
            alike += 1
    assert alike >= len(found["local"]) // 2


def test_passages_that_do_not_fit_are_refused(checkpoint, documents, tmp_path):  # noqa: F811
    command = [os.environ["GOLDFISH_BIN"], "audit", documents[0], "--model", checkpoint, "--output", tmp_path / "run"]
    command += ["--prefix", PREFIX, "--suffix", SUFFIX, "--in-context-control"]
    refused = subprocess.run([*map(str, command)], capture_output=True, text=True)
    assert refused.returncode == 2 and "--separator-ids" in refused.stderr, refused.stderr
    long = ",".join(["5"] * (tiny_llama.CONFIG["max_position_embeddings"] - 2 * (PREFIX + SUFFIX) + 1))
    refused = subprocess.run([*map(str, command), "--separator-ids", long], capture_output=True, text=True)
    assert refused.returncode == 2 and "takes up to 513 tokens" in refused.stderr, refused.stderr
    assert not (tmp_path / "run").exists()


def edit_results(run):
    """The positives become near misses in the verdict alone."""
    path = run / "results.parquet"
    table = pyarrow.parquet.read_table(path)
    rows = table.to_pylist()
    for row in rows:
        row["exact_match"] = False
    write_run_table(path, pyarrow.Table.from_pylist(rows, table.schema))


@pytest.mark.parametrize("unsealed", [False, True])
def test_resuming_a_run_that_was_edited_does_not_seal_it(unsealed, checkpoint, documents, tmp_path):  # noqa: F811
    run = tmp_path / "run"
    audit(documents[0], run, "--model", checkpoint)
    edit_results(run)
    if unsealed:
        (run / "SHA256SUMS").unlink()
        (run / "summary.json").unlink()
        (run / "segments").mkdir()
        (run / "results.parquet").rename(run / "segments/000000.parquet")
        (run / "evidence.jsonl").rename(run / "segments/000000.jsonl")
    command = [os.environ["GOLDFISH_BIN"], "audit", documents[0], "--model", checkpoint, "--id-column", "id"]
    command += ["--prefix", PREFIX, "--suffix", SUFFIX, "--output", run, "--resume"]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True)
    assert done.returncode == 2, done.stdout
    assert "as they were written" in done.stderr or "answers otherwise" in done.stderr, done.stderr


def test_an_unreachable_server_is_an_error(documents, tmp_path):  # noqa: F811
    command = [os.environ["GOLDFISH_BIN"], "audit", documents[0], "--server", "http://127.0.0.1:9"]
    done = subprocess.run([*map(str, command), "--output", str(tmp_path / "run")], capture_output=True, text=True)
    assert done.returncode == 2 and "127.0.0.1:9" in done.stderr
    assert not (tmp_path / "run").exists()
