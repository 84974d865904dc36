#!/bin/sh
# Debian packages of what `make install` put into a folder: outboxd, libinbox0 and libinbox-dev. `make deb` calls it.
#
#   build.sh ROOT VERSION OUT     ROOT: a DESTDIR with PREFIX=/usr and Debian's library folder; it is taken apart
#
# Only dpkg-deb and dpkg-shlibdeps (package dpkg-dev) are used: neither network, nor root, nor debhelper. The packages are
# the same byte for byte when the program is: times are those of the release in CHANGELOG.md, or SOURCE_DATE_EPOCH.
set -eu
root=$(cd "$1" && pwd)
version=$2
mkdir -p "$3"
out=$(cd "$3" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
arch=$(dpkg --print-architecture)
lib=usr/lib/$(dpkg-architecture -qDEB_HOST_MULTIARCH)
maintainer=${DEB_MAINTAINER:-outboxd maintainers <maintainers@outboxd.example>}
released=$(sed -n "s/^## \[$version\] - //p" "$here/../../CHANGELOG.md")
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(date -u -d "$released" +%s)}
export SOURCE_DATE_EPOCH
umask 022

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# take PACKAGE PATH...: what belongs to that package.
take() {
    package=$work/$1
    shift
    for path in "$@"; do
        mkdir -p "$package/${path%/*}"
        mv "$root/$path" "$package/${path%/*}/"
    done
}

# The packages of the libraries that these files need, as Depends has them.
needed_by() {
    mkdir -p "$work/debian"
    printf 'Source: outboxd\n\nPackage: outboxd\nArchitecture: any\n' >"$work/debian/control"
    (cd "$work" && dpkg-shlibdeps -O "$@") | sed -n 's/^shlibs:Depends=//p'
}

copyright() {
    echo 'Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/'
    echo 'Upstream-Name: outboxd'
    echo
    echo 'Files: *'
    echo "Copyright: 2026, the authors of outboxd"
    echo 'License: Apache-2.0'
    echo ' On Debian systems, the whole text of the licence is in /usr/share/common-licenses/Apache-2.0.'
}

changelog() {
    echo "outboxd ($version) unstable; urgency=medium"
    echo
    echo '  * CHANGELOG.md in the documentation of the package outboxd tells what is new.'
    echo
    echo " -- $maintainer  $(date -u -R -d "@$SOURCE_DATE_EPOCH")"
}

# documents PACKAGE: what policy asks of every package, and manuals compressed.
documents() {
    doc=$work/$1/usr/share/doc/$1
    mkdir -p "$doc"
    copyright >"$doc/copyright"
    changelog | gzip -9n >"$doc/changelog.gz"
    find "$work/$1/usr/share/man" -type f -exec gzip -9n {} + 2>/dev/null || true
}

# pack PACKAGE SECTION DEPENDS DESCRIPTION [FIELD...]: each further argument is a line of the control file.
pack() {
    package=$work/$1 name=$1 section=$2 depends=$3 description=$4
    shift 4
    documents "$name"
    mkdir -p "$package/DEBIAN"
    {
        echo "Package: $name"
        echo "Source: outboxd"
        echo "Version: $version"
        echo "Architecture: $arch"
        echo "Maintainer: $maintainer"
        echo "Installed-Size: $(du -ks --apparent-size --exclude=DEBIAN "$package" | cut -f 1)"
        echo "Depends: $depends"
        for field in "$@"; do echo "$field"; done
        echo "Section: $section"
        echo "Priority: optional"
        echo "Description: $description"
    } >"$package/DEBIAN/control"
    (cd "$package" && find usr -type f -print0 | sort -z | xargs -0 md5sum) >"$package/DEBIAN/md5sums"
    find "$package" -newermt "@$SOURCE_DATE_EPOCH" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
    dpkg-deb --root-owner-group --build "$package" "$out/${name}_${version}_$arch.deb"
}

rm -f "$out"/*.deb

# ---- the consumer's library ----
take libinbox0 "$lib/libinbox.so.0"
strip --strip-unneeded "$work/libinbox0/$lib/libinbox.so.0"
chmod 644 "$work/libinbox0/$lib/libinbox.so.0"
mkdir -p "$work/libinbox0/DEBIAN"
echo "libinbox 0 libinbox0 (>= $version)" >"$work/libinbox0/DEBIAN/shlibs"
echo 'activate-noawait ldconfig' >"$work/libinbox0/DEBIAN/triggers"
pack libinbox0 libs "$(needed_by "$work/libinbox0/$lib/libinbox.so.0")" \
    'each event of a Kafka topic takes effect once in PostgreSQL
 A consumer that claims the id of an event in the transaction of its own writes
 applies it once, however often it is delivered. This library runs the whole
 loop: batches, retries, a dead-letter topic, rebalances, lost connections.' \
    'Multi-Arch: same'

take libinbox-dev usr/include/inbox.h "$lib/libinbox.so" "$lib/libinbox.a" "$lib/pkgconfig/inbox.pc" usr/share/man/man3/inbox.3
strip --strip-debug --enable-deterministic-archives "$work/libinbox-dev/$lib/libinbox.a"
pack libinbox-dev libdevel "libinbox0 (= $version), libpq-dev, librdkafka-dev" \
    'each event of a Kafka topic takes effect once in PostgreSQL (development)
 Header, static library and manual of libinbox, for consumers written in C.' \
    'Multi-Arch: same'

# ---- the program: everything else ----
rmdir "$root/$lib/pkgconfig" "$root/$lib" "$root/usr/include" "$root/usr/share/man/man3"
rm "$root/usr/share/doc/outboxd/LICENSE" # copyright says where Debian has it
mkdir -p "$work/outboxd/DEBIAN"
mv "$root/usr" "$work/outboxd/"
strip "$work/outboxd/usr/bin/outboxd"
install -D -m 644 "$here/outboxd.yaml" "$work/outboxd/etc/outboxd/outboxd.yaml"
echo /etc/outboxd/outboxd.yaml >"$work/outboxd/DEBIAN/conffiles"
install -m 755 "$here/postinst" "$here/prerm" "$here/postrm" "$work/outboxd/DEBIAN/"
pack outboxd database "$(needed_by "$work/outboxd/usr/bin/outboxd"), adduser" \
    'publishes the rows of a Postgres outbox table to Kafka
 A service inserts its events into a table in the transaction of its own writes;
 outboxd publishes them: at least once, in order per key, with bounded memory,
 within milliseconds. Several relays of one name stand by for each other.
 .
 The package has the SQL for both sides, units for one relay or several, alerts
 for Prometheus and a dashboard for Grafana. Nothing is started before
 /etc/outboxd/outboxd.yaml says where Postgres and Kafka are.' \
    'Recommends: ca-certificates' 'Suggests: postgresql, prometheus'
