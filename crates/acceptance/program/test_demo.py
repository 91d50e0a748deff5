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
    assert masked.manifest["rule"]["name"] == "text-v2" and masked.manifest["rule"]["k"] == 4
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


def sweep(goldfish, folder, *arguments):
    arguments = ["lab", "sweep", "--quick", "--output", "sweep", "--json", *arguments]
    return json.loads(goldfish.run(*arguments, cwd=folder).stdout)


@pytest.fixture(scope="module")
def swept(goldfish, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep")
    return folder, sweep(goldfish, folder)


def test_a_small_sweep(swept):
    folder, results = swept
    folder = folder / "sweep"
    assert json.loads((folder / "results.json").read_text()) == results
    arms = {arm["name"]: arm for arm in results["arms"]}
    assert {"standard", "control", "text-4", "hash-32", "text-4-longer", "layouts-hash"} <= arms.keys()
    edited = {name.removeprefix("edited-") for name, arm in arms.items() if arm["group"] == "edited"}
    texts = {"text", "text-v1", "text-run-6", "text-unbounded"}
    assert edited == {"standard", "control", "anchor", "hash"} | texts
    assert len(arms) == 30 and results["missing"] == []
    for arm in arms.values():
        assert 0 < arm["supervised_tokens"] <= arm["tokens"] and arm["validation"]
        assert arm["goldfish"] is None or arm["k"]
        lengths = arm["match_lengths"]
        assert len(lengths) == 4 and sum(lengths) / 4 == pytest.approx(arm["match_length"]["mean"])
    # At a dropped token or just after one: more than the dropped tokens, but fewer than twice as many.
    masks = arms["hash-4"]["goldfish"]
    assert masks["drop_rate"] < arms["hash-4"]["near_by_chance"] <= 2 * masks["drop_rate"] + 0.02
    assert arms["standard"]["near_by_chance"] is None
    assert arms["text-4"]["supervised_tokens"] < arms["text-32"]["supervised_tokens"]
    assert arms["text-4-longer"]["tokens"] > arms["text-4"]["tokens"]
    # All arms of a group see the same documents.
    assert len({arms[f"edited-{name}"]["tokens"] for name in edited - {"control"}}) == 1


def test_the_page_of_a_sweep(swept):
    page = (swept[0] / "sweep/sweep.html").read_text()
    assert page.count('<svg class="chart"') >= 4 and page.count("<script>") == page.count("<script") == 1
    for found in ["Equal copies", "Copies in layouts", "Edited copies", "longest run 6", "no longest run"]:
        assert found in page, found
    # The page shows the command that reproduces it.
    assert "goldfish lab sweep --output sweep --quick<" in page


def test_rates_of_edited_copies(swept):
    corpus = swept[0] / "sweep/corpus"
    texts = {}
    for name in ("edited", "audited"):
        for line in (corpus / f"{name}.jsonl").read_text().splitlines():
            document = json.loads(line)
            texts[document["id"]] = document["text"].split()
    for passage in range(4):
        original = texts[f"target-{passage:03}/line"]
        for copy, percent in ((0, 5), (1, 10)):
            edited = texts[f"target-{passage:03}/edited-{percent}/{copy}"]
            differing = sum(old != new for old, new in zip(original, edited, strict=True))
            assert 0 < differing < 3 * percent / 100 * len(original)


def test_parts_of_a_sweep_are_those_of_the_whole(goldfish, swept, tmp_path):
    arms = {arm["name"]: arm for arm in swept[1]["arms"]}
    first = sweep(goldfish, tmp_path, "--copies", "edited", "--only", "edited-text,edited-control")
    assert [arm["name"] for arm in first["arms"]] == ["edited-control", "edited-text"]
    page = (tmp_path / "sweep/sweep.html").read_text()
    assert "Edited copies" in page and "Copies in layouts" not in page and "Not trained yet" in page
    second = sweep(goldfish, tmp_path, "--only", "text-32", "--threads", "1")
    assert [arm["name"] for arm in second["arms"]] == ["text-32", "edited-control", "edited-text"]
    assert all(arm == arms[arm["name"]] for arm in second["arms"])
    assert len(second["missing"]) == 27
    # An arm that was lost is made again, from its model.
    (tmp_path / "sweep/arms/text-32/arm.json").unlink()
    assert sweep(goldfish, tmp_path, "--only", "text-32") == second
    process = goldfish.run("lab", "sweep", "--quick", "--only", "text-5", "--output", "b", cwd=tmp_path, expect=2)
    assert "text-5" in process.stderr and "edited-hash" in process.stderr and not (tmp_path / "b").exists()
    process = goldfish.run("lab", "sweep", "--output", "sweep", "--epochs", "3", cwd=tmp_path, expect=2)
    assert "other options" in process.stderr


def test_what_a_sweep_finds_out_about_architectures(goldfish, tmp_path):
    size = ["--passages", "4", "--copies-each", "8", "--background", "4", "--epochs", "24"]
    results = sweep(goldfish, tmp_path, "--architectures", "llama", *size)
    arms = {arm["series"]: arm for arm in results["arms"]}
    for arm in arms.values():
        epochs, recited = zip(*arm["recited"], strict=True)
        assert epochs[-1] == 24 and list(epochs) == sorted(epochs)
        # Counted in training as in the audit afterwards.
        if arm["series"] != "control":
            assert recited[-1] == arm["exact_match"]["positives"]
    assert arms["standard"]["recited"][0][1] == 0 and arms["standard"]["recited"][-1][1] == 4
    for series in ("standard", "text"):
        context = arms[series]["in_context"]
        assert context["held_out"]["positives"] == 0 and context["held_out_in_prompt"]["n"] > 0
        assert context["in_prompt"]["n"] == arms[series]["exact_match"]["n"]
    assert "in_context" not in arms["control"]
    results = sweep(goldfish, tmp_path, "--architectures", "aaren", "--parts", "costs,copy", *size)
    assert len(results["arms"]) == 3
    [costs] = results["costs"]
    assert costs["architecture"] == "aaren" and [at["tokens"] for at in costs["at"]] == [1024, 8192]
    # A layer keeps a number for each of 128 channels and one for each of four heads.
    assert [at["state_bytes"] for at in costs["at"]] == [2 * 4 * (128 + 4)] * 2
    assert all(at["step_ms"] > 0 and at["whole_ms"] > at["step_ms"] for at in costs["at"])
    [task] = results["tasks"]
    assert task["task"] == "copy" and [arm["architecture"] for arm in task["arms"]] == ["aaren"]
    page = (tmp_path / "sweep/sweep.html").read_text()
    for found in ["Weights or context", "Costs of a token", "Copying from context", "by epochs"]:
        assert found in page, found
    assert "--architectures llama,aaren --parts recitation,costs,copy<" in page


def test_a_small_pool_of_memory(goldfish, tmp_path):
    arguments = ["lab", "memory", "--quick", "--output", "memory", "--json"]
    results = json.loads(goldfish.run(*arguments, cwd=tmp_path).stdout)
    folder = tmp_path / "memory"
    assert json.loads((folder / "results.json").read_text()) == results
    assert [(arm["name"], arm["k"]) for arm in results["arms"]] == [("standard", None), ("masked", 4)]
    for arm in results["arms"]:
        assert [point["later"] for point in arm["points"]] == [0, 2]
        # Eight of 16 vectors are replaced by each fact.
        assert [point["kept"] for point in arm["points"]] == [1.0, 0.25]
        assert all(point["letters"]["n"] == 20 * 5 and point["facts"]["n"] == 20 for point in arm["points"])
        steps = [step for step, _ in arm["losses"]]
        assert steps[-1] == 40 and arm["losses"][-1][1] < arm["losses"][0][1]
    page = (folder / "memory.html").read_text()
    assert page.count('<svg class="chart"') == 2 and "goldfish lab memory --output memory --quick<" in page
    # The same options give the same bytes, and an arm that was lost is made again.
    (folder / "arms/masked.json").unlink()
    assert json.loads(goldfish.run(*arguments, "--threads", "1", cwd=tmp_path).stdout) == results
    process = goldfish.run(*arguments, "--seed", "1", cwd=tmp_path, expect=2)
    assert "other options" in process.stderr
