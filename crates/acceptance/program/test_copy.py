"""Small runs of `goldfish lab copy`: the shards of a task, a trained model, and the same model as a prompted one."""

import json

import pytest

from product import Output

CHARACTERS = "\0\1abcdefghijklmnopqrstuvwxyz0123456789|:,"
SIZE = ["--quick", "--samples", 20]


def answer(task, question):
    """What follows a question, by the definition of its task."""
    if task in ("copy", "duplicates"):
        return question.removesuffix("|")
    if task == "phone-book":
        book, name = question.removesuffix(":").split("|")
        return dict(entry.split(":") for entry in book.split(","))[name]
    text, key = question.split("|") if task == "suffix-key" else question.removesuffix("|").split("|")[::-1]
    assert sum(text.startswith(key, start) for start in range(len(text))) == 1
    return text[text.index(key) + 3 :][:4]


@pytest.mark.parametrize("task", ["copy", "duplicates", "prefix-key", "suffix-key", "phone-book"])
def test_the_masks_are_the_answers(goldfish, tmp_path, task):
    arguments = ["lab", "copy", "--task", task, *SIZE, "--length", 8, "--tokens", 2_000, "--lengths", 8]
    results = json.loads(goldfish.run(*arguments, "--output", tmp_path / "out", "--json").stdout)
    shards = Output(tmp_path / "out/shards")
    goldfish.run("verify", shards.folder, "--recompute")
    assert shards.manifest["rule"] == {"version": 1, "name": "none"}
    assert shards.manifest["existing_mask"] == f"the answers of {task}"
    supervised = 0
    for row in shards.table.select(["input_ids", "loss_mask"]).to_pylist():
        text = "".join(CHARACTERS[id] for id in row["input_ids"])
        expected = []
        for sample in text.removesuffix("\1").split("\1"):
            assert sample.startswith("\0")
            ends = [end for end in range(2, len(sample)) if sample[1:end][-1] in "|:" or task == "suffix-key"]
            (question,) = {
                sample[1:end] for end in ends if is_question(task, sample[1:end]) and answer(task, sample[1:end]) == sample[end:]
            }
            expected += [0] * (1 + len(question)) + [1] * (len(sample) - len(question))
        assert row["loss_mask"] == expected
        supervised += sum(expected[1:])
    assert results["arms"][0]["supervised_tokens"] == supervised


def is_question(task, text):
    separators = {"copy": 1, "duplicates": 1, "prefix-key": 2, "suffix-key": 1, "phone-book": 1}[task]
    if text.count("|") != separators:
        return False
    return {"suffix-key": text[-4:-3] == "|", "phone-book": text.endswith(":")}.get(task, text.endswith("|"))


def test_a_trained_model_answers_the_same_as_a_prompted_one(goldfish, tmp_path):
    # One or two letters in sequences of one or two samples: many small steps, after which they are copied.
    trained = [*SIZE, "--tokens", 40_000, "--length", 2, "--context", 9, "--lengths", "1,2,5"]
    copy = ["lab", "copy", "--task", "copy", "--output"]
    shown = goldfish.run(*copy, tmp_path / "out", *trained).stdout
    assert "trained at lengths 1 to 2" in shown and shown.count("not in training") == 1
    results = json.loads((tmp_path / "out/results.json").read_text())
    assert results["options"]["lengths"] == [1, 2, 5]
    (arm,) = results["arms"]
    strings = [length["strings"] for length in arm["lengths"]]
    assert [found["n"] for found in strings] == [20, 20, 20]
    assert strings[1]["rate"] >= 0.8
    # Again is nothing more; other options are refused.
    assert goldfish.run(*copy, tmp_path / "out", *trained).stdout == shown
    goldfish.run(*copy, tmp_path / "out", *trained, "--seed", 1, expect=2)

    model = ["--model", tmp_path / "out/arms/llama/model", "--bos-id", 0]
    asked = ["--examples", 0, "--lengths", "1,2,5", "--samples", 20, "--json"]
    prompted = json.loads(goldfish.run(*copy, tmp_path / "asked", *model, *asked).stdout)
    assert [length["strings"] for length in prompted["lengths"]] == strings
    assert prompted["model"]["backend"] == "local"
    goldfish.run(*copy, tmp_path / "none", *model, "--quick", expect=2)
