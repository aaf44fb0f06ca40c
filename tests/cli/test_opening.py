"""From the command line to a session: what each option does, and that errors speak of options."""

from __future__ import annotations

import encodings.aliases
import itertools
import re
import ssl
import threading
from typing import TYPE_CHECKING

import httpx2
import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from websockets.sync.server import unix_serve

from httpx2_trio_ws import OpenOptions, __main__
from httpx2_trio_ws._cli import opening, values
from httpx2_trio_ws._cli.handshake import start_of_body
from httpx2_trio_ws._cli.opening import in_flags, url_of

from .support import raw_server, until_closed, websocket_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from websockets.http11 import Request, Response
    from websockets.sync.server import ServerConnection

Capture = pytest.CaptureFixture[str]
pytestmark = pytest.mark.usefixtures("stdin")


def main(*arguments: str) -> int:
    return __main__.main(list(arguments))


def greet(connection: ServerConnection) -> None:
    assert connection.request is not None
    connection.send(connection.request.headers.get("Origin", "no origin"))


# -- what the options do ---------------------------------------------------------------------------


def test_origin(capfd: Capture) -> None:
    with websocket_server(greet) as url:
        assert main(url, "--origin", "https://example.com") == 0
    assert capfd.readouterr().out == "https://example.com\n"


@pytest.mark.parametrize("url", ["localhost:1/a", "127.0.0.1", "[::1]:1", "example.com"])
def test_a_url_without_a_scheme(url: str) -> None:
    assert url_of(url) == f"ws://{url}"
    for scheme in ("ws", "wss", "http", "x+y"):
        assert url_of(f"{scheme}://{url}") == f"{scheme}://{url}"


def test_a_url_that_is_a_port() -> None:
    assert url_of(":8765/echo") == "ws://localhost:8765/echo"


def test_a_server_is_found_without_a_scheme(capfd: Capture) -> None:
    with websocket_server(greet) as url:
        assert main(url.removeprefix("ws://")) == 0
    assert capfd.readouterr().out == "no origin\n"


def test_unix_socket(tmp_path: Path, capfd: Capture) -> None:
    path = str(tmp_path / "socket")
    with unix_serve(greet, path) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            assert main("ws://anywhere/x", "--unix-socket", path) == 0
        finally:
            server.shutdown()
            thread.join()
    assert capfd.readouterr().out == "no origin\n"
    assert main("ws://anywhere/x", "--unix-socket", f"{path}-gone") == 3
    assert "No such file" in capfd.readouterr().err


def redirect(connection: ServerConnection, request: Request) -> Response | None:
    if request.path.startswith("/there"):
        return None
    response = connection.respond(302, "")
    response.headers["Location"] = "http://[::1" if "badly" in request.path else "/there?token=abc"
    return response


def test_redirects(capfd: Capture) -> None:
    with websocket_server(greet, process_request=redirect) as url:
        assert main(url) == 4
        error = capfd.readouterr().err
        assert error.startswith("httpx2-trio-ws: the server refused the WebSocket with 302 Found, a redirect to ")
        assert error.endswith("/there?token=***; -L follows it\n")
        assert main(url, "-L") == 0
        assert capfd.readouterr().out == "no origin\n"
        assert main(f"{url}/badly", "-L") == 4
        assert "redirects to" in capfd.readouterr().err


# -- TLS -------------------------------------------------------------------------------------------


class Files:
    """An authority, and a server that wants certificates of it."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        self.ca = folder / "ca.pem"
        authority.cert_pem.write_to_path(str(self.ca))
        client = authority.issue_cert("client@example.com")
        self.cert, self.key, self.both = folder / "cert.pem", folder / "key.pem", folder / "both.pem"
        client.cert_chain_pems[0].write_to_path(str(self.cert))
        client.private_key_pem.write_to_path(str(self.key))
        client.private_key_and_cert_chain_pem.write_to_path(str(self.both))
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(self.context)
        authority.configure_trust(self.context)
        self.context.verify_mode = ssl.CERT_REQUIRED


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def secure(files: Files) -> Iterator[str]:
    with websocket_server(greet, ssl=files.context) as url:
        yield url.replace("ws:", "wss:")


def test_the_client_s_certificate(files: Files, secure: str, capfd: Capture) -> None:
    assert main(secure, "--ca", str(files.ca), "--cert", str(files.cert), "--key", str(files.key)) == 0
    assert main(secure, "--ca", str(files.ca), "--cert", str(files.both)) == 0
    assert main(secure, "--insecure", "--ca", str(files.ca), "--cert", str(files.both)) == 0
    assert capfd.readouterr() == ("no origin\n" * 3, "")
    assert main(secure, "--ca", str(files.ca)) in (3, 5)  # TLS 1.3 tells the client when it is connected already


def test_a_folder_of_authorities(files: Files, secure: str, tmp_path: Path, capfd: Capture) -> None:
    assert main(secure, "--ca", str(tmp_path), "--cert", str(files.both)) == 3
    assert "certificate verify failed" in capfd.readouterr().err


def test_an_encrypted_key(files: Files, secure: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = serialization.load_pem_private_key(files.key.read_bytes(), None)
    encrypted = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"open sesame"),
    )
    path = tmp_path / "encrypted.pem"
    path.write_bytes(encrypted)
    options = [secure, "--ca", str(files.ca), "--cert", str(files.cert), "--key", str(path)]
    asked: list[str] = []

    def ask(owner: str) -> str:
        asked.append(owner)
        return "open sesame"

    monkeypatch.setattr(opening, "ask_password", ask)
    assert main(*options) == 0
    assert asked == [str(path)]


def no_password(_: str) -> str:
    raise values.Wrong("it has no password")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--ca", "/no/such"], "--ca /no/such: No such file or directory"),
        (["--ca", __file__], f"--ca {__file__}: "),
        (["--cert", "/no/such"], "--cert /no/such: No such file or directory"),
        (["--cert", __file__], f"--cert {__file__}: "),
        (["--cert", __file__, "--key", "/no/such"], f"--cert {__file__}, --key /no/such: "),
    ],
)
def test_files_that_cannot_be_read(arguments: list[str], told: str, capfd: Capture) -> None:
    assert main("wss://127.0.0.1", *arguments) == 2
    error = capfd.readouterr().err
    assert error.startswith(f"httpx2-trio-ws: {told}")
    assert error.count("\n") == 1


def test_a_key_whose_password_is_missing(
    files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Capture
) -> None:
    def load(*arguments: object) -> None:
        no_password("")

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", load)
    assert main("wss://127.0.0.1", "--cert", str(files.both)) == 2
    assert capfd.readouterr().err == f"httpx2-trio-ws: --cert {files.both}: it has no password\n"


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_certificates_that_the_environment_names_wrongly(
    name: str, monkeypatch: pytest.MonkeyPatch, capfd: Capture
) -> None:
    monkeypatch.setenv(name, "/no/such")
    status = main("wss://127.0.0.1:1")
    error = capfd.readouterr().err
    assert "Traceback" not in error
    if name == "SSL_CERT_FILE":
        assert (status, error) == (2, "httpx2-trio-ws: SSL_CERT_FILE /no/such: No such file or directory\n")
    else:
        assert status in (2, 3)  # a folder is looked into when a certificate is sought


# -- refusals --------------------------------------------------------------------------------------

PYTHON_ARGUMENT = re.compile(r"\b\w+=(?!\*)|\b\w+_\w+\b")


@pytest.mark.parametrize(
    ("status", "options", "told"),
    [
        ("401 Unauthorized", [], "401 Unauthorized; log in with --auth USER[:PASSWORD]"),
        ("401 Unauthorized", ["--auth", "a:b"], "401 Unauthorized; --auth has other credentials"),
        ("407 No", [], "407 No; the proxy wants credentials: --proxy http://USER:PASSWORD@HOST:PORT"),
        ("403 Forbidden", [], "403 Forbidden; it may want an --origin"),
        ("403 Forbidden", ["--origin", "http://a"], "403 Forbidden"),
        ("400 Bad Request", ["-H", "origin: http://a"], "400 Bad Request"),
        ("404 Not Found", [], "404 Not Found"),
        ("500 \x1b[2J", [], "500 \\x1b[2J"),
    ],
)
def test_refusals_name_flags(status: str, options: list[str], told: str, capfd: Capture) -> None:
    answer = f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode("latin-1")
    with raw_server(until_closed, status=answer) as url:
        assert main(url, *options) == 4
    assert capfd.readouterr().err == f"httpx2-trio-ws: the server refused the WebSocket with {told}\n"


@pytest.mark.parametrize(
    "answer",
    [
        b"200 OK\r\nContent-Length: 0",
        b"426 Upgrade Required\r\nContent-Length: 0",
        b"426 Upgrade Required\r\nSec-WebSocket-Version: 7\r\nContent-Length: 0",
        b"101 Well\r\nUpgrade: no\r\nConnection: Upgrade",
        b"101 Well\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: no",
    ],
)
def test_no_answer_speaks_of_arguments_of_python(answer: bytes, capfd: Capture) -> None:
    with raw_server(until_closed, status=b"HTTP/1.1 " + answer + b"\r\n\r\n") as url:
        assert main(url) == 4
    assert not PYTHON_ARGUMENT.search(capfd.readouterr().err)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("pass auth= to log in", "pass --auth to log in"),
        ("pass follow_redirects=True", "pass -L"),
        ("a message is over max_message_size_bytes: 5", "a message is over --max-size: 5"),
        ("longer than 3 s (handshake_timeout_seconds)", "longer than 3 s (--timeout)"),
        ("'Sec-WebSocket-Protocol' is set by the handshake; use subprotocols", None),
        ("my_headers=1 is theirs", "my_headers=1 is theirs"),
    ],
)
def test_the_library_s_words(text: str, told: str | None) -> None:
    assert in_flags(text) == (told or text.replace("subprotocols", "--subprotocol"))


@pytest.mark.parametrize(
    "header", ["Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions", "Upgrade", "Connection", "Host"]
)
def test_headers_of_the_handshake(header: str, capfd: Capture) -> None:
    status = main("ws://127.0.0.1:1", "-H", f"{header}: x")
    error = capfd.readouterr().err
    assert status in (2, 3)
    assert not any(re.search(rf"(?<!-)\b{name}\b", error) for name in OpenOptions.__annotations__)


CHARSETS = sorted({*encodings.aliases.aliases.values(), "idna", "punycode", "undefined", "unicode_escape", "none such"})


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_refusal_in_any_charset_is_shown() -> None:
    bodies = (b"odd", b"\xff\xfe\x00", b"a\\xff \x80 Basic realm", bytes(range(256)))
    for charset, body in itertools.product(CHARSETS, bodies):
        response = httpx2.Response(403, content=body, headers={"Content-Type": f"text/plain; charset={charset}"})
        assert "\x1b" not in start_of_body(response)


@pytest.mark.parametrize("charset", ["utf-16", "zlib", "idna", "undefined", "rot13", "none"])
def test_the_command_survives_any_charset(charset: str, capfd: Capture) -> None:
    head = f"HTTP/1.1 403 No\r\nContent-Type: text/plain; charset={charset}\r\nContent-Length: 3\r\n\r\n"
    with raw_server(until_closed, status=head.encode() + b"odd") as url:
        assert main(url) == 4
    first, _ = capfd.readouterr().err.split("\n", 1)
    assert first.startswith("httpx2-trio-ws: the server refused the WebSocket with 403 No")


# -- verbose ---------------------------------------------------------------------------------------


def test_verbose_shows_pings_and_pongs(capfd: Capture) -> None:
    def handle(connection: ServerConnection) -> None:
        connection.ping(b"\x1b1").wait()

    with websocket_server(handle) as url:
        assert main(url, "-v") == 0
    assert "\n< ping '\\x1b1'\n" in capfd.readouterr().err


def test_pongs_are_shown(base: str, capfd: Capture) -> None:
    assert main(f"{base}/echo", "-v", "--ping", "1") == 0
    assert "\n< pong '" in capfd.readouterr().err
