"""A boto client with every wait bounded, and credentials of its own where it is given some."""

from typing import TYPE_CHECKING, Literal

import boto3
from botocore.client import Config

from core.objects.bare_session import bare_session

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

Style = Literal["path", "auto"]


def make_client(
    url: str | None,
    style: Style,
    *,
    access_key: str | None,
    secret_key: str | None,
    region: str,
    connect_seconds: float,
    read_seconds: float,
    attempts: int,
    connections: int,
) -> "S3Client":
    session = boto3.session.Session(
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        region_name=region,
        botocore_session=bare_session(),
    )
    return session.client(
        "s3",
        endpoint_url=url,
        config=Config(
            signature_version="s3v4",
            connect_timeout=connect_seconds,
            read_timeout=read_seconds,
            retries={"mode": "standard", "total_max_attempts": attempts},
            max_pool_connections=connections,
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={"addressing_style": style},
        ),
    )
