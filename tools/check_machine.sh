#!/bin/sh
# What the build needs of this machine. Where something is missing: root gets it installed by apt-get, said in one line
# before; everybody else, and root with INSTALL=no, gets the one command that installs it, and exit code 1.
python=${PYTHON:-python3}

look() {
  missing=""
  if command -v "$python" >/dev/null 2>&1; then
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
      echo "ingestd needs Python 3.11 or newer; $python is $("$python" -V 2>&1). Try: make PYTHON=python3.12 ..." >&2
      exit 1
    }
    command -v uv >/dev/null 2>&1 || "$python" -c 'import ensurepip, venv' 2>/dev/null || missing="$missing venv"
    header=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include") + "/Python.h")')
    [ -e "$header" ] || missing="$missing dev"
  elif [ "$python" = python3 ]; then
    missing="$missing python"
  else
    echo "PYTHON=$python is no program here" >&2
    exit 1
  fi
  if command -v gcc >/dev/null 2>&1; then
    echo '#include <stdio.h>' | gcc -E - >/dev/null 2>&1 || missing="$missing libc"
  else
    missing="$missing gcc"
  fi
}

debian_name() {
  case $1 in
    python) echo python3 python3-venv python3-dev ;;
    venv) echo python3-venv ;;
    dev) echo python3-dev ;;
    gcc) echo gcc libc6-dev ;;
    libc) echo libc6-dev ;;
  esac
}

fedora_name() {
  case $1 in
    python) echo python3 python3-devel ;;
    venv) echo python3 ;;
    dev) echo python3-devel ;;
    gcc) echo gcc ;;
    libc) echo glibc-devel ;;
  esac
}

named_by() { for item in $missing; do "$1" "$item"; done | tr '\n' ' ' | sed 's/ $//'; }

say() {
  as=""
  [ "$(id -u)" = 0 ] || as=", as root"
  echo "ingestd needs a few packages of this system. Install them with this command$as:" >&2
  echo "  $1" >&2
  exit 1
}

install() {
  echo "Installing $names by apt-get (INSTALL=no forbids it) ..."
  log=$(mktemp)
  started=$(date +%s)
  if ! (apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends \
    -o DPkg::Lock::Timeout=120 $names) </dev/null >"$log" 2>&1; then
    cat "$log" >&2
    rm -f "$log"
    echo "apt-get could not install them" >&2
    exit 1
  fi
  rm -f "$log"
  echo "  done in $(($(date +%s) - started)) s"
}

look
[ -n "$missing" ] || exit 0
if command -v apt-get >/dev/null 2>&1; then
  names=$(named_by debian_name)
  if [ "$(id -u)" != 0 ] || [ "$INSTALL" = no ]; then
    say "apt-get update && apt-get install -y --no-install-recommends $names"
  fi
  install
  look
  [ -z "$missing" ] || { echo "apt-get installed $names, and $python still lacks:$missing" >&2; exit 1; }
elif command -v dnf >/dev/null 2>&1; then
  say "dnf install -y $(named_by fedora_name)"
else
  echo "ingestd needs:$missing" >&2
  exit 1
fi
