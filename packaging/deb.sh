#!/usr/bin/env bash
# Makes fanfare_VERSION_ARCH.deb in target/packages, for Debian and Ubuntu, and a second package with its debug symbols.
#
#   packaging/deb.sh
#
# Prints the paths of both. The program in the first has no debug symbols; with fanfare-dbgsym installed, its backtraces
# name functions and lines. Needs Rust, a C compiler, binutils, dpkg-dev and Python.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/common.sh"
no_arguments "$@"
need dpkg-shlibdeps dpkg-dev

# Debian's name of a package of debug symbols, and the path where debuggers and backtraces look for them.
symbols_package() {
    local id folder=$out/dbgsym
    id=$(build_id "$binary")
    rm -rf "$folder"
    mkdir -p "$folder/DEBIAN" "$folder/usr/lib/debug/.build-id/${id:0:2}" "$folder/usr/share/doc/fanfare-dbgsym"
    cp "$symbols" "$folder/usr/lib/debug/.build-id/${id:0:2}/${id:2}.debug"
    cp "$here/debian/copyright" "$out/share/changelog.Debian.gz" "$folder/usr/share/doc/fanfare-dbgsym"
    cat >"$folder/DEBIAN/control" <<CONTROL
Package: fanfare-dbgsym
Version: $(dpkg-deb --field "$package" Version)
Architecture: $(dpkg-deb --field "$package" Architecture)
Maintainer: $(maintainer)
Installed-Size: $(du --summarize --block-size=1K --apparent-size "$folder/usr" | cut -f 1)
Depends: fanfare (= $(dpkg-deb --field "$package" Version))
Section: debug
Priority: optional
Build-Ids: $id
Description: debug symbols for fanfare
 With them, backtraces and debuggers name the functions and lines of fanfare.
CONTROL
    set_times "$folder"
    dpkg-deb --build --root-owner-group -Zxz "$folder" "${package/fanfare_/fanfare-dbgsym_}" >/dev/null
}

build_id() { readelf --notes "$1" | sed -n 's/^ *Build ID: //p'; }

# In Debian's form, for the tools that read it; what has changed is in changelog.gz.
debian_changelog() {
    cat <<CHANGELOG
fanfare ($version-1) unstable; urgency=medium

  * Version $version: see changelog.gz.

 -- $(maintainer)  $(date --utc --rfc-email --date="@$SOURCE_DATE_EPOCH")
CHANGELOG
}

maintainer() { sed -n 's/^maintainer = "\(.*\)"/\1/p' "$root/Cargo.toml"; }

release dynamic
documents
debian_changelog | gzip -9n >"$out/share/changelog.Debian.gz"
packager=$(crate cargo-deb 3.8.0)
package=$(cd "$root" && "$packager" --no-build --no-strip --quiet --output "$out/")
symbols_package
echo "$package"
echo "${package/fanfare_/fanfare-dbgsym_}"
