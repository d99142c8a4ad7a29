"""The store's errors in our words."""

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

from core.contract.errors import NotFound, Unavailable

AWAY = "store_unavailable"
MISSING = {"404", "NoSuchKey", "NoSuchBucket", "NoSuchUpload", "NotFound"}


@contextmanager
def translated(key: str) -> Iterator[None]:
    """What is not there, and what is away."""
    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code in MISSING:
            raise NotFound(f"There is no object {key}.", code="object_not_found") from error
        raise Unavailable(f"The object store refused {key}: {code or error}.", code=AWAY) from error
    except (BotoCoreError, HTTPClientError, OSError) as error:
        raise Unavailable("The object store does not answer.", code=AWAY) from error
