"""A real llama.cpp server, compared with the model in numpy."""

import json

import numpy as np
import pytest

from servers import tiny_llama
from servers.fixtures import ask, llama_server
from servers.tiny_llama import CHARACTERS, EOS

FIRST = 3 + 256
PREFIX, SUFFIX = 12, 12
# In float32, closer log-probabilities may be in either order.
CLOSE = 1e-3


def prompts(n, seed=1):
    random = np.random.default_rng(seed)
    return [[int(id) for id in random.integers(FIRST, FIRST + len(CHARACTERS), PREFIX)] for _ in range(n)]


@pytest.fixture(scope="session")
def continued(llama):
    """Prompts with greedy continuations that have no near ties."""
    found = [(prompt, *llama.greedy(prompt, SUFFIX)) for prompt in prompts(40)]
    sure = [(prompt, ids) for prompt, ids, lead in found if lead > CLOSE]
    assert len(sure) >= 30
    return sure


@pytest.fixture(scope="session")
def documents(continued, tmp_path_factory):
    """A third of the documents is known completely, a third in part, a third not at all."""
    path, known = tmp_path_factory.mktemp("documents") / "documents.jsonl", {}
    with open(path, "w") as file:
        for number, (prompt, ids) in enumerate(continued):
            truth, end = list(ids), [SUFFIX, number % SUFFIX, 0][number % 3]
            if end < SUFFIX:
                truth[end] = FIRST + (truth[end] - FIRST + 1) % len(CHARACTERS)
            known[f"d{number}"] = end
            print(json.dumps({"id": f"d{number}", "input_ids": prompt + truth}), file=file)
    return path, known


def test_the_server_describes_itself(server):
    (found,) = ask(server)
    model = found["model"]
    assert model["backend"] == "llama-cpp" and model["name"] == "tiny.gguf"
    assert model["vocab_size"] == tiny_llama.CONFIG["vocab_size"] and model["context_length"] == 256
    assert "n_params=" in model["fingerprint"]
    assert found["capabilities"] == {"score": False, "moments": False, "schemes": False, "generate": True, "candidates": False}


def test_continuations_are_those_of_the_model(server, continued):
    questions = [{"prompt": prompt, "tokens": SUFFIX} for prompt, _ in continued]
    _, found = ask(server, {"generate": questions})
    assert [one["ids"] for one in found] == [ids for _, ids in continued]
    assert all(one["evaluated"] == PREFIX and not one["caveats"] for one in found)
    exchange = json.loads(found[0]["exchange"])
    assert exchange["request"]["prompt"] == continued[0][0] and exchange["response"]["stop_type"] == "limit"
    settings = exchange["response"]["generation_settings"]
    assert settings["temperature"] == 0 and settings["top_p"] == 1 and settings["min_p"] == 0


def test_the_end_of_sequence_is_ignored(server, llama):
    """Some of these would end early."""
    ended = [p for p in prompts(200, seed=2) if EOS in llama.greedy(p, 4, ignore_eos=False)[0]]
    assert len(ended) >= 3
    _, found = ask(server, {"generate": [{"prompt": prompt, "tokens": SUFFIX} for prompt in ended]})
    assert all(len(one["ids"]) == SUFFIX and EOS not in one["ids"] for one in found)


def test_the_self_test_passes(server):
    sequences = [prompt + other for prompt, other in zip(prompts(3), prompts(3, seed=5))]
    _, found = ask(server, {"self_test": {"sequences": sequences, "eos": EOS}})
    outcomes = {check["name"]: check["outcome"] for check in found["checks"]}
    assert found["verdict"] == "generate", found
    for name in ["vocabulary", "context_length", "no_bos_added", "eos_suppressed"]:
        assert outcomes[name] == "passed", found
    # Batches may be computed in another order, which affects near ties; the bound was measured.
    assert outcomes["batch_invariant"] in ("passed", "flagged")


def test_an_audit_finds_what_is_known(server, documents, tmp_path):
    path, known = documents
    question = {"documents": str(path), "output": str(tmp_path / "run"), "prefix": PREFIX, "suffix": SUFFIX}
    _, rows = ask(server, {"audit": question | {"decide": "generate"}})
    assert {row["doc_id"]: row["match_length"] for row in rows} == known
    assert all(row["exact_match"] == (row["match_length"] == SUFFIX) for row in rows)


def test_as_text_the_verdicts_are_the_same(server, documents, tmp_path):
    path, known = documents
    options = ["--protocol", "text", "--characters", CHARACTERS, "--first", str(FIRST)]
    question = {"documents": str(path), "output": str(tmp_path / "run"), "prefix": PREFIX, "suffix": SUFFIX}
    described, rows = ask(server, {"audit": question | {"decide": "generate"}}, options=options)
    assert described["model"]["backend"] == "text"
    plain = {row["doc_id"]: row["match_length"] for row in rows if not row["caveats"]}
    assert len(plain) >= len(known) // 2
    assert plain == {name: known[name] for name in plain}


def test_ignored_echo_is_detected(server):
    """`/v1/completions` of this server accepts `echo` and ignores it."""
    (found,) = ask(server, options=["--protocol", "openai"])
    assert found["capabilities"]["score"] is False
    assert any("doesn't score given sequences" in note for note in found["notes"]), found["notes"]


def test_a_prompt_beyond_the_context_is_refused(server):
    _, found = ask(server, {"generate": [{"prompt": [FIRST] * 250, "tokens": 10}]})
    assert "takes 256 tokens at most, a sequence has 260" in found["error"]


def test_the_key_works_and_is_not_shown(model_file, tmp_path):
    with llama_server(model_file, tmp_path / "log", key="sk-secret") as url:
        question = {"generate": [{"prompt": [FIRST, FIRST + 1], "tokens": 2}]}
        _, found = ask(url, question, key="sk-secret")
        assert len(found[0]["ids"]) == 2 and "secret" not in json.dumps(found)
        with pytest.raises(RuntimeError) as refused:
            ask(url, question, key="sk-othersecret")
        assert "GOLDFISH_API_KEY" in str(refused.value) and "secret" not in str(refused.value)
