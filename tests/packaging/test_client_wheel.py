"""The client's wheel, installed where there is nothing but what it asks for."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from email.message import Message
from email.parser import Parser
from pathlib import Path
from zipfile import ZipFile

import pytest

CLIENT = Path(__file__).parents[2] / "client"
ASKED_FOR = ("dramatiq", "redis")


def run(*command: str | Path, directory: Path | None = None) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=directory)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("wheel")
    build = ["hatchling", "build", "-t", "wheel", "-d", str(directory)]
    run(sys.executable, "-m", *build, directory=CLIENT)
    [path] = directory.glob("streakline-*.whl")
    return path


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the wheel installed, and beside it only the packages that it asks for."""
    directory = tmp_path_factory.mktemp("environment")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    run(*pip, "--no-deps", "--no-index", "--no-compile", "--target", directory, wheel)
    for name in ASKED_FOR:
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        (directory / name).symlink_to(Path(spec.origin).parent)
    return directory


def modules_after(environment: Path, code: str) -> set[str]:
    """Run code in a Python that sees this environment alone; return the modules it has loaded."""
    prelude = f"import sys, json; sys.path.append({str(environment)!r})\n"
    epilogue = "\nprint(json.dumps(sorted(sys.modules)))"
    # -I: no PYTHONPATH and no working directory; -S: no site-packages
    return set(json.loads(run(sys.executable, "-I", "-S", "-c", prelude + code + epilogue)))


def foreign(modules: set[str]) -> set[str]:
    packages = {name.partition(".")[0] for name in modules}
    own = {"__main__"} | {name for name in packages if name.startswith("_sysconfigdata_")}
    return packages - own - set(sys.stdlib_module_names)


def test_the_wheel_holds_streakline_and_nothing_else(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        names = archive.namelist()
    packages = {name.partition("/")[0] for name in names if ".dist-info/" not in name}
    assert packages == {"streakline"}
    assert {"streakline/enqueue.lua", "streakline/py.typed"} <= set(names)


def test_the_wheel_asks_for_dramatiq_with_redis_alone(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        metadata: Message = Parser().parsestr(archive.read(name).decode())
    asked = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert asked == ["dramatiq[redis]<3,>=2.2"]
    assert metadata["License-Expression"] == "Apache-2.0"


def test_importing_streakline_loads_nothing_heavy(environment: Path) -> None:
    """Dramatiq, redis and asyncio cost a backend's start a fifth of a second; a client may."""
    loaded = modules_after(environment, "import streakline, streakline.testing")
    assert foreign(loaded) == {"streakline"}
    assert "asyncio" not in loaded


@pytest.mark.parametrize("package", ["sqlalchemy", "apscheduler", "clickhouse_connect", "pika"])
def test_the_environment_lacks_what_only_workers_need(environment: Path, package: str) -> None:
    find = f"import importlib.util; assert importlib.util.find_spec({package!r}) is None"
    assert foreign(modules_after(environment, find)) == set()


def test_the_installed_client_sends_an_event(
    environment: Path, valkey_url: str, namespace: str
) -> None:
    code = f"""
from streakline import Client
client = Client({valkey_url!r}, namespace={namespace!r})
assert not client.track("u", "lessons", key="k").duplicate
assert client.track("u", "lessons", key="k").duplicate
"""
    assert foreign(modules_after(environment, code)) == {"streakline", *ASKED_FOR}


def test_without_pika_a_rabbitmq_url_says_what_to_install(environment: Path) -> None:
    code = """
from streakline import AddressError, Client
try:
    Client("amqp://localhost")
except AddressError as error:
    assert "pip install 'streakline[rabbitmq]'" in str(error), error
else:
    raise AssertionError("no error")
"""
    modules_after(environment, code)
