#!/bin/sh
# Installs the Debian packages into a Debian 12 of its own that boots with systemd, runs relays there beside a Postgres, goes
# through an upgrade, removes and purges them (try-inside.sh). Prints what it saw, and ends with 1 when something was wrong.
#
#   make deb && sudo deploy/deb/try.sh [ROOT]     ROOT: a bare Debian 12, of which a copy is taken; default: debootstrap
#
# It has a network of its own without a way out: what is installed is fetched before.
# Needs root, systemd-nspawn (package systemd-container), debootstrap unless ROOT is given, and Debian's archive.
# BUILD: where the packages and the tests' mock broker were built (build).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
build=${BUILD:-$here/../../build}
[ "$(id -u)" = 0 ] || { echo "try: must be root" >&2; exit 64; }

work=$(mktemp -d /var/tmp/outboxd-try.XXXXXX)
trap 'rm -rf --one-file-system "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

if [ $# -gt 0 ]; then
    cp -a --reflink=auto "$1" "$work/root"
else
    debootstrap --variant=minbase --include=systemd-sysv,ca-certificates,dbus bookworm "$work/root"
fi
mkdir "$work/root/try"
cp "$build"/deb/*.deb "$here/try-inside.sh" "$work/root/try/"
cp "$build/tests/tools/mock_broker" "$work/root/try/"
cp /etc/resolv.conf "$work/root/etc/resolv.conf"
cat >"$work/root/etc/systemd/system/try.service" <<'UNIT'
[Unit]
After=multi-user.target
[Service]
Type=oneshot
Environment=DEBIAN_FRONTEND=noninteractive
ExecStart=/bin/sh /try/try-inside.sh
ExecStopPost=/bin/systemctl --no-block poweroff
StandardOutput=append:/try/log
StandardError=inherit
[Install]
WantedBy=default.target
UNIT
mkdir -p "$work/root/etc/systemd/system/multi-user.target.wants"
ln -s ../try.service "$work/root/etc/systemd/system/multi-user.target.wants/try.service"

chroot "$work/root" apt-get update -q >"$work/console"
chroot "$work/root" sh -c 'apt-get install -q -y -d --no-install-recommends /try/*.deb postgresql' >>"$work/console"

: >"$work/root/try/log"
timeout 600 systemd-nspawn --quiet --private-network --register=no --keep-unit --resolv-conf=off --machine=outboxd-try -D "$work/root" --boot \
    </dev/null >>"$work/console" 2>&1 || true
cat "$work/root/try/log"
if grep -qx 'try: all as it should be' "$work/root/try/log"; then
    exit 0
fi
echo "try: FAILED; the console's last lines:" >&2
tail -n 15 "$work/console" >&2
exit 1
