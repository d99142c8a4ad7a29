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
        raw_text=arguments.raw_text,
        on_error=arguments.on_error,
        max_bad_fraction=arguments.max_bad_fraction,
    )
