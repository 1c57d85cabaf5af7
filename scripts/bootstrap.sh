#!/bin/sh
# Installs what the renderer needs beside Python: Mesa's OpenGL without a window (libegl1 libgl1 libgl1-mesa-dri).
# Does nothing where they are there. Without root or passwordless sudo it says what to install, and exits 1.
set -eu

packages="libegl1 libgl1 libgl1-mesa-dri"
# KINEFORGE_LIBRARY_DIRS and KINEFORGE_DRIVER_DIRS exist so that a test can point the search elsewhere.
library_dirs="${KINEFORGE_LIBRARY_DIRS:-/usr/lib/$(uname -m)-linux-gnu /usr/lib64 /usr/lib /usr/local/lib}"
driver_dirs="${KINEFORGE_DRIVER_DIRS:-/usr/lib/$(uname -m)-linux-gnu/dri /usr/lib64/dri /usr/lib/dri}"

# True if one of the folders in $1 holds one of the files named after it.
found() {
    folders="$1"
    shift
    for folder in $folders; do
        for name in "$@"; do
            [ -e "$folder/$name" ] && return 0
        done
    done
    return 1
}

complete() {
    found "$library_dirs" libEGL.so.1 || return 1
    found "$library_dirs" libGL.so.1 || return 1
    # A GPU's own driver serves as well as Mesa's.
    found "$driver_dirs" swrast_dri.so libdril_dri.so kms_swrast_dri.so && return 0
    found "$library_dirs" libEGL_nvidia.so.0
}

if complete; then
    exit 0
fi
if ! command -v apt-get >/dev/null 2>&1; then
    echo "The renderer needs OpenGL through EGL, which is missing, and this system has no apt-get." >&2
    echo "Install the equivalents of: $packages" >&2
    exit 1
fi
if [ "$(id -u)" -eq 0 ]; then
    as_root=""
elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
    as_root="sudo"
else
    echo "The renderer needs OpenGL through EGL, which is missing. As an administrator, run:" >&2
    echo "    apt-get update && apt-get install -y --no-install-recommends $packages" >&2
    exit 1
fi
echo "Installing $packages"
$as_root apt-get update -q
# shellcheck disable=SC2086  # a list of words
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $packages
