"""Servers that speak TLS alone, with certificates of an authority made for the test.

PostgreSQL and Redis are those that are installed here, started with files and ports of their own
(the embedded ones are built without TLS). Before a RabbitMQ and a ClickHouse that know no TLS
stands what decrypts, as stunnel or a load balancer would.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import ssl
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Thread

import trustme
from redis import Redis

from tests.cluster import SLOTS, is_in_order, take_slots
from tests.servers import free_port, lacks, started_redis
from tests.waiting import wait_until

HOST = "127.0.0.1"
POSTGRES_PROGRAMS = Path("/usr/lib/postgresql")
POSTGRES_USER = "postgres"
PIECE_BYTES = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificates:
    """Files of a folder: an authority and another one, and what the first has signed."""

    folder: Path
    server: trustme.LeafCert

    @classmethod
    def make(cls, folder: Path, user: str) -> Certificates:
        """Make them; `user` is whom the client's certificate names."""
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(folder / "authority.pem"))
        trustme.CA().cert_pem.write_to_path(str(folder / "stranger.pem"))
        server = authority.issue_cert(HOST)
        _write(server, folder, "server")
        _write(authority.issue_cert("client@example.org", common_name=user), folder, "client")
        return cls(folder=folder, server=server)

    def file(self, name: str) -> str:
        """Return the path of `authority.pem`, `stranger.pem`, `server.key`, …."""
        return str(self.folder / name)

    def context(self) -> ssl.SSLContext:
        """Return what a server needs."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.server.configure_cert(context)
        return context


def _write(leaf: trustme.LeafCert, folder: Path, name: str) -> None:
    leaf.cert_chain_pems[0].write_to_path(str(folder / f"{name}.pem"))
    leaf.private_key_pem.write_to_path(str(folder / f"{name}.key"))
    (folder / f"{name}.key").chmod(0o600)


@contextmanager
def encrypted_redis(
    certificates: Certificates, user: str, password: str, *, is_cluster: bool = False
) -> Iterator[int]:
    """Run a Redis that lets one user in, as a cluster of one node or by itself; yield its port."""
    program = shutil.which("redis-server")
    if program is None:
        lacks("no redis-server is installed")
    port = free_port()
    settings = {
        "port": "0",
        "tls-port": str(port),
        "bind": HOST,
        "tls-cert-file": certificates.file("server.pem"),
        "tls-key-file": certificates.file("server.key"),
        "tls-ca-cert-file": certificates.file("authority.pem"),
        "tls-auth-clients": "no",
        "save": "",
        "dir": str(certificates.folder),
    }
    if is_cluster:
        settings |= {"cluster-enabled": "yes", "tls-cluster": "yes"}
        settings |= {"cluster-port": str(free_port())}
    users = f"--user default off --user {user} on >{password} ~* &* +@all".split()
    admin = Redis(
        host=HOST, port=port, username=user, password=password, ssl=True, ssl_cert_reqs="none"
    )
    with started_redis(Path(program), settings, admin, *users):
        if is_cluster:
            take_slots(admin, 0, SLOTS - 1)
            wait_until(lambda: is_in_order(admin, nodes=1))
        yield port


@contextmanager
def encrypted_postgres(password: str) -> Iterator[tuple[int, Certificates]]:
    """Run a PostgreSQL; yield its port and its certificates.

    It lets `postgres` in with the password, and `certified` with the client's certificate.
    """
    programs = max(POSTGRES_PROGRAMS.glob("*/bin"), default=None)
    if programs is None:
        lacks(f"no PostgreSQL is installed in {POSTGRES_PROGRAMS}")
    # Beside the others' folders, which the user who runs it may not pass.
    folder = Path(tempfile.mkdtemp(prefix="streakline-tls-"))
    try:
        certificates = Certificates.make(folder, "certified")
        (folder / "password").write_text(password)
        _give(folder)
        port = free_port()
        data = str(folder / "data")
        _run(programs, "initdb", "-D", data, "-U", "postgres", f"--pwfile={folder / 'password'}")
        (folder / "data" / "pg_hba.conf").write_text(
            f"hostssl all certified {HOST}/32 cert\nhostssl all all {HOST}/32 scram-sha-256\n"
        )
        settings = {
            "port": port,
            "listen_addresses": HOST,
            "unix_socket_directories": "",
            "fsync": "off",
            "ssl": "on",
            "ssl_cert_file": certificates.file("server.pem"),
            "ssl_key_file": certificates.file("server.key"),
            "ssl_ca_file": certificates.file("authority.pem"),
        }
        options = " ".join(f"-c {name}='{value}'" for name, value in settings.items())
        _run(programs, "pg_ctl", "start", "-D", data, "-w", "-l", f"{folder}/log", "-o", options)
        try:
            # libpq takes a key that belongs to the one who reads it, and to nobody else.
            os.chown(folder / "client.key", os.geteuid(), os.getegid())
            yield port, certificates
        finally:
            _run(programs, "pg_ctl", "stop", "-D", data, "-m", "immediate")
    finally:
        shutil.rmtree(folder)


def _run(programs: Path, name: str, *words: str) -> None:
    user = POSTGRES_USER if os.geteuid() == 0 else None
    # A file, not a pipe: the server that pg_ctl starts would keep a pipe open.
    with tempfile.TemporaryFile("w+") as written:
        done = subprocess.run(
            [programs / name, *words],
            stdout=written,
            stderr=subprocess.STDOUT,
            user=user,
            cwd="/",
            check=False,
        )
        written.seek(0)
        assert done.returncode == 0, written.read()


def _give(folder: Path) -> None:
    """Hand a folder to the user who runs PostgreSQL: it refuses to be run by root."""
    if os.geteuid() == 0:
        user = pwd.getpwnam(POSTGRES_USER)
        for path in (folder, *folder.iterdir()):
            os.chown(path, user.pw_uid, user.pw_gid)


@contextmanager
def decrypting(certificates: Certificates, port: int) -> Iterator[int]:
    """Take TLS connections and pass on what is in them; yield the port."""
    context = certificates.context()

    class Handler(BaseRequestHandler):
        def handle(self) -> None:
            # What does not trust us goes away in the middle of it.
            with (
                suppress(OSError),
                context.wrap_socket(self.request, server_side=True) as outside,
                socket.create_connection((HOST, port)) as inside,
            ):
                back = Thread(target=_pass_on, args=(inside, outside), daemon=True)
                back.start()
                _pass_on(outside, inside)
                back.join()

    class Server(ThreadingTCPServer):
        daemon_threads = True
        block_on_close = False

    with Server((HOST, 0), Handler) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield int(server.server_address[1])
        server.shutdown()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError, ValueError):
        while piece := source.recv(PIECE_BYTES):
            target.sendall(piece)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
