"""`palate check FILE`"""

import argparse

from cli import check


def run(arguments: argparse.Namespace) -> int:
    return check.run(
        arguments.file,
        arguments.json,
        html=arguments.html,
        validation=arguments.validation,
        format=arguments.format,
        mapping=arguments.mapping,
        on_error=arguments.on_error,
        max_bad_fraction=arguments.max_bad_fraction,
    )
