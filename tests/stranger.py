"""What somebody without a key tries on an embedded store. `python -m tests.stranger PORTS HOME UID` prints what each
port, socket and file answered, as JSON; the standard library alone, loaded before it becomes that user.
"""

import encodings.idna  # noqa: F401  (else loaded by the first connection, where another user may not read)
import http.client
import json
import os
import socket
import ssl
import sys
from pathlib import Path
from typing import Any

SERVERS = ("master", "volume", "filer", "s3", "admin")
EVIL = "evil.example"
# An HTTP/2 client's first words, and the type of the frame with which a server of gRPC answers them.
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
SETTINGS = bytes((4,))
PATHS = {
    "GET": (
        *("/buckets/palate/kept", "/buckets/palate/?pretty=y", "/palate/kept", "/palate?list-type=2", "/1,01637037d6"),
        *("/dir/assign", "/dir/lookup?volumeId=1", "/dir/status", "/vol/grow?count=1", "/api/users", "/stats/disk"),
    ),
    "PUT": ("/buckets/palate/planted", "/palate/planted", "/1,01637037d6"),
    "POST": ("/buckets/palate/planted", "/submit", "/api/s3/buckets"),
    "DELETE": ("/buckets/palate/kept", "/buckets/palate?recursive=true", "/palate/kept", "/1,01637037d6"),
    "OPTIONS": ("/buckets/palate/kept", "/palate/kept"),
}


def try_http(port: int) -> list[dict[str, Any]]:
    """Every request, as a program sends it and as a foreign page would."""
    found = []
    for headers in ({}, {"Origin": f"http://{EVIL}", "Host": EVIL, "Access-Control-Request-Method": "DELETE"}):
        for method, paths in PATHS.items():
            for path in paths:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
                connection.request(method, path, b"planted" if method in ("PUT", "POST") else None, headers)
                answer = connection.getresponse()
                answer.read()
                allowed = answer.getheader("Access-Control-Allow-Origin")
                found.append({"what": f"{method} {path}", "status": answer.status, "allowed": allowed})
                connection.close()
    return found


def speaks_grpc(port: int, tls: "ssl.SSLContext | None") -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as plain:
        try:
            with tls.wrap_socket(plain) if tls else plain as stream:
                stream.sendall(PREFACE)
                return stream.recv(64)[3:4] == SETTINGS
        except (ssl.SSLError, ConnectionError):
            return False


def context(folder: "Path | None" = None) -> ssl.SSLContext:
    """Of a client that shows no certificate, or that of this folder."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    made.set_alpn_protocols(["h2"])
    if folder:
        made.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return made


def reach(path: Path) -> str:
    """The error that meets who connects to a socket, or reads a file; or `reached`."""
    try:
        if path.is_socket():
            with socket.socket(socket.AF_UNIX) as stream:
                stream.connect(str(path))
        else:
            path.read_bytes()
    except OSError as error:
        return type(error).__name__
    return "reached"


def attack(ports: dict[str, int], home: Path) -> dict[str, Any]:
    """`paths`: the sockets that the store's servers leave in /tmp, and what lies in the home."""
    grpc = {server: ports[f"{server}.grpc"] for server in SERVERS}
    sockets = [
        path for path in Path("/tmp").glob("seaweedfs-*") if any(f"-{port}.s" in path.name for port in grpc.values())
    ]
    inside = [
        home / name for name in ("secrets.json", "seaweed/filer.sock", "seaweed/security.toml", "seaweed/tls/key.pem")
    ]
    return {
        "uid": os.geteuid(),
        "http": {server: try_http(ports[server]) for server in SERVERS},
        "grpc": {server: [speaks_grpc(port, None), speaks_grpc(port, context())] for server, port in grpc.items()},
        "paths": {str(path): reach(path) for path in (*sockets, *inside)},
    }


if __name__ == "__main__":
    if (uid := int(sys.argv[3])) != os.geteuid():
        os.setgroups([])
        os.setgid(uid)
        os.setuid(uid)
    print(json.dumps(attack(json.loads(sys.argv[1]), Path(sys.argv[2]))))
