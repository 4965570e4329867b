#!/usr/bin/env bash
# Builds each package, installs or unpacks it where nothing else of fanfare is, and watches a stream through it.
#
#   packaging/test.sh [PART...]
#
# Parts: deb, systemd, rpm, static, image, manifests, crate; without any, all. As root, on Debian or Ubuntu: everything runs
# in namespaces of its own, fanfare is not installed on this machine. Two clean Debian systems are made for it by mmdebstrap and
# kept in target/packages/test; remove that folder to get them afresh. With FANFARE_NO_BUILD=1 it takes the packages that
# are there. Tools that are missing are installed by apt-get.
#
# Exit code: 0 if all checks passed, 1 if not; the last line counts them.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/common.sh"
# shellcheck source-path=SCRIPTDIR source=test_support.sh
source "$here/test_support.sh"
[[ ${1-} != -h && ${1-} != --help ]] || usage 0
((EUID == 0)) || fail 'this needs root: it installs packages in systems of their own'
# Mounts vanish with this script.
[[ -n ${FANFARE_OWN_MOUNTS-} ]] \
    || exec unshare --mount --propagation private env FANFARE_OWN_MOUNTS=1 "$(readlink -f "${BASH_SOURCE[0]}")" "$@"

export PYTHONDONTWRITEBYTECODE=1
trap 'clean_up' EXIT

main() {
    local parts=("$@") part
    ((${#parts[@]} > 0)) || parts=(deb systemd rpm static image manifests crate)
    for part in "${parts[@]}"; do
        [[ $(type -t "test_$part") == function ]] || fail "there is no part $part"
    done
    install_missing_tools
    mkdir -p "$kept"
    # Of cgroups, the second version alone, also on systems that still mix both: systemd and crun want that.
    umount --recursive /sys/fs/cgroup 2>/dev/null || true
    mount -t cgroup2 none /sys/fs/cgroup
    mkdir "/sys/fs/cgroup/fanfare-$$"

    for part in "${parts[@]}"; do
        printf '\n== %s (after %d s)\n' "$part" "$SECONDS"
        "test_$part"
        end_all
    done
    printf '\npackaging: %d checks passed, %d failed\n' "$passed" "$failed"
    ((failed == 0))
}

# Each tool, and the Debian package that provides it where it has another name.
TOOLS=(curl docker-compose dpkg-shlibdeps:dpkg-dev ffmpeg fish ip:iproute2 lintian man:man-db mandoc mmdebstrap objcopy:binutils
    pgrep:procps podman rpm runc shellcheck skopeo umoci zsh)

install_missing_tools() {
    local entry missing=()
    for entry in "${TOOLS[@]}"; do
        command -v "${entry%:*}" >/dev/null || missing+=("${entry#*:}")
    done
    python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
    ((${#missing[@]} > 0)) || return 0
    say "installing ${missing[*]}"
    apt-get update -qq || say 'apt-get update failed; trying with the existing package lists'
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null \
        || fail "could not install ${missing[*]}"
}

# ---- the parts

# The newest package of that name, built by its script. Sets package.
build() {
    if [[ -z ${FANFARE_NO_BUILD-} ]]; then
        "$here/$1.sh" >"$work/built" || fail "packaging/$1.sh failed"
        package=$(head -n 1 "$work/built")
    else
        package=$(compgen -G "$out/$2" | head -n 1)
    fi
    [[ -e $package ]] || fail "there is no $2"
}

test_deb() {
    build deb "fanfare_*.deb"
    local symbols=${package/fanfare_/fanfare-dbgsym_}
    # It is not in Debian, so no bug asks for it.
    check 'lintian finds nothing' is '' lintian --allow-root --suppress-tags initial-upload-closes-no-bugs \
        --fail-on error,warning "$package" "$symbols"
    check 'the program has no debug symbols' is '' sections_of_symbols "$package"

    new_network deb
    new_system plain
    cp "$package" "$system/root/fanfare.deb"
    cp "$symbols" "$system/root/fanfare-dbgsym.deb"
    check 'apt installs it where there is no systemd' in_system apt-get install --yes --no-install-recommends /root/fanfare.deb
    check 'there is a system user' prints '^fanfare:[^:]*:[0-9]{3}:[0-9]{3}:.*:/var/lib/fanfare:/usr/sbin/nologin$' \
        in_system getent passwd fanfare
    check 'the configuration may be read by its group' is 'root:fanfare 640' \
        in_system stat --format='%U:%G %a' /etc/fanfare/fanfare.toml
    check 'the unit is enabled' test -L "$system/etc/systemd/system/multi-user.target.wants/fanfare.service"
    check 'dpkg finds every file as it was packaged' is '' in_system dpkg --verify fanfare
    check 'the configuration is valid' prints '^# Valid' in_system fanfare check --config /etc/fanfare/fanfare.toml
    check 'the version names the commit' prints "^fanfare $version \(.*commit" in_system fanfare --version
    has_documents "$system/usr/share/doc/fanfare"

    # As the unit does, without systemd.
    install -d -m 700 "$system/var/lib/fanfare"
    in_system chown fanfare: /var/lib/fanfare
    start "$work/relay.log" in_system STATE_DIRECTORY=/var/lib/fanfare setpriv --reuid=fanfare --regid=fanfare \
        --clear-groups --no-new-privs --inh-caps=-all fanfare --config /etc/fanfare/fanfare.toml
    check 'it starts as its user' starts
    check 'a stream is published and watched' watched
    check 'the token is for its user alone' is 'fanfare:fanfare 600' in_system stat --format='%U:%G %a' /var/lib/fanfare/token
    end

    check 'apt installs the debug symbols' in_system apt-get install --yes /root/fanfare-dbgsym.deb
    check 'they are those of the program' symbols_fit "$system"
    check 'apt removes it' in_system apt-get remove --yes fanfare
    check 'removed, its configuration stays' test -e "$system/etc/fanfare/fanfare.toml"
    check 'apt purges it' in_system apt-get purge --yes fanfare
    check 'purged, nothing of it is left' is '' existing "$system/etc/fanfare" "$system/var/lib/fanfare" \
        "$system/usr/share/doc/fanfare" "$system/etc/systemd/system/multi-user.target.wants/fanfare.service"
}

sections_of_symbols() {
    dpkg-deb --fsys-tarfile "$1" | tar --extract --to-stdout ./usr/bin/fanfare >"$work/program"
    readelf --sections --wide "$work/program" | grep -o '\.debug_info\|\.symtab'
}

# The file with the build id of the program knows the line of one of its functions.
symbols_fit() {
    local id file address
    id=$(readelf --notes "$1/usr/bin/fanfare" | sed -n 's/^ *Build ID: //p')
    file=$1/usr/lib/debug/.build-id/${id:0:2}/${id:2}.debug
    address=$(nm "$file" | awk '/ [tT] .*7fanfare/ { print $1; exit }')
    prints '^/usr/src/fanfare/src/.*\.rs:[0-9]' addr2line --exe="$file" "$address"
}

has_documents() {
    local page
    check 'each command has its manual page' is '' missing_pages
    for page in "$system"/usr/share/man/man1/fanfare*.1.gz "$system/usr/share/man/man5/fanfare.toml.5.gz"; do
        check "mandoc reads ${page##*/}" mandoc -T lint -W error "$page"
        check "man shows ${page##*/}" is '' shown_by_man "$page"
    done
    check 'bash completes options' is '--config' completed_by_bash
    check 'zsh completes commands' prints '^check' completed_by_zsh
    check 'fish completes commands' prints '^check' completed_by_fish
    check 'the notices name the crates' prints '^tokio-uring ' gzip --decompress --stdout \
        "$(compgen -G "$system/usr/share/*/fanfare/third-party.txt.gz")"
}
shown_by_man() { MANWIDTH=100 man --warnings --encoding=UTF-8 --troff-device=utf8 --ditroff --local-file "$1" >"$work/page"; }
commands() { in_system fanfare --help | sed -n '/^Commands:/,/^$/s/^  \([a-z-]*\) .*/\1/p' | grep -v '^help$'; }
missing_pages() {
    local command
    [[ -e $system/usr/share/man/man1/fanfare.1.gz ]] || echo fanfare
    for command in $(commands); do [[ -e $system/usr/share/man/man1/fanfare-$command.1.gz ]] || echo "fanfare-$command"; done
}
completed_by_bash() {
    bash --norc -c 'source "$1"; COMP_WORDS=(fanfare --conf) COMP_CWORD=1; _fanfare fanfare --conf fanfare; echo "${COMPREPLY[@]}"' \
        - "$system/usr/share/bash-completion/completions/fanfare"
}
# Without a terminal there is no completion in zsh; the function is loaded, and says what it describes.
completed_by_zsh() {
    zsh -f -c 'fpath=($1 $fpath); autoload -Uz compinit; compinit -u -D; [[ ${_comps[fanfare]} == _fanfare ]] || exit 1
        _describe() { print -l ${(P)4}; }; source $1/_fanfare; _fanfare_commands' \
        - "$(dirname "$(compgen -G "$system/usr/share/zsh/*/_fanfare")")"
}
completed_by_fish() { fish --no-config --command "source $system/usr/share/fish/vendor_completions.d/fanfare.fish; complete --do-complete 'fanfare ch'"; }

test_systemd() {
    build deb "fanfare_*.deb"
    new_network systemd
    new_system systemd adduser,systemd,systemd-sysv,dbus,procps
    cp "$package" "$system/root/fanfare.deb"
    next_version "$package" "$system/root/next.deb"
    boot
    check 'apt installs it' booted apt-get install --yes --no-install-recommends /root/fanfare.deb
    check 'systemd finds nothing wrong with the unit' is '' booted systemd-analyze verify --man=no fanfare.service
    check 'the service runs' is active booted systemctl is-active fanfare
    check 'it is ready' within 10 is_ready
    check 'it runs as its user' is fanfare booted ps -o user= -p "$(main_pid)"
    check 'a stream is published and watched' watched
    check 'the token is for its user alone' is 'fanfare:fanfare 600' booted stat --format='%U:%G %a' /var/lib/private/fanfare/token
    check 'a reload succeeds' booted systemctl reload fanfare
    booted sed -i 's/^shutdown_timeout = .*/shutdown_timeout = "never"/' /etc/fanfare/fanfare.toml
    check 'a reload with a faulty file fails' not booted systemctl reload fanfare
    check 'and it runs on' is active booted systemctl is-active fanfare
    booted sed -i 's/^shutdown_timeout = .*/shutdown_timeout = "7s"/' /etc/fanfare/fanfare.toml
    booted chmod 600 /etc/fanfare/fanfare.toml
    booted chown fanfare: /etc/fanfare/fanfare.toml
    local before
    before=$(main_pid)
    check 'apt upgrades it' booted apt-get install --yes --no-install-recommends -o Dpkg::Options::=--force-confold /root/next.deb
    check 'the upgrade has restarted it' not is "$before" main_pid
    check 'it is ready again' within 10 is_ready
    check 'the edited configuration is in force' prints '^shutdown_timeout = "7s"' booted cat /etc/fanfare/fanfare.toml
    check 'with the modes that the administrator gave it' is 'fanfare:fanfare 600' booted stat --format='%U:%G %a' /etc/fanfare/fanfare.toml
    check 'apt removes it' booted apt-get remove --yes fanfare
    check 'removed, it does not run' not booted pgrep -x fanfare
    check 'removed, its state stays' booted test -e /var/lib/private/fanfare/token
    check 'apt installs it again' booted apt-get install --yes --no-install-recommends /root/fanfare.deb
    check 'and it runs' is active booted systemctl is-active fanfare
    check 'apt purges it' booted apt-get purge --yes fanfare
    check 'purged, nothing of it is left' is '' existing "$system/etc/fanfare" "$system/var/lib/fanfare" \
        "$system/var/lib/private/fanfare" "$system/etc/systemd/system/multi-user.target.wants/fanfare.service"
    check 'nor has any unit failed' is '' booted systemctl list-units --failed --plain --no-legend
    kill -KILL "$leader"
}
main_pid() { booted systemctl show --property=MainPID --value fanfare; }

# The same package as a version that follows it.
next_version() {
    dpkg-deb --raw-extract "$1" "$work/next"
    sed -i 's/^Version: .*/&.1/' "$work/next/DEBIAN/control"
    dpkg-deb --build --root-owner-group -Zgzip -z1 "$work/next" "$2" >/dev/null
}

test_rpm() {
    build rpm "fanfare-*.rpm"
    check 'rpm knows what it is' prints '^License *: MIT OR Apache-2.0$' rpm --query --info --package "$package"
    check 'its configuration is marked as such' is /etc/fanfare/fanfare.toml rpm --query --configfiles --package "$package"
    check 'and never replaced' prints '^/etc/fanfare/fanfare.toml 17$' \
        rpm --query --package "$package" --queryformat '[%{FILENAMES} %{FILEFLAGS}\n]'
    check 'it needs no more than the C library and its companions' is '' other_libraries
    new_network rpm
    new_system plain
    cp "$package" "$system/root/fanfare.rpm"
    mkdir -p "$system/var/lib/rpm"
    check 'rpm installs it, its scripts included' in_rpm --install --nodeps "$package"
    check 'there is a system user' prints '^fanfare:.*:/var/lib/fanfare:/sbin/nologin$' in_system getent passwd fanfare
    check 'rpm finds every file as it was packaged' in_rpm --verify --nodeps fanfare
    check 'the configuration may be read by its group' is 'root:fanfare 640' \
        in_system stat --format='%U:%G %a' /etc/fanfare/fanfare.toml
    check 'the configuration is valid' prints '^# Valid' in_system fanfare check --config /etc/fanfare/fanfare.toml
    has_documents
    start "$work/relay.log" in_system STATE_DIRECTORY=/tmp setpriv --reuid=fanfare --regid=fanfare --clear-groups fanfare \
        --config /etc/fanfare/fanfare.toml
    check 'it starts as its user' starts
    check 'a stream is published and watched' watched
    end
    echo '# edited' >>"$system/etc/fanfare/fanfare.toml"
    check 'rpm removes it' in_rpm --erase fanfare
    check 'and saves the edited configuration' test -e "$system/etc/fanfare/fanfare.toml.rpmsave"
    check 'and leaves nothing else' is '' existing "$system/usr/bin/fanfare" \
        "$system/usr/lib/systemd/system/fanfare.service" "$system/usr/share/doc/fanfare"
}
in_rpm() { rpm --root "$system" --dbpath /var/lib/rpm "$@"; }
other_libraries() {
    rpm --query --requires --package "$package" \
        | grep -vE '^(rpmlib|config|rtld)\(|^/bin/sh$|^(libc|libm|libgcc_s|ld-linux-[a-z0-9-]+)\.so'
}

test_static() {
    build static "fanfare-*-linux-*.tar.gz"
    new_network static
    system=$work/static
    mkdir -p "$system"/{proc,dev,etc/fanfare,state}
    tar --extract --gzip --file="$package" --directory="$system" --strip-components=1
    check 'it needs no library' prints 'statically linked' ldd "$system/fanfare"
    check 'it says its version' prints "^fanfare $version" "$system/fanfare" --version

    settings "$system/etc/fanfare" "$system/fanfare"
    cp "$system"/etc/fanfare/{hosts,resolv.conf} "$system/etc"
    chown 65532:65532 "$system/state"
    cat >"$work/alone" <<'ALONE'
mount --rbind /dev "$1/dev"
exec env -i PATH=/usr/sbin:/usr/bin STATE_DIRECTORY=/state chroot --userspec=65532:65532 "$1" \
    /fanfare --config /etc/fanfare/fanfare.toml
ALONE
    start "$work/relay.log" in_network unshare --mount --pid --fork --kill-child --mount-proc="$system/proc" \
        bash "$work/alone" "$system"
    does_everything "$system/state"
    end
}

test_image() {
    build oci "fanfare-*-oci-*.tar"
    new_network image
    local podman=(podman --root "$work/podman" --runroot "$work/podman-run" --storage-driver vfs --runtime runc
        --cgroup-manager cgroupfs --events-backend none)
    # No more than this machine gives; compose.yaml has what a relay wants.
    local options=(--network "ns:/run/netns/$network" --read-only --pids-limit -1 --log-driver k8s-file
        --ulimit "nofile=$(ulimit -Hn):$(ulimit -Hn)" --ulimit nproc=1000:1000
        --cap-drop ALL --security-opt no-new-privileges --volume "$work/image:/etc/fanfare:ro"
        --volume "$work/image/hosts:/etc/hosts:ro" --volume "$work/image/resolv.conf:/etc/resolv.conf:ro")
    check 'skopeo reads it as an OCI archive' prints "$version" skopeo inspect "oci-archive:$package"
    check 'skopeo reads it as docker save writes it' prints "$version" skopeo inspect "docker-archive:$package"
    check 'umoci unpacks it' unpacked_by_umoci
    check 'podman loads it' prints "fanfare:$version" "${podman[@]}" load --input "$package"

    settings "$work/image" "$out/static/fanfare"
    check 'what the default profile refuses is said' prints 'seccomp=seccomp.json' \
        "${podman[@]}" run --rm "${options[@]}" "fanfare:$version"
    check 'it starts' "${podman[@]}" run --detach --name relay --security-opt "seccomp=$here/seccomp.json" \
        --volume state:/var/lib/fanfare "${options[@]}" "fanfare:$version"
    does_everything "$("${podman[@]}" volume inspect state --format '{{ .Mountpoint }}')"
    check 'it cannot write into the image' prints 'Read-only file system' \
        "${podman[@]}" exec relay /usr/bin/fanfare man /usr/share/man
    check 'its health is asked as compose.yaml does' "${podman[@]}" exec relay /usr/bin/fanfare check --ready
    check 'fanfare capacity works' "${podman[@]}" exec relay /usr/bin/fanfare capacity --seconds 1
    check 'it stops when it is asked to' "${podman[@]}" stop --time 8 relay
    check 'with success' is 0 "${podman[@]}" wait relay
    "${podman[@]}" rm --force --all >/dev/null
}
unpacked_by_umoci() {
    mkdir "$work/layout"
    tar --extract --file="$package" --directory="$work/layout"
    umoci unpack --image "$work/layout:$version" "$work/bundle" && cmp "$work/bundle/rootfs/usr/bin/fanfare" "$out/static/fanfare" \
        && is '65532 700' stat --format='%u %a' "$work/bundle/rootfs/var/lib/fanfare" \
        && prints '"/usr/bin/fanfare"' cat "$work/bundle/config.json"
}

# A configuration with everything that reaches for the system, for /etc/fanfare: settings FOLDER PROGRAM.
settings() {
    mkdir -p "$1"
    "$2" dev-cert --out "$1" >/dev/null
    chmod a+r "$1"/*.pem
    cat >"$1/fanfare.toml" <<TOML
[listen]
rtmp = ["0.0.0.0:1935"]
http = ["0.0.0.0:8080"]
rtmps = ["0.0.0.0:1936"]
https = ["0.0.0.0:8443"]
[tls]
certificates = [{ certificate = "/etc/fanfare/cert.pem", key = "/etc/fanfare/key.pem" }]
[hooks]
on_publish = ["http://hook.in-hosts:8085/publish"]
on_play = ["http://hook.by-dns.example:8085/play"]
on_unpublish = ["http://hook.in-hosts:8085/unpublish"]
TOML
    echo '127.0.0.1 localhost hook.in-hosts' >"$1/hosts"
    echo 'nameserver 127.0.0.1' >"$1/resolv.conf"
    start "$work/service.log" in_network python3 "$here/test_service.py" "$work/hooks.log"
}

# Everything that such a relay does: does_everything STATE-FOLDER.
does_everything() {
    check 'it is ready' starts
    is_ready >/dev/null || return 0
    check 'a stream is published and watched' watched
    check 'and encrypted' watched rtmps://127.0.0.1:1936 https://127.0.0.1:8443
    check 'a hook was found by /etc/hosts' prints '^hook.in-hosts:8085/publish' cat "$work/hooks.log"
    check 'another one by DNS' prints '^hook.by-dns.example:8085/play' cat "$work/hooks.log"
    check 'what ended was notified' prints '^hook.in-hosts:8085/unpublish' cat "$work/hooks.log"
    check 'the token is for its user alone' is '65532 600' stat --format='%u %a' "$1/token"
    check 'it reads its configuration again' prints '"changed"' in_network curl -s --request POST \
        --header "Authorization: Bearer $(cat "$1/token")" http://127.0.0.1:8080/api/v1/reload
}

test_manifests() {
    local script
    for script in "$here"/*.sh; do check "shellcheck finds nothing in ${script##*/}" shellcheck --external-sources "$script"; done
    check 'compose.yaml is valid' compose_takes
    check 'kubernetes.yaml is valid for Kubernetes 1.25' kubernetes_takes 1.25
    check 'kubernetes.yaml is valid for Kubernetes 1.36' kubernetes_takes 1.36
}

# It reads the profile from the folder that it runs in.
compose_takes() { (cd "$here" && docker-compose --file compose.yaml config --quiet); }

# Kubernetes' own schemas, from PyPI, in an environment with what they need.
kubernetes_takes() {
    local folder=$root/target/tools/kubernetes-validate
    if [[ ! -x $folder/bin/kubernetes-validate ]]; then
        rm -rf "$folder"
        python3 -m venv "$folder" && "$folder/bin/pip" install --quiet --disable-pip-version-check kubernetes-validate==1.37.0
    fi
    "$folder/bin/kubernetes-validate" --strict --kubernetes-version "$1" "$here/kubernetes.yaml"
}

test_crate() {
    check 'the crates are packed without a warning, and fanfare can be installed from them' "$here/crate.sh" "$work/crate"
    check 'what was installed names the commit' prints "^fanfare $version \(commit " "$work/crate/bin/fanfare" --version
}

main "$@"
