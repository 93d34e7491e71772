"""A real S3-compatible server that checks signatures and rights, and a front that stands before it and fails."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import socket
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

REGION = "us-east-1"
BUCKET = "bucket"


@dataclass(frozen=True)
class S3Server:
    """A server with a bucket, and the credentials of one who may do all, of one who may read, and of nobody."""

    port: int
    owner: Mapping[str, str]
    reader: Mapping[str, str]
    stranger: Mapping[str, str] = field(
        default_factory=lambda: {"AWS_ACCESS_KEY_ID": "AKIA0STRANGER", "AWS_SECRET_ACCESS_KEY": "told-nobody"}
    )

    def environment(self, who: Mapping[str, str] | None = None, port: int | None = None) -> dict[str, str]:
        """The environment variables with which a process uses it, on another port through a front."""
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port or self.port}",
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": REGION,
            **(self.owner if who is None else who),
        }


@contextlib.contextmanager
def s3_server() -> Iterator[S3Server]:
    """It runs on 127.0.0.1 for as long as the context does."""
    with open_server() as port:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # boto3 warns of Pythons that it will leave one day
            server = _furnished(port)
        yield server


@contextlib.contextmanager
def open_server() -> Iterator[int]:
    """The port of a server without a bucket that lets everybody do all, as long as the context lasts."""
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "--host", "127.0.0.1", "--port", "0"],
        env={**os.environ, "INITIAL_NO_AUTH_ACTION_COUNT": "inf", "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        found = next(filter(None, (re.search(r"http://127\.0\.0\.1:(\d+)", line) for line in process.stdout)))
        threading.Thread(target=process.stdout.read, daemon=True).start()  # or its log would fill the pipe
        yield int(found[1])
    finally:
        process.terminate()
        process.wait()


def _furnished(port: int) -> S3Server:
    import boto3

    def client(name: str) -> Any:
        nobody = {"aws_access_key_id": "nobody", "aws_secret_access_key": "nobody"}
        return boto3.client(name, endpoint_url=f"http://127.0.0.1:{port}", region_name=REGION, **nobody)

    client("s3").create_bucket(Bucket=BUCKET)
    iam = client("iam")

    def user(name: str, actions: list[str]) -> dict[str, str]:
        may = {"Effect": "Allow", "Action": actions, "Resource": "*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [may]})
        iam.create_user(UserName=name)
        iam.put_user_policy(UserName=name, PolicyName=name, PolicyDocument=policy)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}

    server = S3Server(port, user("owner", ["s3:*"]), user("reader", ["s3:GetObject", "s3:ListBucket"]))
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("POST", "/moto-api/reset-auth", body="0")  # from now on it checks
    assert connection.getresponse().status == 200
    connection.close()
    return server


class Front(ThreadingHTTPServer):
    """It passes requests on to a server, unless ``fails`` says of their number (from 1) that they end in a 503.

    After :meth:`cut` it sends half of the next body and is gone.
    """

    daemon_threads = True

    def __init__(
        self, behind: int, fails: Callable[[int], bool] = lambda number: False, port: int = 0
    ) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.behind = behind
        self.fails = fails
        self.asked = 0
        self.failed = 0
        self.cutting = threading.Event()
        self.lock = threading.Lock()

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def cut(self) -> None:
        self.cutting.set()

    def __enter__(self) -> Front:
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Front

    def _pass_on(self) -> None:
        front = self.server
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        with front.lock:
            front.asked += 1
            fails = front.fails(front.asked)
            front.failed += fails
        if fails:
            self._answer(503, {}, b"<Error><Code>SlowDown</Code></Error>")
            return
        behind = http.client.HTTPConnection("127.0.0.1", front.behind)
        behind.request(self.command, self.path, body, dict(self.headers.items()))
        answer = behind.getresponse()
        content = answer.read()
        behind.close()
        headers = {name: value for name, value in answer.getheaders() if name.lower() not in _OWN}
        if front.cutting.is_set() and len(content) > 1:
            front.socket.close()
            self._answer(answer.status, headers, content, sent=len(content) // 2)
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return
        self._answer(answer.status, headers, content)

    def _answer(
        self, status: int, headers: Mapping[str, str], content: bytes, sent: int | None = None
    ) -> None:
        self.send_response(status)
        length = headers.get("Content-Length") if self.command == "HEAD" else str(len(content))
        for name, value in {**headers, "Content-Length": length or "0"}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[:sent])

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _pass_on

    def log_message(self, *_: object) -> None:
        """Say nothing."""


_OWN = ("connection", "transfer-encoding", "date", "server")
