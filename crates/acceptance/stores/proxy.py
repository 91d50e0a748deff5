"""A proxy between goldfish and a server that simulates failures of networks and stores."""

import http.client
import http.server
import socket
import struct
import threading
import time

# Headers that belong to one connection.
OWN = {"host", "connection", "keep-alive", "transfer-encoding", "te", "upgrade", "proxy-connection"}


class Faults:
    """Which requests fail, and how: each of them the first `times` times."""

    def __init__(self, kind, times=1, only=lambda method, path: True):
        self.kind, self.times, self.only = kind, times, only
        self.seen, self.made = {}, 0
        self.lock = threading.Lock()

    def next(self, method, path, headers):
        if not self.only(method, path):
            return None
        # The remainder of an interrupted transfer belongs to the same request.
        request = (method, path, headers.get("Range", "").rpartition("-")[2])
        with self.lock:
            self.seen[request] = self.seen.get(request, 0) + 1
            if self.seen[request] > self.times:
                return None
            self.made += 1
        return self.kind

    def seen_requests(self):
        """Method and path of each failed request."""
        return {(method, path) for method, path, _ in self.seen}


class Proxy:
    """Forwards to a port of this machine. `requests` lists method, path and range."""

    def __init__(self, port, faults=None, before=None, stall=30):
        self.requests = []
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def handle_one_request(self):
                try:
                    super().handle_one_request()
                except (ConnectionError, TimeoutError):
                    self.close_connection = True

            def forward(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                proxy.requests.append((self.command, self.path, self.headers.get("Range")))
                if before:
                    before(self.command, self.path, self.headers)
                fault = faults.next(self.command, self.path, self.headers) if faults else None
                if isinstance(fault, int):
                    text = b"<Error><Code>SlowDown</Code></Error>"
                    self.send_response(fault)
                    self.send_header("Content-Length", str(len(text)))
                    self.end_headers()
                    self.wfile.write(b"" if self.command == "HEAD" else text)
                    return
                if fault == "reset":
                    self.cut()
                    return
                server = http.client.HTTPConnection("127.0.0.1", port)
                headers = {name: value for name, value in self.headers.items() if name.lower() not in OWN}
                headers["Host"] = f"127.0.0.1:{port}"
                server.request(self.command, self.path, body or None, headers)
                answer = server.getresponse()
                # A response to HEAD has a length but no body.
                data = b"" if self.command == "HEAD" else answer.read()
                if fault == "hang":
                    time.sleep(stall)
                    self.cut()
                    return
                self.send_response_only(answer.status, answer.reason)
                length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(data))
                for name, value in answer.getheaders():
                    if name.lower() not in OWN | {"content-length"}:
                        self.send_header(name, value)
                if length is not None:
                    self.send_header("Content-Length", length)
                self.end_headers()
                half = len(data) // 2
                if fault == "break":
                    self.wfile.write(data[:half])
                    self.cut()
                elif fault == "stall":
                    self.wfile.write(data[:half])
                    self.wfile.flush()
                    time.sleep(stall)
                    self.cut()
                else:
                    self.wfile.write(data)

            def cut(self):
                """Resets the connection, as if the machine had gone away."""
                self.wfile.flush()
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.shutdown(socket.SHUT_RDWR)
                self.close_connection = True

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = forward

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.endpoint = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
