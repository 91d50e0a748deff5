"""`goldfish canary`: passages are planted, a model is really trained on them, and the test is computed again with scipy."""

import contextlib
import hashlib
import json
import math
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

GROUPS = {1: 12, 24: 12}


@pytest.fixture(scope="module")
def trained(goldfish, fixtures, tmp_path_factory):
    """A folder of canaries and a small model that saw them once, each of one group 24 times."""
    folder = tmp_path_factory.mktemp("canaries")
    corpus, tokenizer = fixtures / "corpus/prose.jsonl", fixtures / "tokenizers/gpt2.json"
    sizes = ["--canaries", 12, "--repetitions", ",".join(map(str, GROUPS)), "--words", 16, "--seed", "a secret"]
    planted = goldfish.run("canary", "plant", corpus, *sizes, "--output", folder / "plan", "--json")
    canaries = folder / "plan/canaries.jsonl"
    goldfish.run("mask", canaries, "--tokenizer", tokenizer, "--append-eos", "--output", folder / "masked")
    model = "--layers 1 --width 64 --heads 2 --mlp-width 128 --tied --lr 5e-3 --warmup 5 --epochs 3 --ignore-mask".split()
    goldfish.run("lab", "train", folder / "masked", "--tokenizer", tokenizer, *model, "--output", folder / "model")
    return SimpleNamespace(
        plan=folder / "plan", model=folder / "model", tokenizer=tokenizer, planted=json.loads(planted.stdout)
    )


def test_a_trained_model_is_found(goldfish, trained, tmp_path):
    digest = hashlib.sha256((trained.plan / "plan.json").read_bytes()).hexdigest()
    assert trained.planted["digest"] == digest and trained.planted["documents"] == 12 + 24 * 12
    gate = ["--fail-if", "all.p_value < 0.001"]
    output = tmp_path / "result.json"
    run = goldfish.run(
        "canary", "test", trained.plan, "--model", trained.model, "--digest", digest, "--output", output, *gate, expect=1
    )
    assert "gate failed" in run.stderr and "p-value" in run.stdout
    result = json.loads(output.read_text())
    assert result["plan"] == digest
    often = result["repetitions"][1]["test"]
    assert often["lower"] == 12 and often["exposure"]["mean"] > 3

    # The same numbers from the losses of the pairs.
    held_out = [pair["held_out_loss"] for pair in result["pairs"]]
    for pair in result["pairs"]:
        rank = 1 + sum(loss <= pair["planted_loss"] for loss in held_out)
        assert pair["exposure"] == pytest.approx(math.log2(25) - math.log2(rank), abs=1e-12)
    tests = [(result["all"], result["pairs"])]
    for group, (repetitions, pairs) in zip(result["repetitions"], GROUPS.items()):
        of_group = [pair for pair in result["pairs"] if pair["repetitions"] == repetitions]
        assert group["repetitions"] == repetitions and len(of_group) == pairs
        tests.append((group["test"], of_group))
    for test, pairs in tests:
        differences = [pair["held_out_loss"] - pair["planted_loss"] for pair in pairs]
        p_value = stats.wilcoxon(differences, alternative="greater", method="exact").pvalue
        assert test["p_value"] == pytest.approx(p_value, rel=1e-9)
        assert test["lower"] == sum(difference > 0 for difference in differences)
        assert test["loss_difference"]["mean"] == pytest.approx(sum(differences) / len(pairs))


def test_other_canaries_are_not_found(goldfish, trained, fixtures, tmp_path):
    """The model never saw these: its p-value is one of the uniform distribution, fixed by the seed."""
    corpus = fixtures / "corpus/prose.jsonl"
    goldfish.run("canary", "plant", corpus, "--words", 16, "--seed", "another", "--output", tmp_path / "plan")
    arguments = ["--model", trained.model, "--fail-if", "all.p_value < 0.001", "--json"]
    result = json.loads(goldfish.run("canary", "test", tmp_path / "plan", *arguments).stdout)
    assert result["all"]["pairs"] == 300 and result["all"]["p_value"] > 0.01
    exposure = result["all"]["exposure"]
    assert exposure["lower"] < result["chance_exposure"] < exposure["upper"]


def test_refusals(goldfish, trained, tmp_path):
    def refused(*words, folder=trained.plan, arguments=("--model", trained.model)):
        message = goldfish.run("canary", "test", folder, *arguments, expect=2).stderr
        assert all(word in message for word in words), message

    refused("it is another plan", arguments=["--model", trained.model, "--digest", "00" * 32])
    refused("plan.json", folder=tmp_path)
    refused("no `everything`", arguments=["--model", trained.model, "--fail-if", "everything.p_value < 0.1"])
    other = trained.tokenizer.with_name("neox.json")
    refused("own tokenizer gives other ids", arguments=["--model", trained.model, "--tokenizer", other])
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("config.json", "model.safetensors"):
        (bare / name).symlink_to(trained.model / name)
    refused("give --tokenizer", arguments=["--model", bare])
    edited = tmp_path / "edited"
    edited.mkdir()
    for path in trained.plan.iterdir():
        (edited / path.name).write_bytes(path.read_bytes())
    plan = json.loads((edited / "plan.json").read_text())
    plan["pairs"][0]["planted"] = "second" if plan["pairs"][0]["planted"] == "first" else "first"
    (edited / "plan.json").write_text(json.dumps(plan))
    refused("are not those that its seed and words give", folder=edited)


class Bigrams:
    """A model of pairs of tokens that were trained on, with the endpoints of vLLM."""

    def __init__(self, tokenizer, texts):
        from tokenizers import Tokenizer

        self.tokenizer = Tokenizer.from_file(str(tokenizer))
        counts = np.full([self.tokenizer.get_vocab_size()] * 2, 0.01)
        for text in texts:
            ids = self.tokenizer.encode(text, add_special_tokens=False).ids
            np.add.at(counts, (ids[:-1], ids[1:]), 1)
        self.log_probs = np.log(counts / counts.sum(1, keepdims=True))

    def loss(self, text):
        ids = self.tokenizer.encode(text, add_special_tokens=False).ids
        return -self.log_probs[ids[:-1], ids[1:]].mean()

    def position(self, last, token):
        named = {*map(int, self.best(last)), token}
        rank = {i: int((self.log_probs[last] > self.log_probs[last, i]).sum()) + 1 for i in named}
        return {str(i): {"logprob": float(self.log_probs[last, i]), "rank": rank[i]} for i in named}

    def best(self, last):
        """The two likeliest tokens, of equals the first."""
        row = self.log_probs[last]
        first = int(row.argmax())
        return first, int(np.where(np.arange(len(row)) == first, -np.inf, row).argmax())

    def completion(self, prompt, tokens, scored):
        ids = []
        for _ in range(tokens):
            ids.append(self.best([*prompt, *ids][-1])[0])
        choice = {"prompt_token_ids": prompt, "token_ids": ids, "finish_reason": "length", "text": ""}
        if scored:
            choice["prompt_logprobs"] = [None, *(self.position(*pair) for pair in zip(prompt, prompt[1:]))]
        return choice

    def answer(self, path, asked):
        if path == "/v1/models":
            return {"object": "list", "data": [{"id": "bigrams", "owned_by": "vllm", "max_model_len": 512}]}
        if path == "/tokenize":
            return {"tokens": self.tokenizer.encode(asked["prompt"], add_special_tokens=False).ids}
        if path != "/v1/completions":
            return None
        prompts, tokens = asked["prompt"], asked["max_tokens"]
        choices = [self.completion(prompt, tokens, asked.get("prompt_logprobs")) for prompt in prompts]
        usage = {"prompt_tokens": sum(map(len, prompts)), "completion_tokens": tokens * len(prompts)}
        return {"choices": [{"index": i, **choice} for i, choice in enumerate(choices)], "usage": usage}

    @contextlib.contextmanager
    def served(self):
        """The address of a server."""
        model = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                size = int(self.headers.get("Content-Length") or 0)
                answer = model.answer(self.path, json.loads(self.rfile.read(size) or "{}"))
                body = json.dumps(answer).encode()
                self.send_response(404 if answer is None else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET

            def log_message(self, *_):
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            yield f"http://127.0.0.1:{server.server_address[1]}"
            server.shutdown()


def test_a_server_is_tested(goldfish, trained, tmp_path):
    def texts(name):
        return [json.loads(line)["text"] for line in (trained.plan / name).read_text().splitlines()]

    model = Bigrams(trained.tokenizer, texts("canaries.jsonl"))
    pairs = json.loads((trained.plan / "plan.json").read_text())["pairs"]
    with model.served() as address:
        arguments = ["canary", "test", trained.plan, "--server", address]
        done = goldfish.run(*arguments, "--tokenizer", trained.tokenizer, "--json")
        other = goldfish.run(*arguments, "--tokenizer", trained.tokenizer.with_name("llama3.json"), expect=2)
        goldfish.run(*arguments, expect=2)
    result = json.loads(done.stdout)
    assert result["asked"]["model"]["backend"] == "vllm" and result["all"]["lower"] == 24
    for pair, found in zip(pairs, result["pairs"]):
        losses = [model.loss(text) for text in pair["twins"]]
        planted = ["first", "second"].index(pair["planted"])
        assert [found["planted_loss"], found["held_out_loss"]] == pytest.approx([losses[planted], losses[1 - planted]])
    assert "own tokenizer gives other ids" in other.stderr
