"""Every family against `transformers`: log-probabilities, ranks, continuations."""

import families
import pytest


def close(found, expected):
    assert len(found) == len(expected)
    return all(abs(f - e) <= 1e-4 * max(1.0, abs(e)) for f, e in zip(found, expected))


def check(ask, folder, model, adapter=None):
    sequences = families.sequences()
    prompts = [ids[: 10 + 3 * i] for i, ids in enumerate(sequences)]
    scored, continued = ask(
        [
            dict(model=folder, adapter=adapter, score=sequences),
            dict(model=folder, adapter=adapter, generate=prompts, tokens=12),
        ]
    )
    assert "error" not in scored, scored
    for i, ids in enumerate(sequences):
        log_probs, ranks, greedy = families.expected_scores(model, ids)
        assert close(scored["log_probs"][i], log_probs)
        assert scored["ranks"][i] == ranks
        assert scored["greedy"][i] == greedy
    assert continued["ids"] == [families.expected_continuation(model, prompt, 12) for prompt in prompts]


@pytest.mark.parametrize("name", families.CONFIGURATIONS)
def test_family(ask, tmp_path, name):
    model = families.model(name)
    model.save_pretrained(tmp_path)
    check(ask, tmp_path, model)
