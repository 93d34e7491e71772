#!/usr/bin/env bash
# Machines that ssh reaches: Ray on all of them, flyteray on the first, apps on port 8080.
#
#     export FLYTERAY_STORAGE=s3://bucket/flyteray          # or a folder that all of them mount
#     clusters/machines.sh up 10.0.0.1 10.0.0.2 10.0.0.3    # the first is the head
#     clusters/machines.sh down 10.0.0.1 10.0.0.2 10.0.0.3
#
# Give the addresses by which the machines reach each other. ssh must get there without asking; a user or a key goes into
# ~/.ssh/config. On each, a login shell must find the same Python, Ray and flyteray (or those of the virtual environment
# that VENV names). Variables that begin with FLYTERAY_, OTEL_, AWS_, GOOGLE_ or AZURE_ are set there as they are here.
# `down` ends all of Ray on the machines. Firewalls: people need port 8080 alone, the machines all ports of each other.
set -euo pipefail

# What goes over is ssh's input, never an argument: the list of processes is for everybody to read.
SSH=${SSH:-ssh -o BatchMode=yes}

fail() {
  echo "machines.sh: $*" >&2
  exit 1
}

# on HOST: run there what comes on stdin, with the variables of the cluster.
on() {
  { variables; cat; } | $SSH "$1" bash -ls
}

variables() {
  local name
  for name in $(compgen -e | grep -E '^(FLYTERAY|OTEL|AWS|GOOGLE|AZURE)_|^VENV$' || true); do
    printf 'export %s=%q\n' "$name" "${!name}"
  done
  printf 'umask 077; mkdir -p ~/.ray; printf %%s %q > ~/.ray/auth_token\n' "$token"
  cat <<'EOF'
export RAY_AUTH_MODE=token
[ -z "${VENV:-}" ] || PATH=$VENV/bin:$PATH
ulimit -n 65536 2>/dev/null || true
set -euo pipefail
EOF
}

# Programs of different versions don't understand each other, and fail late.
versions() {
  on "$1" <<'EOF'
python -c 'import platform; from importlib.metadata import version
print("Python", platform.python_version(), "Ray", version("ray"), "flyteray", version("flyteray"))' </dev/null
EOF
}

check_versions() {
  local expected found host
  expected=$(versions "$head") || fail "$head does not answer, or has no flyteray: install it there."
  for host in "$@"; do
    found=$(versions "$host") || fail "$host does not answer, or has no flyteray: install it there."
    [ "$found" = "$expected" ] || fail "$head has $expected, $host has $found: install the same on all of them."
  done
}

check_place() {
  case ${FLYTERAY_STORAGE:-} in
    "") fail "say where all machines keep their things: export FLYTERAY_STORAGE=s3://bucket/flyteray, or a mount." ;;
    *://* | /*) ;;
    *) fail "FLYTERAY_STORAGE is $FLYTERAY_STORAGE: give a whole path, which begins with /." ;;
  esac
}

# A folder has to be the same one on all of them: what the head writes, the others read.
check_folder() {
  local file host
  file=$(on "$head" <<<'mkdir -p "$FLYTERAY_STORAGE"; mktemp "$FLYTERAY_STORAGE/.machines.XXXXXX"')
  for host in "$@"; do
    on "$host" <<<"[ -f '$file' ]" || {
      on "$head" <<<"rm '$file'"
      fail "$FLYTERAY_STORAGE is not the same folder on $head and $host: mount one there, or use s3://, gs:// or az://."
    }
  done
  on "$head" <<<"rm '$file'"
}

up() {
  local host
  check_versions "$@"
  case $FLYTERAY_STORAGE in /*) check_folder "$@" ;; esac # of a bucket flyteray itself proves that each reaches it
  on "$head" <<EOF
ray start --head --node-ip-address=$head --port=6379 --dashboard-host=$head --disable-usage-stats </dev/null
EOF
  for host in "$@"; do
    on "$host" <<EOF
ray start --address=$head:6379 --node-ip-address=$host --disable-usage-stats </dev/null
EOF
  done
  on "$head" <<EOF
export RAY_ADDRESS=$head:6379 FLYTERAY_HOST=\${FLYTERAY_HOST:-0.0.0.0} FLYTERAY_PORT=\${FLYTERAY_PORT:-8080}
flyteray up </dev/null
EOF
  echo "On $head, or with its ~/.ray/auth_token from anywhere:"
  echo "  export RAY_AUTH_MODE=token RAY_ADDRESS=$head:6379"
  echo "  ray job submit --address http://$head:8265 --working-dir . -- python app.py"
}

down() {
  local host
  for host in "$@" "$head"; do
    on "$host" <<<'ray stop </dev/null'
  done
}

case ${1:-} in up | down) ;; *) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p;}' "$0" >&2; exit 2 ;; esac
[ $# -ge 2 ] || fail "name the machines, the head first: $0 $1 10.0.0.1 10.0.0.2"
verb=$1 head=$2
shift 2
[ "$verb" = down ] || check_place
token=$(ray get-auth-token --generate 2>/dev/null) || fail "install flyteray here as well: ray makes the cluster's token."
"$verb" "$@"
