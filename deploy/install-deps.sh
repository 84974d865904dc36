#!/bin/sh
# Installs what is missing from Debian, and says first what that is. `make deps` calls it.
#
#   install-deps.sh [-n] SET...     SET: build, demo, demo-relay, test, deb, lint; -n only lists what is missing
#
# Quick when nothing is missing: neither apt nor sudo is called then. No daemon is started, and no default cluster of
# Postgres is made: build, demo and tests use private servers in temporary folders. Of the package prometheus, which is a
# server with a web page, only promtool is taken, to /usr/local/bin.
set -eu

# Packages of a set. A word "command:package" is satisfied by any program of that name, wherever it comes from. promtool is
# no package: see unpack_promtool.
packages_of() {
    case $1 in
    build) echo gcc libc6-dev make pkg-config libpq-dev librdkafka-dev libevent-dev libjansson-dev libyaml-dev ;;
    demo) echo postgres:postgresql-15 java:default-jre-headless mvn:maven ca-certificates ;;
    demo-relay) echo postgres:postgresql-15 ;;
    test)
        echo libcmocka-dev g++:g++ postgres:postgresql-15 java:default-jre-headless mvn:maven ca-certificates kcat:kcat libfaketime \
            python3-psycopg python3-confluent-kafka promtool:promtool groff:groff-base valgrind:valgrind strace:strace zsh:zsh fish:fish \
            docker-compose:docker-compose python3-yaml python3-jsonschema systemd-analyze:systemd dpkg-shlibdeps:dpkg-dev
        ;;
    deb) echo dpkg-shlibdeps:dpkg-dev ;;
    lint) echo clang-format-14:clang-format-14 clang-tidy-14:clang-tidy-14 cppcheck:cppcheck shellcheck:shellcheck ;;
    *) return 1 ;;
    esac
}

has_command() {
    if [ "$1" = postgres ]; then # not in the PATH on Debian; any version from 13 on serves
        for p in /usr/lib/postgresql/*/bin/postgres; do
            [ -x "$p" ] && return 0
        done
    fi
    command -v "$1" >/dev/null 2>&1
}

is_installed() {
    # shellcheck disable=SC2016 # the format is dpkg-query's, not the shell's
    case $(dpkg-query -W -f=' ${db:Status-Status} ' "$1" 2>/dev/null) in
    *" installed "*) return 0 ;; # of any architecture
    *) return 1 ;;
    esac
}

# Prints the packages of the sets that are missing.
missing_of() {
    for set in "$@"; do
        for word in $(packages_of "$set"); do
            case $word in
            *:*) has_command "${word%%:*}" || is_installed "${word##*:}" || echo "${word##*:}" ;;
            *) is_installed "$word" || echo "$word" ;;
            esac
        done
    done | sort -u | tr '\n' ' '
}

# ---- the part that runs as root -----------------------------------------------------------------------------------

POLICY=/usr/sbin/policy-rc.d
CLUSTER=/etc/postgresql-common/createcluster.conf
CLUSTER_TEMPLATE=/usr/share/postgresql-common/createcluster.conf
our_policy=
our_cluster=
our_unpacked=
with_promtool=

# Debian's packages start their daemons unless policy-rc.d says 101. One that is there already stays.
forbid_daemons() {
    [ -e "$POLICY" ] && return 0
    our_policy=1
    printf '#!/bin/sh\nexit 101\n' >"$POLICY"
    chmod 755 "$POLICY"
}

# Postgres' package makes a cluster that would start at the next boot, unless this file says no.
forbid_default_cluster() {
    case " $* " in
    *" postgresql"*) ;;
    *) return 0 ;;
    esac
    mkdir -p "${CLUSTER%/*}"
    our_cluster=1
    if [ -e "$CLUSTER" ]; then cp -p "$CLUSTER" "$CLUSTER.outboxd"; fi
    echo 'create_main_cluster = false' >"$CLUSTER"
}

# Both files are as they were, or as the package would have made them, however apt ends.
restore_files() {
    [ -z "$our_unpacked" ] || rm -rf "$our_unpacked"
    if [ -n "$our_policy" ]; then rm -f "$POLICY"; fi
    if [ -n "$our_cluster" ]; then
        rm -f "$CLUSTER.ucf-dist"
        if [ -e "$CLUSTER.outboxd" ]; then
            mv "$CLUSTER.outboxd" "$CLUSTER"
        elif [ -e "$CLUSTER_TEMPLATE" ]; then
            cp "$CLUSTER_TEMPLATE" "$CLUSTER"
        else
            rm -f "$CLUSTER"
        fi
    fi
}

# Takes promtool out of its package without installing that; it needs nothing but libc.
unpack_promtool() {
    our_unpacked=$(mktemp -d)
    if ! (cd "$our_unpacked" && apt-get download -q -o APT::Sandbox::User=root prometheus); then
        echo "install-deps: promtool cannot be had: Debian's archive does not give the package prometheus (no network?)" >&2
        return 69
    fi
    dpkg-deb -x "$our_unpacked"/prometheus_*.deb "$our_unpacked/root"
    install -D -m 755 "$our_unpacked/root/usr/bin/promtool" /usr/local/bin/promtool
}

install_as_root() {
    export DEBIAN_FRONTEND=noninteractive UCF_FORCE_CONFFOLD=1
    trap restore_files EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    for package in "$@"; do # a for loop walks over the words as they were
        shift
        if [ "$package" = promtool ]; then with_promtool=1; else set -- "$@" "$package"; fi
    done
    apt-get update -q || echo "install-deps: going on with the package lists that are here"
    if [ $# -gt 0 ]; then
        forbid_daemons
        forbid_default_cluster "$@"
        apt-get install -q -y --no-install-recommends "$@"
    fi
    [ -z "$with_promtool" ] || unpack_promtool
}

# ---- main ---------------------------------------------------------------------------------------------------------

list_only=
case ${1:-} in
--as-root)
    shift
    install_as_root "$@"
    exit 0
    ;;
-n)
    list_only=1
    shift
    ;;
esac
[ $# -gt 0 ] || set -- build demo test
for set in "$@"; do
    if ! packages_of "$set" >/dev/null; then
        echo "install-deps: unknown set '$set'; known are build, demo, demo-relay, test, deb, lint" >&2
        exit 64
    fi
done

if ! command -v dpkg-query >/dev/null 2>&1; then
    wanted=$(for set in "$@"; do packages_of "$set"; done | tr ' ' '\n' | sed 's/.*://' | sort -u | tr '\n' ' ')
    echo "install-deps: this is not Debian; going on. What Debian calls these has to be there: $wanted"
    exit 0
fi

missing=$(missing_of "$@")
if [ -z "$missing" ]; then
    exit 0
fi
echo "install-deps: missing here: $missing"
[ -z "$list_only" ] || exit 0

if [ "$(id -u)" = 0 ]; then
    as_root=
elif command -v sudo >/dev/null 2>&1; then
    as_root=sudo
else
    echo "install-deps: neither root nor sudo here. As root, run:" >&2
    echo "  sh $0 $*" >&2
    exit 69
fi
# shellcheck disable=SC2086 # the words are meant to split
exec $as_root sh "$0" --as-root $missing
