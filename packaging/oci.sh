#!/usr/bin/env bash
# Makes fanfare-VERSION-oci-ARCH.tar in target/packages: an image with nothing in it but the static program, the
# certificate authorities of Mozilla and the default configuration. No daemon is needed.
#
#   packaging/oci.sh
#   podman load --input target/packages/fanfare-VERSION-oci-ARCH.tar     # or docker load
#
# Prints its path. Needs what packaging/static.sh needs.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/common.sh"
no_arguments "$@"

CERTIFI='certifi==2026.10.19.post1 \
    --hash=sha256:1324c476b4811eff41a8bc2122cd0bbd4d9c7234c725446d99ab1612b3a7fdd2'

# The certificate authorities, from PyPI.
authorities() {
    local folder=$root/target/tools/${CERTIFI%% *}
    if [[ ! -d $folder ]]; then
        say "downloading ${CERTIFI%% *} from PyPI"
        rm -rf "$folder.unfinished"
        PIP_ROOT_USER_ACTION=ignore python3 -m pip install --quiet --disable-pip-version-check --only-binary=:all: \
            --no-deps --target "$folder.unfinished" --requirement /dev/stdin <<<"$CERTIFI" >&2 \
            || fail "could not get ${CERTIFI%% *} from PyPI"
        mv "$folder.unfinished" "$folder"
    fi
    echo "$folder/certifi/cacert.pem"
}

release static
rm -rf "$out/image"
mkdir -p "$out/image"/{dev,proc,sys}
install -D -m 755 "$binary" "$out/image/usr/bin/fanfare"
install -D -m 644 "$root/fanfare.toml" "$out/image/etc/fanfare/fanfare.toml"
install -D -m 644 "$(authorities)" "$out/image/etc/ssl/certs/ca-certificates.crt"
install -D -m 644 -t "$out/image/usr/share/licenses/fanfare" "$root/LICENSE-MIT" "$root/LICENSE-APACHE"
third_party | gzip -9n >"$out/image/usr/share/licenses/fanfare/third-party.txt.gz"
notice_of_the_c_library >"$out/image/usr/share/licenses/fanfare/LICENSE-glibc"
install -d -m 700 "$out/image/var/lib/fanfare"
install -d -m 1777 "$out/image/tmp"
echo 'fanfare:x:65532:65532:fanfare:/var/lib/fanfare:/sbin/nologin' >"$out/image/etc/passwd"
echo 'fanfare:x:65532:' >"$out/image/etc/group"
echo 'hosts: files dns' >"$out/image/etc/nsswitch.conf"

cat >"$out/image.json" <<JSON
{
    "User": "65532:65532",
    "Entrypoint": ["/usr/bin/fanfare"],
    "Env": [
        "PATH=/usr/bin",
        "FANFARE_CONFIG=/etc/fanfare/fanfare.toml",
        "STATE_DIRECTORY=/var/lib/fanfare",
        "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt"
    ],
    "WorkingDir": "/var/lib/fanfare",
    "ExposedPorts": { "1935/tcp": {}, "8080/tcp": {} },
    "Volumes": { "/var/lib/fanfare": {} },
    "StopSignal": "SIGTERM",
    "Labels": {
        "org.opencontainers.image.title": "fanfare",
        "org.opencontainers.image.description": "A live RTMP relay",
        "org.opencontainers.image.version": "$version",
        "org.opencontainers.image.revision": "$(git -C "$root" rev-parse HEAD 2>/dev/null || echo unknown)",
        "org.opencontainers.image.licenses": "MIT OR Apache-2.0"
    }
}
JSON
case $machine in
    x86_64) architecture=amd64 ;;
    aarch64) architecture=arm64 ;;
    *) fail "no image for $machine" ;;
esac
archive=$out/fanfare-$version-oci-$architecture.tar
python3 "$here/oci.py" "$out/image" "$archive" --name "fanfare:$version" --architecture "$architecture" \
    --config "$out/image.json" --owned var/lib/fanfare=65532
echo "$archive"
