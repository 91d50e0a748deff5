"""Small runs of `goldfish demo` and `goldfish lab sweep`."""

import json
import signal
import subprocess
import time

import pytest

from product import Output

SIZE = ["--passages", "6", "--epochs", "36"]
# Files of an audit run that depend on the process.
PASSING = {".lock"}


def demo(goldfish, folder, *arguments):
    """Runs in separate folders with the same output name, since pages and runs contain paths."""
    folder.mkdir()
    process = goldfish.run("demo", "--output", "demo", "--json", *SIZE, *arguments, cwd=folder)
    return json.loads(process.stdout)


def contents(folder):
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name not in PASSING)
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def made(goldfish, tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "a"
    return folder / "demo", demo(goldfish, folder)


def test_the_standard_model_recites_and_the_goldfish_model_does_not(made):
    _, found = made
    rates = {name: found[name]["exact_match"] for name in ("standard", "goldfish", "control")}
    assert all(rate["n"] == 6 for rate in rates.values()), rates
    assert rates["standard"]["rate"] >= 0.8
    assert rates["goldfish"]["positives"] == 0
    assert rates["control"]["positives"] == 0
    masks = found["goldfish"]["goldfish"]
    near = sum(place["count"] for place in masks["nearest"] if place["distance"] in (0, 1))
    assert near >= 0.9 * masks["at_dropped"]["n"] > 0


def test_other_commands_read_its_output(goldfish, made, tmp_path):
    folder, found = made
    masked = Output(folder / "masked")
    assert len(masked.table) == 18
    # One copy of each passage is audited, with the tokens and the mask of training.
    audited = Output(folder / "audited")
    assert len(audited.table) == 6
    columns = ["doc_id", "input_ids", "loss_mask"]
    trained = {row["doc_id"]: row for row in masked.table.select(columns).to_pylist()}
    plain = audited.table.select(columns).to_pylist()
    assert all(row["doc_id"].endswith("/line") and row == trained[row["doc_id"]] for row in plain)
    assert masked.manifest["rule"]["name"] == "text-v1" and masked.manifest["rule"]["k"] == 4
    goldfish.run("verify", folder / "masked", "--recompute", "--tokenizer", folder / "tokenizer.json")
    runs = [folder / "runs" / name for name in ("standard", "goldfish")]
    goldfish.run("report", runs[0], "--output", tmp_path / "report.html")
    compared = json.loads(goldfish.run("compare", *runs, "--json").stdout)
    assert compared["comparisons"]["comparisons"][0]["run_positives"] == 0
    # The command in origin.json reproduces the run.
    origin = json.loads((runs[0] / "origin.json").read_text())
    arguments = origin["command"].split()[1:-1]
    again = goldfish.run(*arguments, tmp_path / "again", "--json", cwd=folder.parent)
    assert json.loads(again.stdout)["exact_match"] == found["standard"]["exact_match"]


def test_bytes_are_independent_of_threads(goldfish, made, tmp_path):
    folder, found = made
    again = demo(goldfish, tmp_path / "b", "--threads", "1")
    assert again == found
    first, second = contents(folder), contents(tmp_path / "b/demo")
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []


def test_a_second_call_resumes_and_other_options_are_refused(goldfish, made):
    folder, found = made
    before = contents(folder)
    process = goldfish.run("demo", "--output", "demo", "--json", *SIZE, cwd=folder.parent)
    assert json.loads(process.stdout) == found
    assert contents(folder) == before
    process = goldfish.run("demo", "--output", "demo", "--passages", "7", cwd=folder.parent, expect=2)
    assert "other options" in process.stderr
    process = goldfish.run("demo", "--output", folder / "corpus", expect=2)
    assert "choose another --output" in process.stderr


def test_a_stopped_demo_resumes(goldfish, made, tmp_path):
    folder, found = made
    arguments = ["demo", "--output", "demo", "--json", *SIZE]
    process = subprocess.Popen([goldfish.binary, *arguments], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    model = tmp_path / "demo/models/standard"
    while process.poll() is None and not (model.is_dir() and any(model.iterdir())):
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    error = process.communicate(timeout=60)[1]
    assert process.returncode == 2 and "run the same command again" in error and "--resume" not in error
    assert json.loads(goldfish.run(*arguments, cwd=tmp_path).stdout) == found
    first, second = contents(folder), contents(tmp_path / "demo")
    assert [name for name in first if first[name] != second.get(name)] == []


def test_a_small_sweep(goldfish, tmp_path):
    results = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        process = goldfish.run("lab", "sweep", "--quick", "--output", "sweep", "--json", cwd=tmp_path / name)
        results.append(json.loads(process.stdout))
    assert results[0] == results[1]
    folder = tmp_path / "a/sweep"
    assert json.loads((folder / "results.json").read_text()) == results[0]
    arms = {arm["name"]: arm for arm in results[0]["arms"]}
    assert {"standard", "control", "text-4", "hash-32", "text-4-longer", "layouts-hash"} <= arms.keys()
    assert len(arms) == 16
    for arm in arms.values():
        assert 0 < arm["supervised_tokens"] <= arm["tokens"] and arm["validation"]
        assert arm["goldfish"] is None or arm["k"]
    # At a dropped token or just after one: more than the dropped tokens, but fewer than twice as many.
    masks = arms["hash-4"]["goldfish"]
    assert masks["drop_rate"] < arms["hash-4"]["near_by_chance"] <= 2 * masks["drop_rate"] + 0.02
    assert arms["standard"]["near_by_chance"] is None
    assert arms["text-4"]["supervised_tokens"] < arms["text-32"]["supervised_tokens"]
    assert arms["text-4-longer"]["tokens"] > arms["text-4"]["tokens"]
    page = (folder / "sweep.html").read_text()
    assert page == (tmp_path / "b/sweep/sweep.html").read_text()
    assert page.count("<svg class=\"chart\"") >= 3 and "<script" not in page
    # The page shows the command that reproduces it.
    assert "goldfish lab sweep --output sweep --quick<" in page
    # Finished models are reused; missing ones are trained again.
    (folder / "results.json").unlink()
    (folder / "arms/hash-4/arm.json").unlink()
    goldfish.run("lab", "sweep", "--quick", "--output", "sweep", cwd=tmp_path / "a")
    assert json.loads((folder / "results.json").read_text()) == results[0]
