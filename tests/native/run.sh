#!/usr/bin/env bash
# The native core under sanitizers, on every tier of this machine, and for ARM under an emulator where one is installed.
# Needs cmake, ninja and the installed package's python in PATH; builds in a temporary directory.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT

# $1: the driver's build; the rest, if any: what runs it. The graph on every tier, and against what the first reached.
run_graph() {
  local driver=$build/$1/native_tests isa
  shift
  rm -f "$build/recalls"
  for isa in $("$@" "$driver" tiers); do
    NEARFIELD_ISA=$isa "$@" "$driver" graph "$build/recalls"
  done
}

# $1: name; the rest: cmake options.
build_driver() {
  local name=$1
  shift
  cmake -G Ninja -S engine/native -B "$build/$name" -DNEARFIELD_PYTHON=OFF -DNEARFIELD_TESTS=ON "$@" >"$build/log"
  cmake --build "$build/$name" >"$build/log" || { cat "$build/log" && return 1; }
}

echo "-- address and undefined behaviour"
build_driver address -DNEARFIELD_SANITIZE=address,undefined
ASAN_OPTIONS=detect_leaks=1 UBSAN_OPTIONS=print_stacktrace=1 "$build/address/native_tests"
ASAN_OPTIONS=detect_leaks=1 UBSAN_OPTIONS=print_stacktrace=1 run_graph address

echo "-- threads"
build_driver thread -DNEARFIELD_SANITIZE=thread
setarch "$(uname -m)" -R "$build/thread/native_tests"
setarch "$(uname -m)" -R "$build/thread/native_tests" graph

if [ "$(uname -m)" = x86_64 ] && command -v aarch64-linux-gnu-g++ >/dev/null && command -v qemu-aarch64-static >/dev/null; then
  echo "-- NEON, emulated"
  build_driver neon -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 \
    -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++ -DCMAKE_EXE_LINKER_FLAGS=-static
  qemu-aarch64-static "$build/neon/native_tests"
  run_graph neon qemu-aarch64-static
fi

for isa in $(python -c 'from nearfield.engine import _native; print(*_native.available_isas())'); do
  echo "-- the Python tests on $isa"
  NEARFIELD_ISA=$isa python -m pytest -q tests/native
done
