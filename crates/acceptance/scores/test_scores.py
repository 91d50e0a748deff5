"""Scores of a probe, compared with rapidfuzz, rouge_score, nltk, numpy and zlib."""

import random
import zlib
from difflib import SequenceMatcher

import nltk
import numpy as np
import pytest
from rapidfuzz.distance import LCSseq, Levenshtein, Prefix
from rouge_score import rouge_scorer
from scipy.special import log_softmax


def pairs_of_ids():
    """Random pairs and edge cases of alignments: empty, constant, periodic, shifted, long, huge ids."""
    rng = random.Random(11)
    pairs = [([], []), ([], [1]), ([1], []), ([7] * 50, [7] * 50), ([7] * 50, [7] * 49 + [8])]
    pairs += [([1, 2] * 40, [2, 1] * 40), (list(range(64)), list(range(64))), (list(range(65)), list(range(1, 66)))]
    pairs += [(list(range(200)), list(range(199, -1, -1))), ([2**32 - 1, 0, 2**31], [0, 2**32 - 1, 2**31])]
    pairs += [(list(range(130)), list(range(66, 130)) + list(range(66))), ([5] * 300, [5, 6] * 150)]
    for _ in range(1500):
        vocabulary = rng.choice([1, 2, 3, 10, 200, 50_000])
        lengths = [rng.choice([0, 1, 5, 31, 50, 63, 64, 65, 127, 130, 257]) for _ in range(2)]
        first, second = ([rng.randrange(vocabulary) for _ in range(n)] for n in lengths)
        pairs.append((first, second))
        # The second is an edited copy of the first, as continuations are.
        copy = list(first)
        for _ in range(rng.randrange(6)):
            place = rng.randrange(len(copy) + 1)
            copy[place : place + rng.randrange(3)] = [rng.randrange(vocabulary) for _ in range(rng.randrange(3))]
        pairs.append((copy, first))
    return pairs


@pytest.fixture(scope="module")
def pairs():
    return pairs_of_ids()


@pytest.fixture(scope="module")
def answers(ask, pairs):
    return ask([{"op": "overlap", "g": g, "s": s} for g, s in pairs])


def test_common_subsequence_and_rouge_l(pairs, answers):
    for (g, s), found in zip(pairs, answers):
        common = LCSseq.similarity(g, s)
        assert found["common_subsequence"] == common
        precision, recall = (common / len(x) if x else 0.0 for x in (g, s))
        f1 = 2 * precision * recall / (precision + recall) if common else 0.0
        assert found["rouge_l"] == pytest.approx([precision, recall, f1], abs=1e-15)


def test_edit_distance(pairs, answers):
    for (g, s), found in zip(pairs, answers):
        assert found["edit_distance"] == Levenshtein.distance(g, s)
        assert found["edit_similarity"] == pytest.approx(Levenshtein.normalized_similarity(g, s), abs=1e-15)
    for (g, s), found in list(zip(pairs, answers))[:300]:
        if len(g) * len(s) < 5000:
            assert found["edit_distance"] == nltk.edit_distance(g, s)


def test_common_prefix(pairs, answers):
    for (g, s), found in zip(pairs, answers):
        assert found["match_length"] == Prefix.similarity(g, s)
        assert found["exact_match"] == (g == s)


def test_longest_common_run(pairs, answers):
    for (g, s), found in zip(pairs, answers):
        match = SequenceMatcher(None, g, s, autojunk=False).find_longest_match()
        assert found["longest_common_run"] == match.size


def test_positions_and_types(pairs, answers):
    for (g, s), found in zip(pairs, answers):
        same = sum(a == b for a, b in zip(g, s))
        assert found["positional_accuracy"] == pytest.approx(same / len(s) if s else 0.0)
        assert found["type_token_ratio"] == pytest.approx(len(set(g)) / len(g) if g else 1.0)


def texts():
    rng = random.Random(5)
    words = "the cat sat on a mat . , it's U.S.A. naïve Ünder_score 3.14 don’t İstanbul K ſ Straße ﬁ 你好 привет 1,000 -- \t \n x_y".split(" ")
    made = [" ".join(rng.choice(words) for _ in range(rng.randrange(0, 30))) for _ in range(600)]
    odd = "".join(chr(rng.choice([0x41, 0x61, 0x130, 0x212A, 0xC5, 0x1E9E, 0x3A3, 0x20, 0x30, 0x661])) for _ in range(400))
    fixed = [("the cat sat on the mat", "the cat was on the mat"), ("a a b", "a b b a"), ("", ""), ("", "a"), ("…", "—")]
    return [*fixed, *zip(made[::2], made[1::2]), (odd[:200], odd[200:]), (odd, odd)]


def test_rouge_l_of_words(ask):
    scorer = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=False)
    pairs = texts()
    for (truth, g), found in zip(pairs, ask([{"op": "words", "g": g, "s": s} for s, g in pairs])):
        expected = scorer.score(truth, g)["rougeL"]
        assert found == pytest.approx([expected.precision, expected.recall, expected.fmeasure], abs=1e-12), (truth, g)


def test_min_k(ask):
    rng = np.random.default_rng(2)
    cases = [(-rng.exponential(3, n), share) for n in (1, 4, 5, 50, 333) for share in (0.05, 0.2, 0.5, 1.0)]
    found = ask([{"op": "min_k", "log_probs": list(log_probs), "share": share} for log_probs, share in cases])
    for (log_probs, share), value in zip(cases, found):
        k = max(1, int(len(log_probs) * share))
        assert value == pytest.approx(-np.mean(np.sort(log_probs)[:k]))


def logits_of(rng, kind, n):
    if kind == "ties":
        return rng.integers(0, 4, n).astype(np.float32)
    if kind == "large":
        return rng.normal(0, 300, n).astype(np.float32)
    return rng.normal(0, 3, n).astype(np.float32)


def test_token_scores(ask):
    rng = np.random.default_rng(3)
    cases = []
    for kind in ("normal", "ties", "large"):
        for n in (1, 2, 7, 1000):
            for top_k in (None, 1, 3, n):
                logits = logits_of(rng, kind, n)
                cases.append((logits, int(rng.integers(n)), float(rng.choice([0.3, 1.0, 2.0])), top_k))
    questions = [
        {"op": "token", "logits": [float(x) for x in logits], "token": token, "temperature": t, "top_k": k}
        for logits, token, t, k in cases
    ]
    for (logits, token, temperature, top_k), found in zip(cases, ask(questions)):
        wide = logits.astype(np.float64)
        log_p = log_softmax(wide)
        assert found["log_prob"] == pytest.approx(log_p[token], rel=1e-12, abs=1e-12)
        order = sorted(range(len(logits)), key=lambda i: (-logits[i], i))
        assert found["greedy"] == order[0] == int(np.argmax(logits))
        assert found["rank"] == order.index(token) + 1
        others = np.delete(log_p, token)
        if len(others):
            assert found["rival"] == pytest.approx(others.max(), rel=1e-12, abs=1e-12)
        else:
            assert found["rival"] is None
        p = np.exp(log_p)
        mean = np.sum(np.where(p > 0, p * log_p, 0))
        assert found["mean"] == pytest.approx(mean, rel=1e-9, abs=1e-9)
        variance = np.sum(np.where(p > 0, p * (log_p - mean) ** 2, 0))
        assert found["variance"] == pytest.approx(variance, rel=1e-9, abs=1e-9)
        kept = order[: top_k or len(order)]
        if token in kept:
            expected = log_softmax(wide[kept] / temperature)[kept.index(token)]
            assert found["scheme"] == pytest.approx(expected, rel=1e-12, abs=1e-12)
        else:
            assert found["scheme"] is None  # minus infinity


def test_compressed_size(ask):
    rng = random.Random(8)
    samples = ["", "a", "goldfish " * 500, "".join(chr(rng.randrange(32, 127)) for _ in range(5000))]
    samples += [" ".join(rng.choice("one two three four five".split()) for _ in range(n)) for n in (10, 100, 1000)]
    for text, size in zip(samples, ask([{"op": "zlib", "text": text} for text in samples])):
        reference = len(zlib.compress(text.encode()))
        # Another implementation of the same format: sizes of small streams differ by some bytes.
        assert abs(size - reference) <= 24 + 0.05 * reference
