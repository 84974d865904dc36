# shellcheck shell=bash
# Completion for outboxd; written by `make docs` from the program's own tables.

_outboxd_file() {
    compopt -o filenames 2>/dev/null # not there outside a completion
    mapfile -t COMPREPLY < <(compgen -f -- "$1")
}

_outboxd_words() {
    mapfile -t COMPREPLY < <(compgen -W "$1" -- "$2")
}

_outboxd() {
    local word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} command=none w
    local commands='run check migrate status top health pause resume parked verify replay config rebase version'

    COMPREPLY=()
    if [ "$word" = = ]; then
        word=
    elif [ "$previous" = = ]; then
        previous=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    for w in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        case " $commands " in
        *" $w "*)
            command=$w
            break
            ;;
        esac
    done
    case "$command $previous" in
    'none -c' | 'none --config') _outboxd_file "$word" ;;
    'run --config' | 'run -c') _outboxd_file "$word" ;;
    'check --config' | 'check -c') _outboxd_file "$word" ;;
    'migrate --config' | 'migrate -c') _outboxd_file "$word" ;;
    'migrate --url') ;;
    'migrate --start') _outboxd_words 'beginning now' "$word" ;;
    'migrate --bells') ;;
    'migrate --down') ;;
    'migrate --timeout') ;;
    'status --config' | 'status -c') _outboxd_file "$word" ;;
    'top --config' | 'top -c') _outboxd_file "$word" ;;
    'top --url') ;;
    'health --config' | 'health -c') _outboxd_file "$word" ;;
    'pause --config' | 'pause -c') _outboxd_file "$word" ;;
    'pause --url') ;;
    'pause --reason') ;;
    'resume --config' | 'resume -c') _outboxd_file "$word" ;;
    'resume --url') ;;
    'parked --config' | 'parked -c') _outboxd_file "$word" ;;
    'parked --url') ;;
    'parked --key') ;;
    'parked --topic') ;;
    'parked --error') ;;
    'parked --reason') ;;
    'verify --config' | 'verify -c') _outboxd_file "$word" ;;
    'verify --since') ;;
    'verify --until') ;;
    'verify --topic') ;;
    'verify --limit') ;;
    'replay --config' | 'replay -c') _outboxd_file "$word" ;;
    'replay --id') ;;
    'replay --from') ;;
    'replay --until') ;;
    'replay --type') ;;
    'replay --aggregate-type') ;;
    'replay --key') ;;
    'replay --after') ;;
    'replay --topic') ;;
    'replay --rate') ;;
    'config --config' | 'config -c') _outboxd_file "$word" ;;
    'rebase --config' | 'rebase -c') _outboxd_file "$word" ;;
    'rebase --url') ;;
    'rebase --to') _outboxd_words 'beginning now  ' "$word" ;;
    none\ *) _outboxd_words "$commands --config --help --version" "$word" ;;
    run\ *) _outboxd_words ' --config --help' "$word" ;;
    check\ *) _outboxd_words ' --config --help' "$word" ;;
    migrate\ *) _outboxd_words ' --config --print --url --inbox --start --bells --no-doorbell --down --timeout --yes --help' "$word" ;;
    status\ *) _outboxd_words ' --config --json --help' "$word" ;;
    top\ *) _outboxd_words ' --config --url --once --help' "$word" ;;
    health\ *) _outboxd_words ' --config --live --help' "$word" ;;
    pause\ *) _outboxd_words ' --config --url --reason --dry-run --help' "$word" ;;
    resume\ *) _outboxd_words ' --config --url --dry-run --help' "$word" ;;
    parked\ *) _outboxd_words ' --config --url --key --topic --error --all --reason --yes --dry-run --json --help' "$word" ;;
    verify\ *) _outboxd_words ' --config --json --since --until --topic --limit --shared --help' "$word" ;;
    replay\ *) _outboxd_words ' --config --yes --dry-run --id --from --until --type --aggregate-type --key --after --topic --rate --help' "$word" ;;
    config\ *) _outboxd_words ' --config --example --help' "$word" ;;
    rebase\ *) _outboxd_words ' --config --url --to --keep --yes --dry-run --help' "$word" ;;
    version\ *) _outboxd_words ' --help' "$word" ;;
    esac
}

complete -F _outboxd outboxd
