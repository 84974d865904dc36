#!/bin/sh
# Instructions per event of the pure path (decode, route, format, partition, window), by callgrind, against the figure in
# guard.txt: a regression of more than 5 % fails. Only functions of our own objects count: libc has variants by processor.
#
#   guard.sh PROGRAM             compares; exit 1 when it costs more than it may
#   guard.sh --update PROGRAM    writes guard.txt anew
#
# Another compiler or other flags make another figure, so guard.txt names the compiler; with another one the figure is shown
# and nothing is held against it.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
figures=$here/guard.txt
events=20000
update=
if [ "${1:-}" = --update ]; then
    update=1
    shift
fi
program=$1
if ! command -v valgrind >/dev/null 2>&1; then
    echo "guard: valgrind is missing: sh deploy/install-deps.sh test" >&2
    exit 69
fi
folder=$(mktemp -d "${TMPDIR:-/tmp}/outboxd-guard.XXXXXX")
trap 'rm -rf -- "$folder"' EXIT
valgrind --tool=callgrind --toggle-collect=pure_path --callgrind-out-file="$folder/out" "$program" "$events" \
    >"$folder/log" 2>&1 || {
    cat "$folder/log" >&2
    exit 1
}
# Each function's own instructions, by the file of its source: ours have one with a folder of src/ in it.
callgrind_annotate --auto=no --threshold=100 --inclusive=no "$folder/out" | sed 's/,//g' |
    awk -v events="$events" '
        function part_of(file) {
            if (file ~ /outbox\/rows\.c/) return "decode"
            if (file ~ /message\/(route|topic)\.c/) return "route"
            if (file ~ /message\/murmur2\.c/) return "partition"
            if (file ~ /(message\/|base\/str)/) return "format"
            if (file ~ /relay\/window\.c/) return "window"
            return ""
        }
        $1 ~ /^[0-9]+$/ {
            where = ""
            for (i = 2; i <= NF; i++) if ($i ~ /:/) { where = $i; break }
            sub(/:.*/, "", where)
            part = part_of(where)
            if (part != "") sum[part] += $1
        }
        END {
            n = split("decode route format partition window", order, " ")
            for (i = 1; i <= n; i++) {
                printf "%s %.0f\n", order[i], sum[order[i]] / events
                all += sum[order[i]]
            }
            printf "all %.0f\n", all / events
        }' >"$folder/now"
compiler=$(${CC:-gcc} -dumpfullversion)
if [ -n "$update" ]; then
    { echo "# Instructions per event, by tests/bench/guard.sh; make bench-guard-update writes this file."
      echo "compiler $compiler"
      cat "$folder/now"; } >"$figures"
    cat "$figures"
    exit 0
fi
cat "$folder/now"
known=$(sed -n 's/^compiler //p' "$figures")
if [ "$known" != "$compiler" ] || [ "$(uname -m)" != x86_64 ]; then
    echo "not compared: the figures are of gcc $known on x86_64, this is $compiler on $(uname -m)"
    exit 0
fi
now=$(sed -n 's/^all //p' "$folder/now")
then=$(sed -n 's/^all //p' "$figures")
if [ "$now" -eq 0 ] || [ $((now * 100)) -gt $((then * 105)) ]; then
    echo "the pure path takes $now instructions per event, $then were agreed; if that is meant: make bench-guard-update" >&2
    exit 1
fi
echo "$now instructions per event, $then agreed"
