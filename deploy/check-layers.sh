#!/bin/sh
# The layers of src/, held: base < message < relay < {outbox, kafka, ops} < app, kafka < {settings, inbox}, settings < app,
# message < verify < app.
# Prints each include that breaks them as file:line, and fails. Also: who may ask a clock, and who may know which library.
cd "$(dirname "$0")/.." || exit 1
grep -rnE '^[[:space:]]*#[[:space:]]*include' src --include='*.[ch]' |
    awk -v public=" $(find include -name '*.h' -printf '%f ')" '
BEGIN {
    may["base"] = " base "; may["message"] = may["base"] "message "; may["relay"] = may["message"] "relay "
    may["verify"] = may["message"] "verify "; may["outbox"] = may["relay"] "outbox "; may["kafka"] = may["relay"] "kafka "; may["ops"] = may["relay"] "ops "
    may["inbox"] = " base message kafka inbox "; may["app"] = may["relay"] "verify outbox kafka ops settings app "
    may["settings"] = may["kafka"] "settings "
    lib["event2/"] = " outbox kafka ops inbox app "; lib["libpq-fe.h"] = lib["libpq/"] = " outbox inbox "
    lib["librdkafka/"] = " kafka inbox "; lib["yaml.h"] = " settings "; lib["base/clock.h"] = " base inbox app "
}
function bad(why) { split($0, at, ":"); print at[1] ":" at[2] ": " why; failed = 1 }
{
    split($0, path, "/"); layer = path[2]; name = $0
    sub(/^[^<"]*[<"]/, "", name); sub(/[>"].*$/, "", name)
    if (!(layer in may)) { bad("src/" layer " is no layer"); next }
    for (l in lib)
        if (index(name, l) == 1 && !index(lib[l], " " layer " ")) bad(layer "/ may not include " name)
    if ($0 !~ /include[ \t]*"/) next
    split(name, part, "/")
    if (name !~ /\//) { if (!index(public, " " name " ")) bad("write \"" name "\" from the root of src/") }
    else if (!index(may[layer], " " part[1] " ")) bad(layer "/ may not include " name)
}
END { exit failed }'
