#!/usr/bin/env bash
# Builds every package twice, in two folders of different names from the same commit, and compares them byte for byte.
#
#   packaging/reproducible.sh
#
# Takes as long as four release builds, and 3 GB at a time in $TMPDIR. Exit code: 0 if all files are the same, 1 if not.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/common.sh"
no_arguments "$@"
unset SOURCE_DATE_EPOCH BUILD_COMMIT

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Prints the sums of the packages of a build in this folder.
build_in() {
    git clone --quiet --no-local "$root" "$1"
    mkdir -p "$1/target" "$root/target/tools"
    # Only the tools are shared.
    ln -s "$root/target/tools" "$1/target/tools"
    local script
    for script in deb rpm static oci; do "$1/packaging/$script.sh" >/dev/null; done
    (cd "$1/target/packages" && sha256sum fanfare*.deb fanfare*.rpm fanfare*.tar.gz fanfare*.tar)
    rm -rf "$1"
}

build_in "$work/first" | tee "$work/first.sums"
build_in "$work/in/another folder/second" >"$work/second.sums"
diff "$work/first.sums" "$work/second.sums" && echo 'Both builds are the same.'
