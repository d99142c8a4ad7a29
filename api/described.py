"""The description of the API as a page: every operation with its parameters, body and answers."""

import json
from html import escape
from typing import Any

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1a1a1a; }
h2 { margin-top: 2.5rem; border-bottom: 1px solid #ccc; } h3 { margin: 2rem 0 0; font: bold 1rem/1.5 monospace; }
code, pre { font-size: .9em; background: #f4f4f4; } pre { padding: .75rem; overflow-x: auto; }
table { border-collapse: collapse; } td, th { padding: .2rem 1rem .2rem 0; text-align: left; vertical-align: top; }
summary { cursor: pointer; }
"""
METHODS = ("get", "post", "put", "patch", "delete")


def page(schema: dict[str, Any]) -> str:
    info, groups = schema["info"], _by_tag(schema["paths"])
    parts = [
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(info["title"])}</title>',
        f"<style>{STYLE}</style><h1>{escape(info['title'])} {escape(info['version'])}</h1>",
        f"<p>{_text(info['description'])}</p>",
        "<p>Every route below <code>/v1</code> takes an API key: <code>Authorization: Bearer plt_…</code>. ",
        'The same for machines: <a href="/openapi.json">/openapi.json</a>.</p>',
    ]
    for tag, operations in groups.items():
        parts.append(f"<h2>{escape(tag)}</h2>")
        parts += [_operation(method, path, told) for method, path, told in operations]
    parts.append("<h2>Schemas</h2>")
    for name, told in sorted(schema["components"]["schemas"].items()):
        parts.append(
            f'<details id="{escape(name)}"><summary><code>{escape(name)}</code></summary>{_json(told)}</details>'
        )
    return "\n".join(parts) + "\n</html>\n"


def _by_tag(paths: dict[str, Any]) -> dict[str, list[tuple[str, str, dict[str, Any]]]]:
    groups: dict[str, list[tuple[str, str, dict[str, Any]]]] = {}
    for path, operations in paths.items():
        for method in METHODS:
            if method in operations:
                told = operations[method]
                groups.setdefault((told.get("tags") or ["other"])[0], []).append((method, path, told))
    return groups


def _operation(method: str, path: str, told: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(each['name'])}</code>"
        f"<td>{escape(each['in'])}{', required' if each.get('required') else ''}"
        f"<td>{_kind(each.get('schema', {}))}<td>{_text(each.get('description', ''))}"
        for each in told.get("parameters", [])
    )
    body = told.get("requestBody", {}).get("content", {})
    sent = "".join(f"<p>Body: <code>{escape(kind)}</code> {_kind(each['schema'])}" for kind, each in body.items())
    answers = "".join(
        f"<tr><td>{escape(status)}<td>{_text(each.get('description', ''))}<td>"
        + ", ".join(
            f"<code>{escape(kind)}</code> {_kind(of.get('schema', {}))}" for kind, of in each.get("content", {}).items()
        )
        for status, each in told.get("responses", {}).items()
    )
    return (
        f"<h3>{method.upper()} {escape(path)}</h3><p>{_text(told.get('description', ''))}</p>"
        + (f"<table><tr><th>parameter<th>in<th>type<th>{rows}</table>" if rows else "")
        + sent
        + f"<table><tr><th>answer<th><th>{answers}</table>"
    )


def _kind(schema: dict[str, Any]) -> str:
    """A name, a link to a schema, or what else it says of itself."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    for word in ("anyOf", "oneOf"):
        if word in schema:
            return " or ".join(_kind(each) for each in schema[word])
    if "enum" in schema:
        return " or ".join(f"<code>{escape(json.dumps(each))}</code>" for each in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    if "properties" in schema:
        return _json(schema)
    return escape(str(schema.get("type", "")))


def _json(schema: dict[str, Any]) -> str:
    return f"<pre>{escape(json.dumps(schema, indent=1, ensure_ascii=False))}</pre>"


def _text(words: str) -> str:
    """What stands between backquotes is code."""
    return "".join(
        f"<code>{escape(each)}</code>" if number % 2 else escape(each) for number, each in enumerate(words.split("`"))
    )
