"""Errors say what to do, have exit code 2, leave no output, and show no secrets."""

import time

import pytest

from stores.servers import Amazon, Web, free_port, stop

IDS = ["--ids-column", "input_ids"]
ROW = b'{"input_ids": [1, 2, 3]}\n'


@pytest.fixture
def refused(goldfish, tmp_path):
    def refused(url, variables, *words, hidden=(), within=60):
        started = time.monotonic()
        process = goldfish.run("mask", url, "--output", tmp_path / "out", *IDS, variables=variables, expect=2)
        told = process.stderr
        for word in words:
            assert word in told, (word, told)
        for secret in ["secret", *hidden]:
            assert secret not in told, told
        assert not (tmp_path / "out").exists()
        assert time.monotonic() - started < within
        return told

    return refused


def test_a_missing_key(refused, amazon):
    refused("s3://corpus/nothing.jsonl", amazon.variables(), "s3://corpus/nothing.jsonl", "no such object")
    refused("s3://corpus/no/*.jsonl", amazon.variables(), "s3://corpus/no/*.jsonl", "no corpus file")


def test_a_missing_bucket(refused, amazon):
    refused("s3://elsewhere/a.jsonl", amazon.variables(), "there is no s3://elsewhere", "check its name")


def test_a_missing_container(refused, azure):
    refused("az://elsewhere/a.jsonl", azure.variables(), "there is no az://elsewhere", "check its name")


def test_a_key_with_an_empty_name(refused, amazon):
    amazon.put("odd//a.jsonl", ROW)
    refused("s3://corpus/odd", amazon.variables(), "s3://corpus/odd", "empty name", "rename")
    refused("s3://corpus/odd//a.jsonl", amazon.variables(), "no name in a URL may be empty")


def test_wrong_credentials(refused, tmp_path_factory):
    # This server checks signatures and has no users.
    strict = Amazon(tmp_path_factory.mktemp("strict"), INITIAL_NO_AUTH_ACTION_COUNT="0")
    try:
        refused("s3://corpus/a.jsonl", strict.variables(), "refused", "check the credentials in AWS_", hidden=["id=", "<"])
    finally:
        stop(strict.process)


def test_wrong_credentials_of_azure(refused, azure):
    wrong = {**azure.variables(), "AZURE_STORAGE_ACCOUNT_KEY": "d3Jvbmcta2V5LXdyb25nLWtleQ=="}
    refused("az://corpus/a.jsonl", wrong, "refused", "check the credentials in AZURE_", hidden=["d3Jvbmct"])


def test_missing_credentials(refused, amazon):
    variables = amazon.variables()
    del variables["AWS_ACCESS_KEY_ID"], variables["AWS_SECRET_ACCESS_KEY"]
    # No server answers at the address for the credentials of a cloud machine.
    variables["AWS_METADATA_ENDPOINT"] = f"http://127.0.0.1:{free_port()}"
    refused("s3://corpus/a.jsonl", variables, "no credentials were found", "AWS_ACCESS_KEY_ID", "AWS_SKIP_SIGNATURE")


def test_a_public_bucket_needs_no_credentials(goldfish, amazon, tmp_path):
    amazon.client.create_bucket(Bucket="public", ACL="public-read")
    amazon.client.put_object(Bucket="public", Key="a.jsonl", Body=ROW, ACL="public-read")
    variables = {**amazon.variables(), "AWS_SKIP_SIGNATURE": "true"}
    del variables["AWS_ACCESS_KEY_ID"], variables["AWS_SECRET_ACCESS_KEY"]
    goldfish.mask("s3://public/a.jsonl", tmp_path / "out", *IDS, variables=variables)


def test_wrong_settings(refused, amazon):
    refused("s3://corpus/a.jsonl", {**amazon.variables(), "AWS_ALLOW_HTTP": "perhaps"}, "AWS_", "can't be used")
    no_http = {k: v for k, v in amazon.variables().items() if k != "AWS_ALLOW_HTTP"}
    refused("s3://corpus/a.jsonl", no_http, "AWS_ALLOW_HTTP=true")


def test_azure_without_an_account(refused):
    refused("az://corpus/a.jsonl", {}, "AZURE_")


def test_unsupported_addresses(refused, web):
    web.put("a.jsonl", ROW)
    host = web.root.removeprefix("http://")
    refused(f"{web.root}/a.jsonl?signature=abc", {}, "query", hidden=["abc"])
    refused(f"http://me:hush@{host}/a.jsonl", {}, "password", hidden=["hush"])
    refused(f"{web.root}/x/../a.jsonl", {}, "..")
    refused(f"{web.root}/nothing.jsonl", {}, "no such object")
    refused(f"{web.root}/*.jsonl", {}, "HTTP servers tell nothing of folders", "name each file")


def test_a_server_without_ranges(refused, tmp_path):
    web = Web(tmp_path, ranges=False)
    web.put("a.jsonl", ROW)
    refused(f"{web.root}/a.jsonl", {}, "HTTP ranges", "copy the file")


def test_an_object_given_twice(goldfish, amazon, tmp_path):
    amazon.put("twice/a.jsonl", ROW)
    url = "s3://corpus/twice/a.jsonl"
    told = goldfish.run(
        "mask", url, "s3://corpus/twice", "--output", tmp_path / "out", *IDS, variables=amazon.variables(), expect=2
    )
    assert "given twice" in told.stderr


def test_a_missing_companion(goldfish, amazon, fixtures, tmp_path):
    amazon.put("alone/a.bin", (fixtures / "formats/megatron/ids-u16.bin").read_bytes())
    told = goldfish.run(
        "mask", "s3://corpus/alone/a.bin", "--output", tmp_path / "out", variables=amazon.variables(), expect=2
    )
    assert "s3://corpus/alone/a.idx is missing" in told.stderr
