"""`palate check FILE`"""

import argparse

from cli import check


def run(arguments: argparse.Namespace) -> int:
    return check.run(arguments.file, arguments.json)
