"""What each address answers with has every field that docs/openapi.yaml names for it, of its type, and no other.

schemathesis lets a response have more fields than its schema.
"""

import json
import sys
import urllib.request

import jsonschema_rs
import yaml


def main(document: str, base: str, stream: str) -> None:
    with open(document, encoding="utf-8") as file:
        openapi = yaml.safe_load(file)
    checked = 0
    for path, methods in openapi["paths"].items():
        content = methods.get("get", {}).get("responses", {}).get("200", {}).get("content", {})
        if "application/json" not in content:
            continue
        with urllib.request.urlopen(base + path.replace("{name}", stream), timeout=20) as response:
            answer = json.load(response)
        schema = {**content["application/json"]["schema"], "components": openapi["components"]}
        for error in jsonschema_rs.validator_for(schema).iter_errors(answer):
            sys.exit(f"{path}: {error.message} at {'/'.join(map(str, error.instance_path))} in {answer}")
        checked += 1
    print(f"{checked} addresses answer as the document says")


main(*sys.argv[1:])
