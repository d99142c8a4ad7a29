"""A session of boto with credentials of its own; the descriptions of S3 are parsed once a process, not once a Store."""

from functools import cache

import botocore.session
from botocore.loaders import Loader


@cache
def _loader() -> Loader:
    return Loader()


def bare_session() -> botocore.session.Session:
    session = botocore.session.Session()
    session.register_component("data_loader", _loader())
    return session
