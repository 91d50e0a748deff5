"""Servers for the tests: object stores in separate processes, and an HTTP server with ranges."""

import base64
import datetime
import email.utils
import functools
import hashlib
import hmac
import http.server
import ipaddress
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.parse
import xml.etree.ElementTree
from pathlib import Path

import boto3
import botocore.config
import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(command, folder, name, port, **variables):
    """Starts a server and waits until it accepts connections."""
    log = open(folder / f"{name}.log", "wb")
    process = subprocess.Popen(
        list(map(str, command)), cwd=folder, stdout=log, stderr=log, env={**os.environ, **variables}
    )
    for _ in range(600):
        if process.poll() is not None:
            break
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return process
        time.sleep(0.1)
    process.kill()
    raise RuntimeError(f"{name} didn't start: {(folder / f'{name}.log').read_text()[-2000:]}")


def stop(process):
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()


def missing(what):
    """Handles a missing server: a failure if the tests are required, else a skip."""
    if os.environ.get("GOLDFISH_STORES_REQUIRED"):
        pytest.fail(f"{what} is missing")
    pytest.skip(f"{what} is missing: cargo xtask loops stores installs it")


class Amazon:
    """An S3 server, `moto`, with one bucket."""

    root = "s3://corpus"

    def __init__(self, folder, **variables):
        self.port = free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        command = [sys.executable, "-m", "moto.server", "--host", "127.0.0.1", "--port", self.port]
        self.process = start(command, folder, "moto", self.port, **variables)
        self.client = boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id="id",
            aws_secret_access_key="secret",
            config=botocore.config.Config(retries={"max_attempts": 1}),
        )

    def make(self):
        self.client.create_bucket(Bucket="corpus")
        return self

    def put(self, key, data):
        self.client.put_object(Bucket="corpus", Key=key, Body=data)

    def get(self, key):
        return self.client.get_object(Bucket="corpus", Key=key)["Body"].read()

    def keys(self, prefix=""):
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket="corpus", Prefix=prefix)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]

    def variables(self, endpoint=None):
        return {
            "AWS_ENDPOINT": endpoint or self.endpoint,
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "id",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "us-east-1",
        }


class Azure:
    """Microsoft's emulator Azurite with one container. Requests are signed here, so no Azure library is needed."""

    root = "az://corpus"
    account = "devstoreaccount1"
    key = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

    def __init__(self, folder, program):
        self.port = free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}/{self.account}"
        options = ["--blobHost", "127.0.0.1", "--blobPort", self.port, "--location", folder / "azurite"]
        checks = ["--skipApiVersionCheck", "--silent", "--disableTelemetry"]
        self.process = start(["node", program, *options, *checks], folder, "azurite", self.port)

    def make(self):
        self.ask("PUT", "corpus?restype=container")
        return self

    def put(self, key, data):
        self.ask("PUT", f"corpus/{urllib.parse.quote(key)}", data, {"x-ms-blob-type": "BlockBlob"})

    def get(self, key):
        return self.ask("GET", f"corpus/{urllib.parse.quote(key)}")

    def keys(self, prefix=""):
        listed = self.ask("GET", f"corpus?restype=container&comp=list&prefix={prefix}")
        return [name.text for name in xml.etree.ElementTree.fromstring(listed).iter("Name")]

    def ask(self, method, path, data=b"", headers=None):
        headers = {"x-ms-date": email.utils.formatdate(usegmt=True), "x-ms-version": "2021-12-02", **(headers or {})}
        length = str(len(data)) if data else ""
        own = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
        place, _, query = path.partition("?")
        # The account of the emulator is in the path and again in the signed string.
        resource = f"/{self.account}/{self.account}/{place}"
        resource += "".join(f"\n{part.replace('=', ':')}" for part in sorted(query.split("&")) if part)
        content_type = "application/octet-stream" if data else ""
        text = f"{method}\n\n\n{length}\n\n{content_type}\n\n\n\n\n\n\n{own}{resource}"
        signature = hmac.new(base64.b64decode(self.key), text.encode(), hashlib.sha256).digest()
        headers["Authorization"] = f"SharedKey {self.account}:{base64.b64encode(signature).decode()}"
        if data:
            headers["Content-Type"] = content_type
        answer = requests.request(method, f"{self.endpoint}/{path}", data=data, headers=headers)
        answer.raise_for_status()
        return answer.content

    def variables(self, endpoint=None):
        return {
            "AZURE_STORAGE_ACCOUNT_NAME": self.account,
            "AZURE_STORAGE_ACCOUNT_KEY": self.key,
            "AZURE_STORAGE_ENDPOINT": endpoint or self.endpoint,
            "AZURE_ALLOW_HTTP": "true",
        }


class Google:
    """`fake-gcs-server`, the emulator of the client library's tests, with one bucket."""

    root = "gs://corpus"

    def __init__(self, folder, program):
        self.port = free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        options = ["-scheme", "http", "-host", "127.0.0.1", "-port", self.port, "-backend", "memory"]
        self.process = start([program, *options, "-public-host", f"127.0.0.1:{self.port}"], folder, "gcs", self.port)
        self.folder = folder

    def make(self):
        requests.post(f"{self.endpoint}/storage/v1/b", json={"name": "corpus"}).raise_for_status()
        return self

    def put(self, key, data):
        address = f"{self.endpoint}/upload/storage/v1/b/corpus/o"
        parameters = {"uploadType": "media", "name": key}
        requests.post(address, params=parameters, data=data).raise_for_status()

    def get(self, key):
        name = urllib.parse.quote(key, safe="")
        answer = requests.get(f"{self.endpoint}/storage/v1/b/corpus/o/{name}", params={"alt": "media"})
        answer.raise_for_status()
        return answer.content

    def keys(self, prefix=""):
        answer = requests.get(f"{self.endpoint}/storage/v1/b/corpus/o", params={"prefix": prefix})
        answer.raise_for_status()
        return [entry["name"] for entry in answer.json().get("items", [])]

    def variables(self, endpoint=None):
        return {
            "GOOGLE_BASE_URL": endpoint or self.endpoint,
            "GOOGLE_SKIP_SIGNATURE": "true",
            "GOOGLE_ALLOW_HTTP": "true",
        }


class Pages(http.server.SimpleHTTPRequestHandler):
    """Serves files with ranges and tags, like nginx and Caddy."""

    protocol_version = "HTTP/1.1"
    ranges = True

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.answer(False)

    def do_GET(self):
        self.answer(True)

    def answer(self, with_body):
        if self.path.startswith("/moved/"):
            self.send_response(302)
            self.send_header("Location", f"http://localhost:{self.server.server_address[1]}{self.path[6:]}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        data, status = path.read_bytes(), 200
        tag = f'"{path.stat().st_mtime_ns:x}-{len(data):x}"'
        if self.headers.get("If-Match", tag) != tag:
            self.send_error(412)
            return
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", "")) if self.ranges else None
        total = len(data)
        if wanted:
            first, last = int(wanted[1]), min(int(wanted[2]), total - 1)
            data, status = data[first : last + 1], 206
        self.send_response(status)
        if wanted:
            self.send_header("Content-Range", f"bytes {first}-{last}/{total}")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("ETag", tag)
        self.send_header("Last-Modified", self.date_time_string(path.stat().st_mtime))
        self.end_headers()
        if with_body:
            self.wfile.write(data)


def certificates(folder):
    """Creates an authority and a signed server certificate with its key for this machine; returns the two files."""
    names, now = [], datetime.datetime.now(datetime.timezone.utc)
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    for number, common_name in enumerate(["authority", "server"]):
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])
        names.append(name)
        built = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(names[0])
            .public_key(keys[number].public_key())
            .serial_number(number + 1)
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=number == 0, path_length=None), critical=True)
        )
        if number == 1:
            address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
            built = built.add_extension(x509.SubjectAlternativeName([address]), critical=False)
        text = built.sign(keys[0], hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        if number == 1:
            text += keys[1].private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        (folder / f"{common_name}.pem").write_bytes(text)
    return folder / "authority.pem", folder / "server.pem"


class Web:
    """An HTTP server over a folder."""

    def __init__(self, folder, ranges=True, certificate=None):
        handler = type("Handler", (Pages,), {"ranges": ranges})
        self.folder = folder
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=folder))
        self.root = f"http://127.0.0.1:{self.server.server_address[1]}"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
            self.root = self.root.replace("http:", "https:")
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def put(self, key, data):
        path = self.folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def variables(self):
        return {}
