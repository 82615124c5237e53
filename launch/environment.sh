# Sourced by the scripts beside it: finds a Python and prepares .venv at the root of the repository.
# Works with bash 3.2 (macOS); leaves with one line when something is missing.

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
venv="$root/.venv"

fail() {
    echo "$(basename "$0"): $1" >&2
    exit 1
}

is_recent() { # is_recent PYTHON: it runs, and is 3.11 or later
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

find_python() {
    local candidate
    for candidate in ${PYTHON:-} python3 python3.13 python3.12 python3.11 python; do
        if is_recent "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    fail "no Python >= 3.11 found: install one, or name it: PYTHON=/path/to/python3 $0"
}

lock_of() { # lock_of EXTRAS: versions and hashes of everything that it needs
    [ "$1" = "[dev]" ] && echo "$root/requirements-dev.lock" || echo "$root/requirements.lock"
}

stamp() { # stamp EXTRAS: what an environment that is up to date was made from
    echo "$1 $root $(cat "$root/pyproject.toml" "$(lock_of "$1")" | cksum)"
}

has_stamp() { # has_stamp EXTRAS
    [ -f "$venv/stamp$1" ] && [ "$(cat "$venv/stamp$1")" = "$(stamp "$1")" ]
}

is_prepared() { # is_prepared EXTRAS: with those, or with more
    { has_stamp "$1" || has_stamp "[dev]"; } &&
        [ -x "$venv/bin/mlxconsole" ] && is_recent "$venv/bin/python"
}

# prepare EXTRAS: .venv with the project, editable; EXTRAS is "" or "[dev]". Quick when it is done.
prepare() {
    is_prepared "$1" && return
    local python
    if ! is_recent "$venv/bin/python"; then
        python="$(find_python)" || exit 1
        echo "Preparing $venv with $("$python" --version) (once, some minutes)" >&2
        "$python" -m venv --clear "$venv" >&2 ||
            fail "can't make $venv: on Debian and Ubuntu, install python3-venv"
    fi
    "$venv/bin/python" -m pip --version >/dev/null 2>&1 ||
        "$venv/bin/python" -m ensurepip --default-pip >/dev/null 2>&1 ||
        fail "$venv has no pip: remove the folder and run this again"
    echo "Installing mlxconsole$1 and what it needs into $venv" >&2
    local pip=("$venv/bin/python" -m pip install --disable-pip-version-check)
    # The lock is complete, so nothing is resolved: an old pip would look for newer versions of what
    # is asked for with extras (coverage[toml]) and then refuse them, since they have no hash.
    { "${pip[@]}" --no-deps --require-hashes -r "$(lock_of "$1")" &&
        "${pip[@]}" --no-deps -e "$root"; } >&2 ||
        fail "the installation failed, see above: fix the cause and run this again"
    stamp "$1" >"$venv/stamp$1"
}
