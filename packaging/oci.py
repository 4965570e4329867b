#!/usr/bin/env python3
"""Writes an OCI image from a folder, as one archive that Podman, skopeo and Docker load. Needs no daemon and no root.

    oci.py FOLDER ARCHIVE --name fanfare:0.1.0 --config CONFIG.json --owned var/lib/fanfare=65532

The image has one layer, the folder. Everything in it belongs to root, except the folders named by --owned. The same
folder, configuration and SOURCE_DATE_EPOCH give the same bytes.
"""
import argparse
import datetime
import gzip
import hashlib
import io
import json
import os
import pathlib
import tarfile

LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
CONFIG = "application/vnd.oci.image.config.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"

TIME = int(os.environ["SOURCE_DATE_EPOCH"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("archive", type=pathlib.Path)
    parser.add_argument("--name", required=True, metavar="NAME:TAG")
    parser.add_argument("--architecture", required=True, help="as Go names it: amd64, arm64")
    parser.add_argument("--config", type=pathlib.Path, required=True, help="JSON with what a container starts with")
    parser.add_argument("--owned", action="append", default=[], metavar="FOLDER=UID")
    arguments = parser.parse_args()
    owners = {folder: int(uid) for folder, uid in (it.split("=") for it in arguments.owned)}

    layer = layer_of(arguments.folder, owners)
    packed = gzip.compress(layer, 9, mtime=0)
    created = datetime.datetime.fromtimestamp(TIME, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    config = json.loads(arguments.config.read_text())
    config.setdefault("Labels", {})["org.opencontainers.image.created"] = created
    config = as_json({
        "created": created,
        "architecture": arguments.architecture,
        "os": "linux",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [digest(layer)]},
        "history": [{"created": created, "created_by": "packaging/oci.sh"}],
    })
    manifest = as_json({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor(CONFIG, config),
        "layers": [descriptor(LAYER, packed)],
    })
    tag = arguments.name.rpartition(":")[2]
    names = {"org.opencontainers.image.ref.name": tag, "io.containerd.image.name": f"docker.io/library/{arguments.name}"}
    index = as_json({
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": [{**descriptor(MANIFEST, manifest), "annotations": names}],
    })
    files = {blob(content): content for content in (packed, config, manifest)}
    files["oci-layout"] = as_json({"imageLayoutVersion": "1.0.0"})
    files["index.json"] = index
    # The same image as `docker load` of versions before 25 wants it.
    files["manifest.json"] = as_json(
        [{"Config": blob(config), "RepoTags": [arguments.name], "Layers": [blob(packed)]}]
    )
    arguments.archive.write_bytes(archive_of(files))


def layer_of(folder, owners):
    """A tar of the folder, in order of the names."""
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder).as_posix()
            entry = tar.gettarinfo(path, name)
            entry.uid = entry.gid = owners.get(name, 0)
            entry.uname = entry.gname = ""
            entry.mtime = TIME
            with open(path, "rb") if entry.isreg() else io.BytesIO() as content:
                tar.addfile(entry, content)
    return output.getvalue()


def archive_of(files):
    """A tar of these files and of the folders that they are in."""
    output = io.BytesIO()
    folders = {parent.as_posix() for name in files for parent in pathlib.PurePosixPath(name).parents} - {"."}
    with tarfile.open(fileobj=output, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name in sorted(folders | set(files)):
            entry = tarfile.TarInfo(name)
            entry.mtime = TIME
            entry.mode = 0o755 if name in folders else 0o644
            entry.type = tarfile.DIRTYPE if name in folders else tarfile.REGTYPE
            entry.size = len(files.get(name, b""))
            tar.addfile(entry, io.BytesIO(files.get(name, b"")))
    return output.getvalue()


def descriptor(media_type, content):
    return {"mediaType": media_type, "digest": digest(content), "size": len(content)}


def digest(content):
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def blob(content):
    return f"blobs/sha256/{hashlib.sha256(content).hexdigest()}"


def as_json(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


if __name__ == "__main__":
    main()
