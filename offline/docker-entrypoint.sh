#!/usr/bin/env bash
# The entry point of greenroom-offline/postgres, which stands in for the official image (docs/offline-images.md). It
# does what stacks rely on there:
#
#   POSTGRES_PASSWORD           the superuser's; a new data directory needs it, unless everybody is trusted
#   POSTGRES_USER               the superuser; default: postgres
#   POSTGRES_DB                 the first database; default: the superuser's name
#   POSTGRES_INITDB_ARGS        further arguments of initdb, as the shell splits them
#   POSTGRES_HOST_AUTH_METHOD   how clients beyond the loopback authenticate; default: password_encryption's
#   PGDATA                      the data directory
#
# The first four can be read from files: POSTGRES_PASSWORD_FILE=… and so on. A new data directory gets the database, and
# then runs what is in /docker-entrypoint-initdb.d (*.sh, *.sql, *.sql.gz), while the server listens on its Unix socket
# only. Then the command becomes PID 1.
set -euo pipefail

say() { printf 'entrypoint: %s\n' "$*"; }

# fail WHAT [LINE…]: what is wrong, then the rule, the actual value and the way out, a line each.
fail() {
    printf 'entrypoint: error: %s\n' "$1" >&2
    shift
    [ $# -eq 0 ] || printf '  %s\n' "$@" >&2
    exit 1
}

# --- What is asked for ---------------------------------------------------------------------------------------------

# take NAME DEFAULT: exports the variable, with its own value, or that of the file NAME_FILE names, or the default.
take() {
    local file=$1_FILE
    [ -z "${!1:-}" ] || [ -z "${!file:-}" ] || fail "$1 and $file are both set" "The rule: one of them. Take one away."
    if [ -n "${!file:-}" ]; then
        export "$1=$(<"${!file}")"
    else
        export "$1=${!1:-$2}"
    fi
    unset "$file"
}

take_settings() {
    take POSTGRES_PASSWORD ''
    take POSTGRES_USER postgres
    take POSTGRES_DB "$POSTGRES_USER"
    take POSTGRES_INITDB_ARGS ''
    : "${POSTGRES_HOST_AUTH_METHOD:=}"
}

# An option that has postgres print something and end.
asks_for_help() {
    local argument
    for argument; do
        case $argument in
        --help | '-?' | --version | -V | --describe-config) return 0 ;;
        esac
    done
    return 1
}

# --- Pre-flight: what would go wrong later, and less clearly -------------------------------------------------------

check_user() {
    id -un >/dev/null 2>&1 || fail "the user $(id -u) has no name in this image, and initdb needs one" \
        "The rule: it starts as root, or as postgres, which is $(id -u postgres): --user postgres."
}

check_password() {
    case $POSTGRES_HOST_AUTH_METHOD:$POSTGRES_PASSWORD in
    trust:*) say "warning: POSTGRES_HOST_AUTH_METHOD=trust lets in whoever reaches this server, without a password" ;;
    *:) fail "the superuser has no password" \
        "The rule: a new data directory needs POSTGRES_PASSWORD, or POSTGRES_HOST_AUTH_METHOD=trust to let in whoever" \
        "reaches the server. Neither is set, and there is no database in $PGDATA yet." ;;
    esac
}

# From 18 on, the volume is the parent of PGDATA. Data mounted at the place of earlier versions would seem to be lost,
# so the official image refuses, too.
check_place() {
    local folder found=()
    [ "$PG_MAJOR" -ge 18 ] && [ "$PGDATA" = "/var/lib/postgresql/$PG_MAJOR/docker" ] || return 0
    for folder in /var/lib/postgresql /var/lib/postgresql/data /var/lib/postgresql/*/docker; do
        [ ! -s "$folder/PG_VERSION" ] || found+=("Found: the data of version $(<"$folder/PG_VERSION") in $folder.")
    done
    ! mountpoint -q /var/lib/postgresql/data || found+=("Found: something mounted at /var/lib/postgresql/data.")
    [ ${#found[@]} -eq 0 ] || fail "other data than that of PGDATA is mounted" "${found[@]}" \
        "The rule: from version 18 on, what is mounted at /var/lib/postgresql holds a folder for each version." \
        "PGDATA is $PGDATA. Mount another place, or set another PGDATA."
}

# --- A new data directory ------------------------------------------------------------------------------------------

# Where it fails, the folder is another's, and the server says what it minds.
prepare_folders() {
    mkdir -p "$PGDATA"
    chmod 700 "$PGDATA" 2>/dev/null || :
    chmod 3775 /var/run/postgresql 2>/dev/null || :
    if [ "$(id -u)" = 0 ]; then
        find "$PGDATA" /var/run/postgresql ! -user postgres -exec chown postgres: {} +
    fi
}

# setting NAME [ARGUMENT…]: the value that the server would have with these arguments.
setting() { postgres -C "$1" "${@:2}"; }

# The name is known to scripts that were written for the official image.
docker_process_sql() {
    psql --set=ON_ERROR_STOP=1 --no-password --no-psqlrc --username="$POSTGRES_USER" --dbname="$POSTGRES_DB" "$@"
}

run_init_files() {
    local file files
    shopt -s nullglob
    files=(/docker-entrypoint-initdb.d/*)
    shopt -u nullglob
    for file in "${files[@]}"; do
        case $file in
        *.sh | *.sql | *.sql.gz) say "running $file" ;;
        esac
        case $file in
        *.sh)
            if [ -x "$file" ]; then
                "$file"
            else
                set +u # as in the official image, whose scripts need not set what they read
                # shellcheck source=/dev/null
                . "$file"
            fi
            ;;
        *.sql) docker_process_sql --file="$file" ;;
        *.sql.gz) gunzip --stdout "$file" | docker_process_sql ;;
        *.sql.xz | *.sql.zst) fail "$file: this image cannot unpack it" "The rule: *.sql or *.sql.gz." ;;
        *) say "ignoring $file" ;;
        esac
    done
}

# make_data_directory [ARGUMENT…]: with the server's own arguments, since they may say how passwords are kept.
make_data_directory() {
    local arguments
    eval "arguments=($POSTGRES_INITDB_ARGS)"
    # The password is a line, even where it is empty: initdb refuses an empty file.
    initdb --username="$POSTGRES_USER" --pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD") "${arguments[@]}"
    printf '\nhost all all all %s\n' "${POSTGRES_HOST_AUTH_METHOD:-$(setting password_encryption "$@")}" >>"$PGDATA/pg_hba.conf"
}

# fill [ARGUMENT…]: the database and what the init files make, on a server with these arguments, but without TCP.
fill() {
    local server
    local -x PGHOST PGPORT=${PGPORT:-5432} PGPASSWORD=${PGPASSWORD:-$POSTGRES_PASSWORD}
    PGHOST=$(setting unix_socket_directories "$@")
    PGHOST=${PGHOST%%,*}
    postgres "$@" -c listen_addresses= -p "$PGPORT" &
    server=$!
    until pg_isready --quiet --username="$POSTGRES_USER" --dbname=postgres; do
        kill -0 "$server" 2>/dev/null || fail "the server does not start with its new data directory; above is what it says"
        sleep 0.05
    done
    case $POSTGRES_DB in
    postgres | template0 | template1) ;;
    *) createdb --no-password --username="$POSTGRES_USER" --maintenance-db=postgres -- "$POSTGRES_DB" ;;
    esac
    run_init_files
    kill -INT "$server"
    wait "$server"
    say "the data directory is ready"
}

main() {
    local new=no
    case ${1:-} in
    -*) set -- postgres "$@" ;;
    esac
    if [ "${1:-}" = postgres ] && ! asks_for_help "$@"; then
        take_settings
        prepare_folders
        if [ "$(id -u)" = 0 ]; then
            export HOME=/var/lib/postgresql
            exec setpriv --reuid=postgres --regid=postgres --init-groups "${BASH_SOURCE[0]}" "$@"
        fi
        if [ ! -s "$PGDATA/PG_VERSION" ]; then
            new=yes
            check_user
            check_password
            check_place
            make_data_directory "${@:2}"
        fi
        # The programs of the wheel have PostgreSQL's own default, and no file of the data directory says otherwise.
        if [ "$(setting unix_socket_directories "${@:2}")" = /tmp ]; then
            set -- "$@" -c unix_socket_directories=/var/run/postgresql
        fi
        [ "$new" = no ] || fill "${@:2}"
    fi
    exec "$@"
}

# As PID 1 it would not notice a signal that it has no handler for, and `docker stop` would wait.
trap 'exit 130' INT
trap 'exit 143' TERM
main "$@"
