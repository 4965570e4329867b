# Shared by the scripts in this folder. Sourced, not run.
# shellcheck shell=bash

here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
root=$(dirname "$here")
# Where packages and what they are made of go. Not target/release: the flags below would make cargo build that again.
out=$root/target/packages
machine=$(uname -m)
export version
version=$(sed -n '/^\[package\]/,/^version/s/^version = "\(.*\)"/\1/p' "$root/Cargo.toml")

say() { echo "${0##*/}: $*" >&2; }
fail() { say "$*"; exit 2; }
need() { command -v "$1" >/dev/null || fail "$1 is not installed${2:+: it is in the Debian package $2}"; }
usage() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"; exit "${1:-2}"; }
no_arguments() { (($# == 0)) || { [[ $1 != -h && $1 != --help ]] || usage 0; usage; }; }

# The commit, and whether files in git differ from it.
commit() {
    local hash changes
    hash=$(git -C "$root" rev-parse HEAD 2>/dev/null) || { echo 'unknown commit'; return; }
    changes=$(git -C "$root" status --porcelain --untracked-files=no)
    echo "commit ${hash:0:12}${changes:+, changed}"
}

# Two builds are the same, byte for byte: every time in a package is that of the commit (outside of git it is the one
# that is given, or 1 January 2026), and orders and modes depend on no setting of this machine.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$root" log -1 --format=%ct 2>/dev/null || echo 1767225600)}
BUILD_COMMIT=${BUILD_COMMIT:-$(commit)}
export SOURCE_DATE_EPOCH BUILD_COMMIT LC_ALL=C TZ=UTC
umask 022

# Builds fanfare as it is shipped, "dynamic" or "static". Sets binary, which has no debug symbols, and symbols, a file of
# these.
#
# The static one has the C library of GNU in it: tokio-uring does not build with musl. It finds names by itself, without
# loading a library, from glibc 2.34 on.
release() {
    local target=$machine-unknown-linux-gnu cargo_home=${CARGO_HOME:-$HOME/.cargo}
    local built=$out/build-$1/$target/release/fanfare
    # No path of this machine is in the program; debuggers find its symbols by a number made from its content.
    local flags=("--remap-path-prefix=$cargo_home=/cargo" "--remap-path-prefix=$root=/usr/src/fanfare"
        "-Clink-arg=-Wl,--build-id=sha1")
    [[ $1 == dynamic ]] || flags+=("-Ctarget-feature=+crt-static")
    say "building the $1 program"
    (
        cd "$root"
        IFS=$'\x1f'
        CARGO_ENCODED_RUSTFLAGS="${flags[*]}" CARGO_INCREMENTAL=0 \
            CFLAGS="-ffile-prefix-map=$cargo_home=/cargo" \
            cargo build --quiet --release --locked --package fanfare --bin fanfare \
            --target "$target" --target-dir "$out/build-$1"
    ) || fail "cargo could not build the $1 program"
    binary=$out/$1/fanfare symbols=$out/$1/fanfare.debug
    mkdir -p "$out/$1"
    objcopy --only-keep-debug --compress-debug-sections=zlib "$built" "$symbols"
    chmod 644 "$symbols"
    objcopy --strip-all --add-gnu-debuglink="$symbols" "$built" "$binary"
}

# Makes what packages have beside the program, from the program: manual pages, completions, notices. In share.
documents() {
    local share=$out/share page
    rm -rf "$share"
    mkdir -p "$share/man"
    "$binary" man "$share/man"
    "$binary" completions bash >"$share/fanfare.bash"
    "$binary" completions zsh >"$share/_fanfare"
    "$binary" completions fish >"$share/fanfare.fish"
    third_party >"$share/third-party.txt"
    cp "$root/CHANGELOG.md" "$share/changelog"
    for page in "$share/man"/*.[15] "$share/third-party.txt" "$share/changelog"; do gzip -9n "$page"; done
    set_times "$share"
}

# The licences of everything that is compiled in.
third_party() {
    (cd "$root" && cargo metadata --format-version 1 --locked --filter-platform "$machine-unknown-linux-gnu") \
        | python3 "$here/notices.py"
}

# What the licence of the C library wants to go with a program that contains it.
notice_of_the_c_library() {
    local text
    echo 'This program contains the GNU C Library, https://www.gnu.org/software/libc/, under the licence below.'
    echo "To link it with another version of that library, run packaging/static.sh in fanfare's source with it installed."
    echo
    for text in /usr/share/common-licenses/LGPL-2.1 /usr/share/licenses/glibc/COPYING.LIB; do
        if [[ -e $text ]]; then cat "$text"; return; fi
    done
    fail 'the text of the LGPL 2.1 is not on this system'
}

# Gives everything in these folders the time of the commit.
set_times() { find "$@" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +; }

# Installs a tool of this version from crates.io into target/tools, where ./test has its own. Prints its path.
crate() {
    local folder=$root/target/tools/$1-$2
    if [[ ! -x $folder/bin/$1 ]]; then
        say "building $1 $2"
        CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
            cargo install --quiet --locked --version "=$2" --root "$folder" "$1" >&2 || fail "could not build $1 $2"
    fi
    echo "$folder/bin/$1"
}
