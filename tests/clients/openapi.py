"""What the relay answers has exactly the fields that docs/openapi.yaml names, with their types.

schemathesis accepts a response with more fields than its schema, and reads no events.
"""

import json
import sys
import urllib.request

import jsonschema_rs
import yaml


def read(document):
    with open(document, encoding="utf-8") as file:
        return yaml.safe_load(file)


def get(address, headers):
    request = urllib.request.Request(address, headers=headers)
    with urllib.request.urlopen(request, timeout=20) as response:
        return json.load(response)


def check(openapi, schema, answer, where):
    schema = {**schema, "components": openapi["components"]}
    for error in jsonschema_rs.validator_for(schema, validate_formats=True).iter_errors(answer):
        sys.exit(f"{where}: {error.message} at {'/'.join(map(str, error.instance_path))} in {answer}")


def paths(document: str, base: str, stream: str, token: str) -> None:
    """Each path that returns JSON."""
    openapi = read(document)
    checked = 0
    for path, methods in openapi["paths"].items():
        content = methods.get("get", {}).get("responses", {}).get("200", {}).get("content", {})
        if "application/json" not in content:
            continue
        needs_token = {} not in methods["get"].get("security", openapi["security"])
        # As an operator, and, where that is possible, as a viewer.
        for headers in [{"Authorization": f"Bearer {token}"}, {}][:1 if needs_token else 2]:
            answer = get(base + path.replace("{name}", stream), headers)
            check(openapi, content["application/json"]["schema"], answer, path)
        checked += 1
    print(f"{checked} addresses respond as documented")


def events(document: str, base: str, token: str) -> None:
    """The past events, which are of every kind."""
    openapi = read(document)
    discriminator = openapi["components"]["schemas"]["Event"]["discriminator"]
    seen = set()
    for event in get(base + "/api/v1/events/past", {"Authorization": f"Bearer {token}"})["events"]:
        kind = event[discriminator["propertyName"]]
        check(openapi, {"$ref": discriminator["mapping"][kind]}, event, kind)
        check(openapi, {"$ref": "#/components/schemas/Event"}, event, kind)
        seen.add(kind)
    names = openapi["components"]["schemas"]["ServerSentEvent"]["properties"]["event"]["enum"]
    if not seen == set(discriminator["mapping"]) == set(names):
        sys.exit(f"{seen} happened, {set(discriminator['mapping'])} and {names} are documented")
    print(f"{len(seen)} kinds of events are as documented")


{"paths": paths, "events": events}[sys.argv[1]](*sys.argv[2:])
