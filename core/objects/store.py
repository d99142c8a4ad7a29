"""The object store: the only file that talks to S3. Thread-safe; memory is bounded by a part's size."""

import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from botocore.exceptions import BotoCoreError, ClientError

from core import settings
from core.contract.errors import NotFound, Unavailable
from core.contract.failpoints import durable
from core.contract.manifest import FileEntry, Manifest, ManifestMismatch, open_entry
from core.disk import rename
from core.objects.client import Style, make_client
from core.objects.faults import translated
from core.objects.parts import PART_BYTES, Unfinished, by_parts, read_parts

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

READ_BYTES = 1 << 20
# A link needs no key and outlives it: long enough to begin a download, which may last for as long as it takes.
PRESIGNED_SECONDS = 300
DELETE_BATCH = 1_000
AT_ONCE = 4
PROBE_SECONDS = 2.0

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Stored:
    """What was written: its size in bytes and its sha256 (hex)."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class Listed:
    key: str
    bytes: int


class Store:
    """One bucket. `Store.from_settings()` is the service's own; `public_endpoint_url` is for presigned URLs only."""

    def __init__(
        self,
        *,
        endpoint_url: str | None,
        bucket: str,
        public_endpoint_url: str | None = None,
        access_key: str | None = None,
        secret_key: str | None = None,
        region: str = "us-east-1",
        path_style: bool = True,
        connect_timeout: float = 3.0,
        read_timeout: float = 30.0,
        attempts: int = 5,
        connections: int = 32,
    ) -> None:
        self.bucket = bucket
        make = partial(
            make_client, access_key=access_key, secret_key=secret_key, region=region, connections=connections
        )
        patient = partial(make, connect_seconds=connect_timeout, read_seconds=read_timeout, attempts=attempts)
        style: Style = "path" if path_style else "auto"
        self._client = patient(endpoint_url, style)
        self._presigner = patient(public_endpoint_url or endpoint_url, "path")
        self._make_probe = partial(
            make, endpoint_url, style, connect_seconds=PROBE_SECONDS, read_seconds=PROBE_SECONDS, attempts=1
        )

    @classmethod
    def from_settings(cls) -> "Store":
        parts = settings.parts()
        return cls(
            endpoint_url=parts.s3_endpoint_url,
            public_endpoint_url=parts.s3_public_endpoint_url,
            bucket=parts.s3_bucket,
            access_key=settings.key(parts.aws_access_key_id_file),
            secret_key=settings.key(parts.aws_secret_access_key_file),
            region=parts.s3_region,
            path_style=parts.s3_path_style,
            connect_timeout=parts.s3_connect_seconds,
            read_timeout=parts.s3_read_seconds,
            attempts=parts.s3_attempts,
        )

    def close(self) -> None:
        self._client.close()
        self._presigner.close()
        if "_probe" in self.__dict__:
            self._probe.close()

    @cached_property
    def _probe(self) -> "S3Client":
        """Asks once, and not for long."""
        return self._make_probe()

    def has_bucket(self) -> bool:
        """False, soon and never an error, while the store is away: for readiness. Needs no right but on the bucket."""
        try:
            self._probe.head_bucket(Bucket=self.bucket)
        except (BotoCoreError, ClientError):
            return False
        return True

    def create_bucket(self) -> None:
        with translated(self.bucket):
            self._client.create_bucket(Bucket=self.bucket)

    # One object in, from anything that yields bytes.

    @durable
    def put_stream(self, key: str, chunks: Iterable[bytes], *, progress: Progress | None = None) -> Stored:
        """Writes what `chunks` yields, by parts of 8 MiB; nothing is visible under `key` unless all of it came."""
        digest = hashlib.sha256()
        total = 0
        upload: str | None = None
        tags: list[str] = []
        try:
            for part in by_parts(chunks):
                digest.update(part)
                total += len(part)
                if upload is None and len(part) < PART_BYTES:
                    self.put(key, part)
                    break
                upload = upload or self.begin_multipart(key)
                tags.append(self.upload_part(key, upload, len(tags) + 1, part))
                if progress:
                    progress(len(part))
            else:
                if upload is None:
                    self.put(key, b"")
                else:
                    self.complete_multipart(key, upload, tags)
        except BaseException:
            if upload is not None:
                with suppress(Unavailable):  # the first error is the one to tell; the sweeper aborts what is left
                    self.abort_multipart(key, upload)
            raise
        if progress and upload is None:
            progress(total)
        return Stored(total, digest.hexdigest())

    @durable
    def put(self, key: str, body: bytes) -> Stored:
        """A small object, in one request."""
        with translated(key):
            self._client.put_object(Bucket=self.bucket, Key=key, Body=body)
        return Stored(len(body), hashlib.sha256(body).hexdigest())

    # The same in pieces, for the API's intake: begin, parts in any order or at once, then complete or abort.

    @durable
    def begin_multipart(self, key: str) -> str:
        with translated(key):
            return self._client.create_multipart_upload(Bucket=self.bucket, Key=key)["UploadId"]

    @durable
    def upload_part(self, key: str, upload_id: str, number: int, body: bytes) -> str:
        """`number` from 1; every part but the last has at least 5 MiB. Returns the part's tag."""
        with translated(key):
            answer = self._client.upload_part(
                Bucket=self.bucket, Key=key, UploadId=upload_id, PartNumber=number, Body=body
            )
            return answer["ETag"]

    @durable
    def complete_multipart(self, key: str, upload_id: str, tags: list[str]) -> None:
        """`tags` in the order of the parts' numbers."""
        parts: list[Any] = [{"PartNumber": number, "ETag": tag} for number, tag in enumerate(tags, 1)]
        with translated(key):
            self._client.complete_multipart_upload(
                Bucket=self.bucket, Key=key, UploadId=upload_id, MultipartUpload={"Parts": parts}
            )

    @durable
    def abort_multipart(self, key: str, upload_id: str) -> None:
        """Also of one that is gone already."""
        try:
            with translated(key):
                self._client.abort_multipart_upload(Bucket=self.bucket, Key=key, UploadId=upload_id)
        except NotFound:
            return

    def unfinished(self) -> Iterator[Unfinished]:
        with translated(self.bucket):
            for page in self._client.get_paginator("list_multipart_uploads").paginate(Bucket=self.bucket):
                for each in page.get("Uploads", []):
                    yield Unfinished(each["Key"], each["UploadId"])

    def parts_sent(self, upload: Unfinished) -> int:
        """0 where it is gone too."""
        where = {"Bucket": self.bucket, "Key": upload.key, "UploadId": upload.upload_id}
        try:
            with translated(upload.key):
                pages = self._client.get_paginator("list_parts").paginate(**where)  # type: ignore[arg-type]
                return sum(len(page.get("Parts", [])) for page in pages)
        except NotFound:
            return 0

    # Out.

    def head(self, key: str) -> int | None:
        """The size in bytes, or None where there is no such object."""
        try:
            with translated(key):
                return self._client.head_object(Bucket=self.bucket, Key=key)["ContentLength"]
        except NotFound:
            return None

    def has(self, key: str) -> bool:
        """Asked once, and not for long: within a transaction."""
        try:
            with translated(key):
                self._probe.head_object(Bucket=self.bucket, Key=key)
        except NotFound:
            return False
        return True

    def get(self, key: str, *, first: int | None = None, last: int | None = None) -> Iterator[bytes]:
        """The object's bytes, in chunks of at most 1 MiB; `first` and `last` are inclusive offsets.

        The request is made here, before the first chunk is asked for, so that NotFound and Unavailable come at once.
        """
        wanted = {"Range": f"bytes={first or 0}-{'' if last is None else last}"} if first or last is not None else {}
        with translated(key):
            body = self._client.get_object(Bucket=self.bucket, Key=key, **wanted)["Body"]  # type: ignore[arg-type]

        def chunks() -> Iterator[bytes]:
            with translated(key), body:
                yield from body.iter_chunks(READ_BYTES)

        return chunks()

    def read(self, key: str) -> bytes:
        """A small object, whole."""
        return b"".join(self.get(key))

    def download(
        self,
        key: str,
        path: Path,
        *,
        sha256: str | None = None,
        bytes: int | None = None,
        progress: Progress | None = None,
    ) -> Stored:
        """Into `path`, which appears only when all of it is there and right; ManifestMismatch otherwise."""
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.{threading.get_ident()}.part")
        digest = hashlib.sha256()
        total = 0
        try:
            with partial.open("wb") as stream:
                for chunk in self.get(key):
                    stream.write(chunk)
                    digest.update(chunk)
                    total += len(chunk)
                    if progress:
                        progress(len(chunk))
            if bytes is not None and total != bytes:
                raise ManifestMismatch(f"{key} has {total} bytes, expected {bytes}.")
            if sha256 is not None and digest.hexdigest() != sha256:
                raise ManifestMismatch(f"{key} does not have the expected sha256 {sha256}.")
            rename(partial, path)
        finally:
            partial.unlink(missing_ok=True)
        return Stored(total, digest.hexdigest())

    def presign_get(self, key: str, *, seconds: int = PRESIGNED_SECONDS, filename: str | None = None) -> str:
        """A URL under the public endpoint that gives the object to whoever holds it; made without a request."""
        parameters = {"Bucket": self.bucket, "Key": key}
        if filename is not None:
            parameters["ResponseContentDisposition"] = f"attachment; filename*=UTF-8''{quote(filename, safe='')}"
        return self._presigner.generate_presigned_url("get_object", Params=parameters, ExpiresIn=seconds)

    def list(self, prefix: str) -> Iterator[Listed]:
        """In the order of the keys."""
        with translated(prefix):
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix):
                for each in page.get("Contents", []):
                    yield Listed(each["Key"], each["Size"])

    @durable
    def delete(self, *keys: str) -> None:
        """Also of objects that are gone already."""
        for start in range(0, len(keys), DELETE_BATCH):
            batch = [{"Key": key} for key in keys[start : start + DELETE_BATCH]]
            with translated(keys[start]):
                answer = self._client.delete_objects(
                    Bucket=self.bucket,
                    Delete={"Objects": batch, "Quiet": True},  # type: ignore[typeddict-item]
                )
            if errors := answer.get("Errors"):
                raise Unavailable(f"The store did not delete {errors[0].get('Key')}: {errors[0].get('Message')}.")

    @durable
    def delete_prefix(self, prefix: str) -> int:
        """Everything below `prefix`, which ends with a slash; returns how many objects there were."""
        if not prefix.endswith("/") or prefix == "/":
            raise ValueError(f"not a folder: {prefix!r}")
        keys = [each.key for each in self.list(prefix)]
        self.delete(*keys)
        return len(keys)

    @durable
    def upload_folder(
        self, folder: Path, manifest: Manifest, prefix: str, *, links: bool = False, progress: Progress | None = None
    ) -> None:
        """Every file of `manifest`, and a HEAD of each: ManifestMismatch if one is not stored as the manifest says.
        So many files at once as AT_ONCE, each a part in memory; `progress` is called from their threads. `links`: those
        in the folder are ours, and followed.
        """

        def send(entry: FileEntry) -> None:
            with (folder / entry.path).open("rb") if links else open_entry(folder, entry) as stream:
                stored = self.put_stream(prefix + entry.path, read_parts(stream), progress=progress)
            if (stored.bytes, stored.sha256) != (entry.bytes, entry.sha256):
                raise ManifestMismatch(f"{entry.path} changed while it was uploaded.")
            if (size := self.head(prefix + entry.path)) != entry.bytes:
                raise ManifestMismatch(f"{prefix}{entry.path} has {size} bytes in the store, expected {entry.bytes}.")

        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="upload") as pool:
            list(pool.map(send, manifest.files))  # the first error is raised here, and takes back what has not begun

    def download_folder(
        self, manifest: Manifest, prefix: str, folder: Path, *, progress: Progress | None = None
    ) -> None:
        """Every file of `manifest` below `folder`, each verified."""
        for entry in manifest.files:
            path = folder / entry.path
            self.download(prefix + entry.path, path, sha256=entry.sha256, bytes=entry.bytes, progress=progress)
