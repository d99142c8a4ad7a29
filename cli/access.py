"""`palate migrate | projects | keys`: the operator's own commands, on the database."""

import argparse
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cli import place

if TYPE_CHECKING:
    from core.db.tables import Key, Project

LIMITS = ("max_running", "max_queued")


def migrate(arguments: argparse.Namespace) -> int:
    from core.db.engine import unavailable_as_such
    from core.db.migrate import head, upgrade

    with unavailable_as_such():
        upgrade(place.owner_url(arguments.home))
    print(f"The schema is at revision {head()}.")
    return 0


def create_project(arguments: argparse.Namespace) -> int:
    from core.db import projects

    with place.session(arguments.home) as session:
        project = projects.ensure(session, arguments.name)
        print(f"{project.id}  {project.name}")
    return 0


def list_projects(arguments: argparse.Namespace) -> int:
    from core.db import projects

    with place.session(arguments.home) as session:
        after, more = None, True
        while more:
            rows, more = projects.page(session, after)
            for row in rows:
                after = row.id
                print(f"{row.id}  {row.name}  {row.created_at:%Y-%m-%d}  {limits_of(row)}".rstrip())
    return 0


def limit_project(arguments: argparse.Namespace) -> int:
    from core.db import projects

    given = {which: getattr(arguments, which) for which in LIMITS if getattr(arguments, which) is not None}
    with place.session(arguments.home) as session:
        project = projects.limit(session, arguments.name, **{which: most or None for which, most in given.items()})
        print(f"{project.id}  {project.name}  {limits_of(project) or 'no limits'}")
    return 0


def limits_of(project: "Project") -> str:
    return "  ".join(f"{which} {most}" for which in LIMITS if (most := getattr(project, which)) is not None)


def create_key(arguments: argparse.Namespace) -> int:
    """The token goes to stdout alone, so that a script can take it."""
    from core.db import keys, projects

    with place.session(arguments.home) as session:
        project = projects.by_name(session, arguments.project)
        token = keys.create(session, project.id, arguments.name, arguments.expires)[1]
    print(token)
    return 0


def list_keys(arguments: argparse.Namespace) -> int:
    from core.db import keys, projects

    with place.session(arguments.home) as session:
        project_id = projects.by_name(session, arguments.project).id if arguments.project else None
        after, more = None, True
        while more:
            rows, more = keys.page(session, project_id, after)
            for row in rows:
                after = row.id
                print(
                    f"{row.id}  {row.project_id}  {row.created_at:%Y-%m-%d}  {state_of(row)}  {row.name or ''}".rstrip()
                )
    return 0


def state_of(key: "Key") -> str:
    """Whether it is good and for how long, and when it was last used, to a minute; in UTC."""
    state = "good"
    if key.revoked_at:
        state = f"revoked {key.revoked_at.astimezone(UTC):%Y-%m-%d}"
    elif key.expires_at:
        passed = key.expires_at <= datetime.now(UTC)
        state = f"{'expired' if passed else 'expires'} {key.expires_at.astimezone(UTC):%Y-%m-%d %H:%M}"
    return f"{state}  {f'used {key.last_used_at.astimezone(UTC):%Y-%m-%d %H:%M}' if key.last_used_at else 'never used'}"


def revoke_key(arguments: argparse.Namespace) -> int:
    """By its id; of a whole key that is given nothing but the id is said again."""
    from core.db import keys

    key_id = arguments.id.removeprefix("plt_").partition("_")[0][: keys.ID_LENGTH]
    with place.session(arguments.home) as session:
        keys.revoke(session, key_id)
    print(f"The key {key_id} is refused within 5 seconds.")
    return 0
