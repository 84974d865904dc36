#!/bin/bash
# All linters, one after the other; goes on after a finding and fails at the end. `make lint` calls it with the
# Makefile's preprocessor flags in LINT_CPPFLAGS.
#
#   lint.sh [FOLDER OR FILE]...     default: src tests deploy include
set -u -o pipefail
cd "$(dirname "$0")/.." || exit 1
[ $# -gt 0 ] || set -- src tests deploy include
jobs=$(nproc 2>/dev/null || echo 2)
failed=()

# The pinned version if it is there: another version of clang-format formats differently.
tool() {
    if command -v "$1-14" >/dev/null 2>&1; then echo "$1-14"; else echo "$1"; fi
}

step() {
    local name=$1 begin=$SECONDS
    shift
    if "$@"; then
        printf 'lint: %-12s ok      %3d s\n' "$name" $((SECONDS - begin))
    else
        printf 'lint: %-12s FAILED  %3d s\n' "$name" $((SECONDS - begin))
        failed+=("$name")
    fi
}

mapfile -t c_files < <(find "$@" -name '*.c' | sort)
mapfile -t c_and_h_files < <(find "$@" -name '*.[ch]' | sort)
# Shell scripts carry no ending where users call them: the first line tells.
mapfile -t sh_files < <({ find . -path ./.git -prune -o -path ./build -prune -o -type f -size -200k -print |
    xargs -d '\n' grep -lE -m 1 '^#! ?/(usr/)?bin/(env )?(ba)?sh' --; } | sort)
sh_files+=(deploy/completion/outboxd.bash) # sourced, so it has no such line

check_format() {
    local file bad=0
    for file in "${c_and_h_files[@]}"; do
        if ! "$(tool clang-format)" --dry-run -Werror --style=file "$file" 2>/dev/null; then
            echo "$file: make format would change it"
            bad=1
        fi
    done
    return $bad
}

check_tidy() {
    local flags
    # clang-tidy counts what it hides on stderr; a finding goes to stdout.
    read -ra flags <<<"${LINT_CPPFLAGS:--D_GNU_SOURCE -Isrc -Iinclude -isystem $(pg_config --includedir)}"
    flags+=(-DOUTBOXD_VERSION='"lint"') # the Makefile's own has quotes that do not survive a variable
    printf '%s\0' "${c_files[@]}" |
        xargs -0 -P "$jobs" -I{} "$(tool clang-tidy)" --quiet {} -- -std=c11 \
            -Wno-gnu-statement-expression "${flags[@]}" 2> >(grep -vE '(warnings?|errors?) (generated|treated)|^Suppressed|^Error while' >&2)
}

# Version 2.10 does not know _Noreturn, and stumbles over a compound literal within ?: (internalAstError).
check_cppcheck() {
    cppcheck --quiet -j "$jobs" --std=c11 --enable=warning,performance,portability --inline-suppr --error-exitcode=1 \
        --suppress=missingInclude --suppress=internalAstError '-D_Noreturn=__attribute__((noreturn))' \
        -D_GNU_SOURCE -Isrc -Iinclude "${c_files[@]}"
}

# A warning only: a long file is a hint that two things live in it.
tell_long_files() {
    wc -l "${c_and_h_files[@]}" | awk '$2 != "total" && $1 > 500 {print "lint: note: " $2 " has " $1 " lines"}'
}

if [ ${#c_files[@]} -gt 0 ]; then
    step clang-format check_format
    step cppcheck check_cppcheck
    step clang-tidy check_tidy
fi
step shellcheck shellcheck "${sh_files[@]}"
step layers sh deploy/check-layers.sh
tell_long_files

if [ ${#failed[@]} -gt 0 ]; then
    echo "lint: FAILED: ${failed[*]}"
    exit 1
fi
echo "lint: clean"
