"""`palate up`"""

import argparse

from local import up


def run(arguments: argparse.Namespace) -> int:
    return up.run(arguments.home, arguments.host, arguments.port)
