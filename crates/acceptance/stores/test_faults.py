"""Failures of networks and stores: failed requests are retried and give the same bytes."""

from urllib.parse import unquote

import pytest

from stores.fixtures import upload
from stores.proxy import Faults, Proxy

WITH_ID = ["--ids-column", "input_ids", "--id-column", "id", "--shard-size", "4MiB"]


@pytest.fixture(scope="module")
def expected(goldfish, large, tmp_path_factory):
    return goldfish.mask(large, tmp_path_factory.mktemp("expected") / "out", *WITH_ID)


def bodies(method, path):
    """Requests for the contents of an object."""
    return method == "GET" and path.endswith(".jsonl")


@pytest.mark.parametrize("kind", [503, 500, 429, "reset", "break"])
def test_failed_requests_are_retried(goldfish, amazon, large_url, expected, tmp_path, kind):
    faults = Faults(kind, times=2)
    with Proxy(amazon.port, faults) as proxy:
        found = goldfish.mask(large_url, tmp_path / "out", *WITH_ID, variables=amazon.variables(proxy.endpoint))
    assert found == expected
    assert faults.made > 20, "every request went wrong twice"
    assert len([request for request in proxy.requests if bodies(*request[:2])]) > 20


def test_stalled_transfers_are_retried(goldfish, amazon, large_url, expected, tmp_path):
    faults = Faults("stall", only=bodies)
    variables = {"AWS_READ_TIMEOUT": "1 second"}
    with Proxy(amazon.port, faults) as proxy:
        variables |= amazon.variables(proxy.endpoint)
        found = goldfish.mask(large_url, tmp_path / "out", *WITH_ID, variables=variables)
    assert found == expected
    assert faults.made > 5


def test_a_permanent_failure_ends_the_run(goldfish, amazon, large_url, tmp_path):
    faults = Faults("break", times=1000, only=bodies)
    with Proxy(amazon.port, faults) as proxy:
        told = goldfish.run(
            *["mask", large_url, "--output", tmp_path / "out", *WITH_ID, "--on-error", "skip"],
            variables=amazon.variables(proxy.endpoint),
            expect=2,
        )
    # Not a bad row, which `--on-error skip` would reject.
    assert "a.jsonl" in told.stderr and "store" in told.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("store, same_size", [("amazon", True), ("amazon", False), ("azure", True), ("google", True)])
def test_an_object_that_is_replaced_is_refused(goldfish, large, tmp_path, request, store, same_size):
    store = request.getfixturevalue(store)
    url = upload(large, store, "replaced")
    other = (large / "a.jsonl").read_bytes()
    other = other.replace(b"1", b"2") if same_size else other[:-1000]
    asked = []

    def replace(method, path, headers):
        if method == "GET" and "a.jsonl" in unquote(path) and headers.get("Range"):
            asked.append(path)
            if len(asked) == 4:
                store.put("replaced/a.jsonl", other)

    with Proxy(store.port, before=replace) as proxy:
        endpoint = store.endpoint.replace(str(store.port), str(proxy.port))
        told = goldfish.run(
            *["mask", url, "--output", tmp_path / "out", *WITH_ID, "--on-error", "skip"],
            variables=store.variables(endpoint),
            expect=2,
        )
    assert len(asked) >= 4
    assert "replaced" in told.stderr and "a.jsonl" in told.stderr
    assert not (tmp_path / "out").exists()


def test_an_object_that_is_replaced_after_its_last_byte_is_refused(goldfish, amazon, fixtures, tmp_path):
    """The data is complete, but the manifest would contain the hash of an object that no longer exists."""
    data = (fixtures / "formats/ids-list-i32.parquet").read_bytes()
    amazon.put("late/a.parquet", data)
    asked = []

    def replace(method, path, headers):
        if path.endswith("a.parquet"):
            if method == "HEAD" and "GET" in asked:
                amazon.put("late/a.parquet", data[::-1])
            asked.append(method)

    with Proxy(amazon.port, before=replace) as proxy:
        told = goldfish.run(
            *["mask", "s3://corpus/late/a.parquet", "--output", tmp_path / "out", "--ids-column", "input_ids"],
            variables=amazon.variables(proxy.endpoint),
            expect=2,
        )
    assert asked[-1] == "HEAD" and "changed while it was read" in told.stderr


def test_how_often_bytes_are_transferred(goldfish, amazon, large_url, large, tmp_path):
    """Lines are read once: no byte of an object is requested twice."""
    with Proxy(amazon.port) as proxy:
        goldfish.mask(f"{large_url}/a.jsonl", tmp_path / "out", *WITH_ID, variables=amazon.variables(proxy.endpoint))
    ranges = [wanted for method, path, wanted in proxy.requests if bodies(method, path)]
    spans = sorted(tuple(map(int, wanted.removeprefix("bytes=").split("-"))) for wanted in ranges)
    assert spans[0][0] == 0 and spans[-1][1] == (large / "a.jsonl").stat().st_size - 1
    assert all(next_[0] == span[1] + 1 for span, next_ in zip(spans, spans[1:]))
    assert max(last - first + 1 for first, last in spans) == 4 << 20
