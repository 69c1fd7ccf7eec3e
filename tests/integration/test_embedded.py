"""Embedded servers: durable, private, shared, and plain about what keeps them from starting."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from pathlib import Path

import psutil
import psycopg
import pytest
from redis import Redis

from streakline.addresses import BROKER_URL_FILE
from tests.servers import free_port, temporary_home
from tests.waiting import wait_until
from worker.embedded import EmbeddedServerError, embedded_postgres, embedded_valkey
from worker.embedded.postgres import PORT_SETTING as POSTGRES_PORT
from worker.embedded.valkey import PORT_SETTING as VALKEY_PORT

SERVERS = pytest.mark.parametrize(
    ("server", "setting"), [(embedded_postgres, POSTGRES_PORT), (embedded_valkey, VALKEY_PORT)]
)
Server = Callable[..., AbstractContextManager[str]]

# Another process that uses both servers until its standard input is closed.
USER = """
import sys
from pathlib import Path
from worker.embedded import embedded_postgres, embedded_valkey
home = Path(sys.argv[1])
with embedded_postgres(home), embedded_valkey(home):
    print("in", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A home that the tests here use one after the other: a first start takes longest."""
    with temporary_home() as path:
        yield path


@pytest.fixture
def fresh_home() -> Iterator[Path]:
    with temporary_home() as path:
        yield path


@contextmanager
def both(home: Path) -> Iterator[tuple[str, str]]:
    with embedded_postgres(home) as database_url, embedded_valkey(home) as redis_url:
        yield database_url, redis_url


@contextmanager
def another_user(home: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", USER, str(home)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "in\n"
            yield process
        finally:
            process.kill()


def connect(database_url: str) -> psycopg.Connection:
    return psycopg.connect(database_url.replace("+psycopg", ""), autocommit=True)


def ask_postgres(database_url: str, statement: str) -> object:
    with connect(database_url) as connection:
        cursor = connection.execute(statement.encode())
        row = cursor.fetchone() if cursor.description else None
        return row and row[0]


def is_active(connection: psycopg.Connection, backend: int) -> bool:
    query = "select state = 'active' from pg_stat_activity where pid = %s"
    row = connection.execute(query, [backend]).fetchone()
    return bool(row and row[0])


def postgres_process(home: Path) -> psutil.Process:
    return psutil.Process(int((home / "postgres/postmaster.pid").read_text().split()[0]))


def valkey_process(home: Path) -> psutil.Process:
    return psutil.Process(int((home / "valkey/valkey.pid").read_text()))


def is_gone(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def kill(process: psutil.Process) -> None:
    process.kill()
    wait_until(lambda: is_gone(process), message="killed server is gone")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("fsync", "on"),
        ("synchronous_commit", "on"),
        ("full_page_writes", "on"),
        ("data_checksums", "on"),
        ("server_encoding", "UTF8"),
        ("TimeZone", "UTC"),
        ("jit", "off"),
        ("max_connections", "100"),
        ("listen_addresses", ""),
    ],
)
def test_postgres_is_durable_and_speaks_utc(setting: str, value: str, home: Path) -> None:
    with embedded_postgres(home) as url:
        assert ask_postgres(url, f"show {setting}") == value


def test_postgres_sorts_text_by_code_point(home: Path) -> None:
    with embedded_postgres(home) as url:
        assert ask_postgres(url, "select 'Z' < 'a' and lower('Ä') = 'ä'") is True


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("appendonly", "yes"),
        ("appendfsync", "everysec"),
        ("save", ""),
        ("maxmemory-policy", "noeviction"),
        ("databases", "16"),
        ("port", "0"),
    ],
)
def test_valkey_keeps_everything_and_evicts_nothing(setting: str, value: str, home: Path) -> None:
    with embedded_valkey(home) as url, Redis.from_url(url) as client:
        assert client.config_get(setting) == {setting: value}


def test_valkey_leaves_the_machine_half_of_its_memory(home: Path) -> None:
    with embedded_valkey(home) as url, Redis.from_url(url) as client:
        limit = int(client.config_get("maxmemory")["maxmemory"])
    assert limit == psutil.virtual_memory().total // 2


def test_data_outlive_a_stop(home: Path) -> None:
    with both(home) as (database_url, redis_url):
        ask_postgres(database_url, "create table kept as select 812 as lesson")
        with Redis.from_url(redis_url) as client:
            client.set("kept", "812")
    with both(home) as (database_url, redis_url):
        assert ask_postgres(database_url, "select lesson from kept") == 812
        with Redis.from_url(redis_url) as client:
            assert client.get("kept") == b"812"


def test_data_outlive_a_kill_and_the_next_start_recovers(fresh_home: Path) -> None:
    with both(fresh_home) as (database_url, redis_url):
        ask_postgres(database_url, "create table kept as select 812 as lesson")
        with Redis.from_url(redis_url) as client:
            client.set("kept", "812")
        kill(postgres_process(fresh_home))
        kill(valkey_process(fresh_home))
    with both(fresh_home) as (database_url, redis_url):
        assert ask_postgres(database_url, "select lesson from kept") == 812
        with Redis.from_url(redis_url) as client:
            assert client.get("kept") == b"812"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGQUIT], ids=["killed", "told to end"])
def test_a_postgres_that_is_just_ending_is_started_anew(home: Path, number: int) -> None:
    with embedded_postgres(home) as url:
        for _ in range(3):
            os.kill(postgres_process(home).pid, number)  # and its end is not waited for
            with embedded_postgres(home):
                assert ask_postgres(url, "select 1") == 1


def test_a_session_that_outlives_its_killed_postgres_is_ended_before_the_next_starts(
    home: Path,
) -> None:
    with embedded_postgres(home) as url, closing(connect(url)) as busy:
        session = psutil.Process(busy.info.backend_pid)
        busy.pgconn.send_query(b"select count(*) from generate_series(1, 1e12::bigint)")
        with connect(url) as other:
            wait_until(lambda: is_active(other, session.pid), message="the session is busy")
        kill(postgres_process(home))
        assert not is_gone(session)
        with embedded_postgres(home):
            assert is_gone(session)
            assert ask_postgres(url, "select 1") == 1


def test_a_pid_file_whose_number_belongs_to_another_process_by_now_is_no_obstacle(
    home: Path,
) -> None:
    with embedded_postgres(home):
        pid_file = home / "postgres/postmaster.pid"
        lines = pid_file.read_text().splitlines()
        kill(postgres_process(home))
        pid_file.write_text("\n".join([str(os.getpid()), *lines[1:]]))
    with embedded_postgres(home) as url:
        assert ask_postgres(url, "select 1") == 1


def test_nobody_else_can_reach_data_or_sockets(home: Path) -> None:
    with both(home):
        assert mode(home / "postgres") == 0o700
        assert mode(home / "valkey") == 0o700
        assert mode(home / BROKER_URL_FILE) == 0o600
        # As root the system user that runs Postgres passes through, and sees no names.
        assert mode(home) == (0o701 if os.geteuid() == 0 else 0o700)
        assert (home / "postgres/.s.PGSQL.5432").is_socket()
        assert (home / "valkey/valkey.sock").is_socket()


def test_clients_find_the_broker_in_the_home(home: Path) -> None:
    with embedded_valkey(home) as url:
        assert (home / BROKER_URL_FILE).read_text().strip() == url


def test_servers_are_out_of_reach_of_a_terminals_ctrl_c(home: Path) -> None:
    with both(home):
        own = os.getsid(0)
        assert os.getsid(postgres_process(home).pid) != own
        assert os.getsid(valkey_process(home).pid) != own


def test_processes_share_the_servers_and_the_last_to_leave_stops_them(home: Path) -> None:
    with ExitStack() as first:
        first.enter_context(both(home))
        postgres, valkey = postgres_process(home), valkey_process(home)
        with another_user(home) as other:
            first.close()
            assert not is_gone(postgres)
            assert not is_gone(valkey)
            other.communicate("")
            assert other.returncode == 0
            assert is_gone(postgres)
            assert is_gone(valkey)


def test_a_killed_user_keeps_nobody_from_using_or_stopping_the_servers(home: Path) -> None:
    with another_user(home) as killed:
        postgres, valkey = postgres_process(home), valkey_process(home)
        killed.send_signal(signal.SIGKILL)
        killed.wait()
    assert not is_gone(postgres)
    with both(home) as (database_url, _):
        assert postgres_process(home) == postgres
        assert ask_postgres(database_url, "select 1") == 1
    assert is_gone(postgres)
    assert is_gone(valkey)


def test_postgres_listens_on_a_port_if_asked_and_wants_the_password_there(home: Path) -> None:
    port = free_port()
    with embedded_postgres(home, port=port) as url:
        assert ask_postgres(url, "select 1") == 1
        password = (home / "password").read_text().strip()
        by_port = f"postgresql://postgres:{{}}@127.0.0.1:{port}/streakline"
        assert ask_postgres(by_port.format(password), "select 1") == 1
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            ask_postgres(by_port.format("guess"), "select 1")
        with embedded_postgres(home) as joined:
            assert joined == url
    assert mode(home / "password") == 0o600


def test_valkey_listens_on_a_port_if_asked(home: Path) -> None:
    port = free_port()
    with embedded_valkey(home, port=port), Redis(host="127.0.0.1", port=port) as client:
        assert client.ping()


@SERVERS
def test_a_port_in_use_is_named_with_its_setting(server: Server, setting: str, home: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refusal = f"{setting}={port}: .* in use.* Choose another"
        with pytest.raises(EmbeddedServerError, match=refusal), server(home, port=port):
            pytest.fail("started on a port in use")


@SERVERS
def test_a_port_cannot_be_had_from_a_server_that_runs_without_it(
    server: Server, setting: str, home: Path
) -> None:
    refusal = f"{setting}=.* runs already, without .*port"
    with server(home), pytest.raises(EmbeddedServerError, match=refusal):  # noqa: SIM117 - one must fail
        with server(home, port=free_port()):
            pytest.fail("joined a server that lacks the port")


@SERVERS
def test_a_home_that_is_a_file_is_refused(server: Server, setting: str, tmp_path: Path) -> None:
    file = tmp_path / "home"
    file.touch()
    with pytest.raises(EmbeddedServerError, match=f"{file} .* is a file.* STREAKLINE_HOME"):
        server(file).__enter__()


@SERVERS
def test_a_home_that_cannot_be_made_is_refused(
    server: Server, setting: str, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    home = tmp_path / "file" / "home"
    with pytest.raises(EmbeddedServerError, match=f"{home} .* cannot be made: Not a directory"):
        server(home).__enter__()


@contextmanager
def no_privileges() -> Iterator[None]:
    """Be nobody, where we are root: root may write everywhere."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(pwd.getpwnam("nobody").pw_uid)
    try:
        yield
    finally:
        os.seteuid(before)


@SERVERS
def test_a_home_that_is_read_only_is_refused(
    server: Server, setting: str, fresh_home: Path
) -> None:
    fresh_home.chmod(0o555)
    refusal = f"{fresh_home} .* cannot be written to: .* STREAKLINE_HOME .*STREAKLINE_DATABASE_URL"
    try:
        with no_privileges(), pytest.raises(EmbeddedServerError, match=refusal):
            server(fresh_home).__enter__()
    finally:
        fresh_home.chmod(0o700)


def test_a_home_with_a_path_too_long_for_sockets_has_them_in_a_private_place(
    fresh_home: Path,
) -> None:
    home = fresh_home / ("long" * 20) / ("way" * 20)
    with both(home) as (database_url, redis_url):
        assert ask_postgres(database_url, "select 1") == 1
        sockets = Path(str(Redis.from_url(redis_url).get_connection_kwargs()["path"])).parent
        assert not sockets.is_relative_to(home)
        assert mode(sockets) == 0o700
        assert mode(sockets.with_name("postgres")) == 0o700
    shutil.rmtree(sockets.parent)


def test_a_path_with_a_space_in_it_is_fine(fresh_home: Path) -> None:
    with both(fresh_home / "my home") as (database_url, redis_url):
        assert ask_postgres(database_url, "select 1") == 1
        with Redis.from_url(redis_url) as client:
            assert client.ping()


def test_data_of_another_major_version_are_left_alone_and_named(home: Path) -> None:
    with embedded_postgres(home):
        pass
    version = home / "postgres/PG_VERSION"
    ours = version.read_text()
    version.write_text("17\n")
    try:
        with pytest.raises(EmbeddedServerError, match=r"data of PostgreSQL 17, .*pg_dump"):
            embedded_postgres(home).__enter__()
    finally:
        version.write_text(ours)


def test_a_postgres_that_does_not_start_shows_the_end_of_its_log(home: Path) -> None:
    with embedded_postgres(home):
        pass
    control = home / "postgres/global/pg_control"
    control.rename(control.with_name("away"))
    try:
        with pytest.raises(EmbeddedServerError, match=r"(?s)does not start.*ends:.*pg_control"):
            embedded_postgres(home).__enter__()
    finally:
        control.with_name("away").rename(control)


def test_a_valkey_that_does_not_start_shows_the_end_of_its_log(fresh_home: Path) -> None:
    with embedded_valkey(fresh_home):
        pass
    (fresh_home / "valkey/appendonlydir/appendonly.aof.manifest").write_text("nonsense\n")
    with pytest.raises(EmbeddedServerError, match=r"(?s)does not start.*ends:.*manifest"):
        embedded_valkey(fresh_home).__enter__()
