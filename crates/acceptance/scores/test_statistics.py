"""Statistics, compared with scipy and statsmodels."""

import math
import random
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint


def test_intervals_of_rates(ask):
    rng = random.Random(1)
    cases = [(k, n) for n in (1, 2, 3, 10, 1000, 10**6) for k in {0, 1, n // 2, n - 1, n}]
    cases += [(rng.randrange(n + 1), n) for n in (rng.randrange(1, 10**5) for _ in range(300))]
    cases += [(1, 10**9), (10**9 - 1, 10**9)]
    cases = [(k, n, confidence) for k, n in cases for confidence in (0.8, 0.95, 0.999)]
    found = ask([{"op": "rate", "k": k, "n": n, "confidence": c} for k, n, c in cases])
    for (k, n, confidence), answer in zip(cases, found):
        alpha = 1 - confidence
        # With more probes, the gamma function loses digits.
        rel = 1e-7 if n <= 10**5 else 1e-6 if n <= 10**6 else 1e-5
        wilson = proportion_confint(k, n, alpha=alpha, method="wilson")
        assert answer["wilson"] == pytest.approx(wilson, rel=1e-8, abs=1e-12), (k, n, confidence)
        lower = stats.beta.ppf(alpha / 2, k, n - k + 1) if k > 0 else 0
        exact = (lower, stats.beta.isf(alpha / 2, k + 1, n - k) if k < n else 1)
        assert answer["clopper_pearson"] == pytest.approx(exact, rel=rel, abs=1e-15), (k, n, confidence)
        if k == 0:
            # One-sided: the upper bound of a two-sided interval with twice the tail.
            bound = stats.beta.isf(alpha, 1, n)
            assert answer["rule_of_three"] == pytest.approx(bound, rel=1e-9)


def test_quantiles_of_student(ask):
    cases = [(p, f) for p in (0.001, 0.025, 0.3, 0.5, 0.6, 0.975, 0.99999) for f in (1, 2, 5, 29, 99, 1234, 10**5, 10**7)]
    for (p, freedom), found in zip(cases, ask([{"op": "student", "p": p, "freedom": f} for p, f in cases])):
        assert found == pytest.approx(stats.t.ppf(p, freedom), rel=1e-6, abs=1e-9), (p, freedom)


def test_draws_until_seen(ask):
    log_p_zs = [math.log(x) for x in (0.999999, 0.5, 0.01, 1e-3, 1e-10, 1e-14, 1e-17)]
    log_p_zs += [-1e-20, -39.9, -40.1, -690.0, -745.0, -750.0, -5000.0, -1e6]
    cases = [(x, p) for x in log_p_zs for p in (0.1, 0.5, 0.9, 0.999)]
    for (log_p_z, p), found in zip(cases, ask([{"op": "draws", "log_p_z": x, "p": p} for x, p in cases])):
        # ln(-ln(1 - p_z)) by series where p_z is small, else directly.
        p_z = math.exp(log_p_z)
        rate = log_p_z if log_p_z < -30 else math.log(-math.log1p(-p_z)) if p_z < 1 else None
        if rate is None:
            rate = math.log(-math.log(-math.expm1(log_p_z)))
        expected = math.log(-math.log1p(-p)) - rate
        assert found["ln_draws"] == pytest.approx(expected, rel=1e-9, abs=1e-9), (log_p_z, p)
        if expected < 30:
            assert found["draws"] == pytest.approx(max(1, math.ceil(math.exp(expected) * (1 - 1e-12))), rel=1e-9)


def test_draws_are_the_smallest_number(ask):
    """In exact arithmetic: n draws reach probability p, n - 1 do not."""
    cases = [(Fraction(a, b), Fraction(p, 10)) for a, b in ((1, 2), (1, 3), (1, 100), (3, 1000)) for p in (1, 5, 9)]
    found = ask([{"op": "draws", "log_p_z": math.log(p_z), "p": float(p)} for p_z, p in cases])
    for (p_z, p), answer in zip(cases, found):
        n = answer["draws"]
        assert 1 - (1 - p_z) ** n >= p and (n == 1 or 1 - (1 - p_z) ** (n - 1) < p), (p_z, p, n)


def test_mcnemar(ask):
    rng = random.Random(3)
    tables = [(rng.randrange(30), rng.randrange(30), rng.randrange(30), rng.randrange(30)) for _ in range(200)]
    tables += [(0, 0, 0, 0), (5, 0, 9, 5), (5, 300, 200, 5), (1, 1, 0, 0)]
    questions = []
    for a, b, c, d in tables:
        outcomes = [(True, True)] * a + [(True, False)] * b + [(False, True)] * c + [(False, False)] * d
        questions.append({"op": "mcnemar", "pairs": [(i, *pair) for i, pair in enumerate(outcomes)]})
    for (a, b, c, d), found in zip(tables, ask(questions)):
        assert (found["first_only"], found["second_only"]) == (b, c)
        if b + c:
            exact = stats.binomtest(b, b + c).pvalue
            assert found["exact"] == pytest.approx(exact, rel=1e-9)
            chi = mcnemar([[a, b], [c, d]], exact=False, correction=False).pvalue
            assert found["clustered"] == pytest.approx(chi, rel=1e-9)
        else:
            assert found["exact"] == found["clustered"] == 1


def test_excess_of_rates(ask):
    rng = random.Random(4)
    sets = [[(rng.randrange(n + 1), n) for n in (rng.randrange(1, 400), rng.randrange(1, 400))] for _ in range(200)]
    sets += [[(0, 10), (0, 10)], [(10, 10), (0, 10)], [(56, 70), (48, 80)]]
    for ((k, n), (l, m)), found in zip(sets, ask([{"op": "excess", "first": a, "second": b} for a, b in sets])):
        lower, upper = confint_proportions_2indep(k, n, l, m, method="newcomb")
        assert found["difference"] == pytest.approx(k / n - l / m, abs=1e-12)
        # The effective size of a set with no or only positives is its number of clusters, here that of its probes.
        assert [found["lower"], found["upper"]] == pytest.approx([lower, upper], rel=1e-7, abs=1e-9)


def test_planned_sizes(ask):
    cases = [(rate, c, k) for rate in (0.3, 0.05, 0.01, 0.001) for c in (0.9, 0.95, 0.99) for k in (0, 1, 3, 10)]
    found = ask([{"op": "plan", "rate": r, "confidence": c, "positives": k} for r, c, k in cases])
    for (rate, confidence, k), n in zip(cases, found):
        bound = stats.beta.ppf(confidence, k + 1, n - k)
        before = stats.beta.ppf(confidence, k + 1, n - 1 - k) if n - 1 > k else 1
        assert bound < rate <= before * (1 + 1e-12), (rate, confidence, k, n)


def test_area_under_the_curve(ask):
    rng = np.random.default_rng(6)
    sets = [(rng.normal(0, 1, n).round(d), rng.normal(0.5, 1, m).round(d)) for n in (1, 5, 200) for m in (1, 7, 300) for d in (0, 9)]
    questions = [{"op": "auc", "members": list(a), "others": list(b)} for a, b in sets]
    for (members, others), found in zip(sets, ask(questions)):
        # Members score lower: the statistic counts pairs in which the other score is larger.
        expected = stats.mannwhitneyu(others, members).statistic / (len(members) * len(others))
        assert found["difference"] == pytest.approx(expected, abs=1e-12)


def test_clustered_mean(ask):
    """The bootstrap interval, compared with scipy's BCa for clusters of one probe each, and with resampling by hand otherwise."""
    rng = np.random.default_rng(7)
    values = rng.exponential(1, 400)
    found = ask([{"op": "mean", "values": list(enumerate(values)), "seed": 1, "resamples": 9999}])[0]
    peer = stats.bootstrap((values,), np.mean, n_resamples=9999, method="BCa", rng=1).confidence_interval
    assert found["mean"] == pytest.approx(values.mean())
    assert [found["lower"], found["upper"]] == pytest.approx([peer.low, peer.high], abs=0.012)

    sizes = rng.integers(1, 9, 150)
    shared = rng.normal(0, 1, 150)
    clustered = [(int(i), float(shared[i] + rng.normal())) for i in range(150) for _ in range(sizes[i])]
    found = ask([{"op": "mean", "values": clustered, "seed": 1, "resamples": 4000}])[0]
    sums = np.array([sum(v for d, v in clustered if d == i) for i in range(150)])
    draws = rng.integers(0, 150, (4000, 150))
    means = sums[draws].sum(1) / sizes[draws].sum(1)
    assert found["n"] == len(clustered) and found["clusters"] == 150
    assert [found["lower"], found["upper"]] == pytest.approx(np.quantile(means, [0.025, 0.975]), abs=0.03)


def test_exact_tests_of_signs(ask):
    """The signed-rank test with equal sizes is compared with scipy's enumeration of all signs, without them with its exact distribution."""
    rng = np.random.default_rng(8)
    distinct = [rng.normal(shift, 1, n) for n in (1, 2, 7, 30, 50) for shift in (-0.3, 0, 0.5)]
    tied = [rng.normal(0.3, 1, n).round(digits) for n in (3, 8, 12) for digits in (0, 1) for _ in range(4)]
    tied = [values for values in tied if values.any()]
    found = ask([{"op": "signs", "differences": list(values)} for values in distinct + tied])
    for number, (values, answer) in enumerate(zip(distinct + tied, found)):
        enumerated = stats.PermutationMethod(n_resamples=np.inf)
        method = "exact" if number < len(distinct) else enumerated
        peer = stats.wilcoxon(values, alternative="greater", method=method).pvalue
        assert answer["signed_rank"] == pytest.approx(peer, rel=1e-12), values
        positive, negative = int((values > 0).sum()), int((values < 0).sum())
        peer = stats.binomtest(positive, positive + negative, alternative="greater").pvalue
        assert answer["sign_test"] == pytest.approx(peer, rel=1e-9), values


def test_adjusted_p_values(ask):
    rng = np.random.default_rng(9)
    cases = [list(rng.uniform(0, 0.2, n).round(2)) for n in (1, 2, 5, 12) for _ in range(5)]
    for p_values, adjusted in zip(cases, ask([{"op": "holm", "p_values": p} for p in cases])):
        assert adjusted == pytest.approx(multipletests(p_values, method="holm")[1], abs=1e-12), p_values
