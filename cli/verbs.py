"""`palate pause | resume | cancel JOB`."""

import argparse

from cli.service import Service


def pause(arguments: argparse.Namespace) -> int:
    return ask(arguments, "pause")


def resume(arguments: argparse.Namespace) -> int:
    return ask(arguments, "resume")


def cancel(arguments: argparse.Namespace) -> int:
    return ask(arguments, "cancel")


def ask(arguments: argparse.Namespace, verb: str) -> int:
    with Service.of(arguments.home) as service:
        job = service.post(f"/fine_tuning/jobs/{arguments.job}/{verb}")
    print(f"{job['id']} {job['palate']['phase'] or job['status']}")
    return 0
