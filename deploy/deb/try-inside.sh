#!/bin/sh
# What try.sh runs in the Debian that it has booted: the packages from installation to purge. Stops at the first thing that
# is not as it should be.
set -eu
cd /try

say() {
    echo "try: $*"
}

fail() {
    echo "try: WRONG: $*"
    systemctl status --no-pager -l 'outboxd*' || true
    exit 1
}

# expect WHAT COMMAND...: the command must succeed.
expect() {
    what=$1
    shift
    "$@" >out 2>&1 || { cat out; fail "$what"; }
    say "$what"
}

# within WHAT COMMAND...: the command must succeed within 20 s.
within() {
    what=$1
    shift
    for _ in $(seq 200); do
        if "$@" >out 2>&1; then
            say "$what"
            return
        fi
        sleep 0.1
    done
    cat out
    fail "$what"
}

is() {
    [ "$1" = "$2" ] || { echo "is '$1', should be '$2'"; return 1; }
}

property() {
    systemctl show -P "$2" "$1"
}

status_says() {
    property "$1" StatusText | grep -q "$2"
}

sql() {
    runuser -u postgres -- psql -X -q -A -t -d orders -c "$1"
}

mode_of() {
    stat -c '%a %U:%G' "$1"
}

# ---- installation ----
rm -f /usr/sbin/policy-rc.d # services may start here
expect "the packages and what they need are installed" apt-get install -q -y --no-install-recommends ./*.deb postgresql
expect "version" outboxd version
expect "the library is found by the linker" sh -c 'ldconfig -p | grep -q libinbox.so.0'
expect "the user has neither home nor shell" sh -c 'getent passwd outboxd | grep -q ":/nonexistent:/usr/sbin/nologin$"'
expect "only root and the group see the configuration" is "$(mode_of /etc/outboxd)" '750 root:outboxd'
expect "nothing was enabled" is "$(systemctl is-enabled outboxd || true)" disabled
expect "nothing was started" is "$(systemctl is-active outboxd || true)" inactive
expect "files are as the package has them" dpkg --verify outboxd libinbox0 libinbox-dev

# ---- started without a configuration: it says so, and is not started again ----
systemctl start outboxd 2>said && fail "it started without addresses"
sleep 2
expect "without addresses it ends with 78" is "$(property outboxd ExecMainStatus)" 78
expect "and is not started again" is "$(property outboxd NRestarts)" 0
expect "and the journal names what is missing" sh -c 'journalctl -u outboxd | grep -q "kafka.brokers"'

# ---- a relay, while Kafka is away ----
pg_lsclusters -h | grep -q . || pg_createcluster 15 main >out
systemctl start postgresql
within "Postgres answers" runuser -u postgres -- psql -X -q -c 'SELECT 1'
runuser -u postgres -- createdb orders
cat >/etc/outboxd/outboxd.yaml <<'YAML'
# edited by the administrator
postgres: {url: "postgres://outboxd@/orders?host=/var/run/postgresql"}
kafka: {brokers: "127.0.0.1:19092"}
relay: {name: orders}
YAML
echo unused >/etc/outboxd/postgres-password
cd /tmp
expect "outboxd migrate" runuser -u postgres -- outboxd migrate -c /dev/stdin --url "dbname=orders" </etc/outboxd/outboxd.yaml
cd /try
sql "CREATE ROLE outboxd LOGIN IN ROLE outbox_relay" # peer authentication: the user of the unit is who it says
sql "SELECT outbox.publish('order', '1', 'order.placed', '{}')" >out
expect "it starts while Kafka is away" systemctl enable --now -q outboxd
expect "and is up" is "$(systemctl is-active outboxd)" active
within "systemd knows what it waits for" status_says outboxd refused
expect "health --live" outboxd health --live
outboxd health >said 2>&1 && fail "it says that it is ready without Kafka"
expect "health names what is missing" grep -q broker said
expect "it runs as outboxd" is "$(ps -o user= -p "$(property outboxd MainPID)")" outboxd
expect "the watchdog is armed" is "$(property outboxd WatchdogUSec)" 30s

# ---- Kafka comes ----
/try/mock_broker --topic order-events:3 --port-file /try/brokers </dev/null >/dev/null 2>&1 &
broker=$!
within "a broker" test -s /try/brokers
sed -i "s/127.0.0.1:19092/$(cat /try/brokers)/" /etc/outboxd/outboxd.yaml
expect "restart" systemctl restart outboxd
within "it is ready" outboxd health
published() {
    is "$(sql "SELECT published FROM outbox.lane WHERE relay = 'orders'")" 1
}
within "the event was published" published
expect "reload is SIGHUP" systemctl reload outboxd
expect "and it lives on" is "$(systemctl is-active outboxd)" active

# ---- a second relay, of the template ----
sed -e 's/name: orders/name: second/' /etc/outboxd/outboxd.yaml >/etc/outboxd/second.yaml
echo 'http: {listen: "127.0.0.1:9465"}' >>/etc/outboxd/second.yaml
cd /tmp
expect "migrate makes its row" runuser -u postgres -- outboxd migrate -c /dev/stdin --url "dbname=orders" --start now </etc/outboxd/second.yaml
cd /try
expect "outboxd@second starts" systemctl enable --now -q outboxd@second
within "and is ready" outboxd health -c /etc/outboxd/second.yaml

# ---- a hung one is killed and started again ----
before=$(property outboxd@second MainPID)
mkdir -p /run/systemd/system/outboxd@second.service.d
printf '[Service]\nWatchdogSec=2\n' >/run/systemd/system/outboxd@second.service.d/try.conf
systemctl daemon-reload
systemctl restart outboxd@second
before=$(property outboxd@second MainPID)
kill -STOP "$before"
replaced() {
    now=$(property "$1" MainPID)
    [ "$now" != 0 ] && [ "$now" != "$before" ]
}
within "the watchdog replaces one that hangs" replaced outboxd@second
within "and it is ready again" outboxd health -c /etc/outboxd/second.yaml

# ---- upgrade: the packages again, with another version ----
mkdir next
dpkg-deb -R outboxd_*.deb next/root
sed -i 's/^Version: .*/&+next/' next/root/DEBIAN/control
echo '# a new line of the package' >>next/root/etc/outboxd/outboxd.yaml
dpkg-deb --root-owner-group --build next/root next/outboxd.deb >out
before=$(property outboxd MainPID)
expect "upgrade" apt-get install -q -y -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold ./next/outboxd.deb
within "it was started anew" replaced outboxd
within "and is ready" outboxd health
expect "the administrator's configuration stays" grep -q 'edited by the administrator' /etc/outboxd/outboxd.yaml
expect "and its folder is as it was" is "$(mode_of /etc/outboxd)" '750 root:outboxd'

# ---- away with it ----
expect "remove" apt-get remove -q -y outboxd
expect "it was stopped" sh -c '! pgrep -x outboxd'
expect "the configuration stays" test -e /etc/outboxd/outboxd.yaml
expect "purge" apt-get purge -q -y outboxd libinbox0
expect "the user is gone" sh -c '! getent passwd outboxd && ! getent group outboxd'
expect "the configuration is gone" test ! -e /etc/outboxd/outboxd.yaml
expect "the administrator's own files stay, and belong to root" is "$(mode_of /etc/outboxd/postgres-password)" '644 root:root'
expect "their folder too" is "$(mode_of /etc/outboxd)" '750 root:root'
expect "no link to the units is left" sh -c '! find /etc/systemd -name "outboxd*" | grep .'
expect "no file of the packages is left" sh -c '! find /usr -name "*outboxd*" | grep .'
kill "$broker"
say "all as it should be"
