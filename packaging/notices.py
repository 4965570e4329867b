#!/usr/bin/env python3
"""Prints the licences of everything that is compiled into fanfare, each text once.

    cargo metadata --format-version 1 --locked --filter-platform TARGET | ./notices.py

Most of them want their notice to go with the program. Exit code: 1 if a crate has no licence at all.
"""
import json
import pathlib
import sys

NAMES = ("licen", "copying", "notice", "unlicense")


def main():
    metadata = json.load(sys.stdin)
    # By the words alone: many differ only in how lines are broken.
    texts = {}
    without_text = []
    for package in compiled_in(metadata):
        name = f"{package['name']} {package['version']}"
        if not package["license"] and not package["license_file"]:
            sys.exit(f"notices.py: {name} has no licence")
        files = licence_files(pathlib.Path(package["manifest_path"]).parent)
        if not files:
            without_text.append(f"{name}: {package['license']}, {', '.join(package['authors']) or 'no author named'}")
        for file in files:
            text = file.read_text(errors="replace").replace("\r\n", "\n").strip("\n")
            texts.setdefault(" ".join(text.split()).lower(), (text, set()))[1].add(name)
    print("fanfare contains these works of others. Where one has several licences, they are alternatives,")
    print("unless its own text says otherwise.\n")
    if without_text:
        print("These come without a text of their licence, which is one of those below:\n")
        print("\n".join(f"  {line}" for line in without_text), "\n")
    for names, text in sorted((sorted(names), text) for text, names in texts.values()):
        print("=" * 80)
        print(", ".join(names), "\n")
        print(text, "\n")


def compiled_in(metadata):
    """The crates that fanfare links, by name: its dependencies and theirs, without those of tests and build scripts."""
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    own = set(metadata["workspace_members"])
    waiting = [id for id in own if packages[id]["name"] == "fanfare"]
    seen = set(waiting)
    while waiting:
        for dependency in nodes[waiting.pop()]["deps"]:
            is_linked = any(kind["kind"] is None for kind in dependency["dep_kinds"])
            if is_linked and dependency["pkg"] not in seen:
                seen.add(dependency["pkg"])
                waiting.append(dependency["pkg"])
    linked = (packages[id] for id in seen - own)
    return sorted(linked, key=lambda package: (package["name"], package["version"]))


def licence_files(folder):
    """Texts of licences in a crate's folder, and in those of the C code that it brings."""
    files = (file for file in folder.rglob("*") if file.is_file() and file.name.lower().startswith(NAMES))
    source = {".rs", ".c", ".h", ".py", ".go", ".toml", ".json"}
    return sorted(file for file in files if file.suffix not in source)


if __name__ == "__main__":
    main()
