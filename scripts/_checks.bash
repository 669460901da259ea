# What scripts/lint, scripts/format and .ci/run share. Sourced, not run: the underscore says so.
# shellcheck shell=bash

# group TITLE: the heading of what follows; GitHub folds its log there.
group() {
    if [ -n "${GITHUB_ACTIONS:-}" ]; then printf '::group::%s\n' "$*"; else printf '▶ %s\n' "$*"; fi
}

endgroup() { [ -z "${GITHUB_ACTIONS:-}" ] || echo '::endgroup::'; }

# The shell scripts, found by their first line or name as shfmt does it, one a line.
shell_files() { shfmt --find scripts .ci compose; }
