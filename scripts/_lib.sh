# What the scripts share. Sourced, not run: the underscore says so. Nothing beyond POSIX, since scripts/bootstrap runs in sh.
# shellcheck shell=sh

program=${0##*/} # begins each line that a script says

# --- Telling -----------------------------------------------------------------------------------------------------

say() { printf '%s: %s\n' "$program" "$*" >&2; }

# fail WHAT [LINE…]: what is wrong, then the rule, the actual value and the way out, a line each.
fail() {
    printf '%s: error: %s\n' "$program" "$1" >&2
    shift
    [ $# -eq 0 ] || printf '  %s\n' "$@" >&2
    exit 1
}

# excerpt LINES TEXT: the last lines of what a tool has said, marked as such.
excerpt() { [ -z "$2" ] || printf '%s\n' "$2" | tail -n "$1" | cut -c 1-200 | sed 's/^/    | /' >&2; }

# quietly COMMAND…: keeps what it prints in $output. Not in a file: a full disk is one of the things to be told.
# shellcheck disable=SC2034 # read by the scripts
quietly() { output=$("$@" 2>&1 </dev/null); }

# step TEXT COMMAND…: one line for the step; where the command fails, the script's own `explain` says why, and ends it.
step() {
    if [ -t 2 ]; then printf '%s: %s …' "$program" "$1" >&2; else say "$1"; fi
    shift
    began=$(date +%s)
    if "$@"; then
        [ ! -t 2 ] || printf ' %s s\n' "$(($(date +%s) - began))" >&2
    else
        [ ! -t 2 ] || echo >&2
        explain
    fi
}

# group TITLE: the heading of what follows; GitHub folds its log there.
group() {
    if [ -n "${GITHUB_ACTIONS:-}" ]; then printf '::group::%s\n' "$*"; else printf '▶ %s\n' "$*"; fi
}

endgroup() { [ -z "${GITHUB_ACTIONS:-}" ] || echo '::endgroup::'; }

# --- Python and shell --------------------------------------------------------------------------------------------

# newest NAME REQUIREMENTS: the venv .greenroom/NAME with these (a line each) in their newest versions. It is new each time,
# since the question is which those are.
newest() {
    rm -rf ".greenroom/$1"
    .venv/bin/python -I -m venv ".greenroom/$1"
    printf '%s\n' "$2" >".greenroom/$1/requirements.txt"
    PIP_USER=0 ".greenroom/$1/bin/python" -I -m pip install --quiet --disable-pip-version-check --no-input \
        -r ".greenroom/$1/requirements.txt"
}

# adopt_greenroom NAME: greenroom itself in the venv .greenroom/NAME, as the bootstrap has installed it in .venv: a line that leads
# here, and its metadata with the plugin's entry point. Copied each time, which takes no build.
adopt_greenroom() {
    from=$(echo .venv/lib/python*/site-packages)
    to=$(echo .greenroom/"$1"/lib/python*/site-packages)
    cp -R "$from"/*greenroom*.pth "$from"/greenroom-*.dist-info "$to/"
}

# The shell scripts, found by their first line or name as shfmt does it, one a line.
shell_files() { shfmt --find scripts .ci offline; }
