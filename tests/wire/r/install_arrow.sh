#!/usr/bin/env bash
# Puts R and its arrow package, as Debian's unstable release has them, into a folder of their own: FOLDER/run is that R.
# Nothing of the machine's own packages is touched. Usage: install_arrow.sh FOLDER
set -euo pipefail

target=$1
[ -x "$target/run" ] && exit 0
scratch=$target.new
rm -rf "$scratch"
mkdir -p "$scratch"/apt/{lists,cache/archives}/partial "$scratch/root"
scratch=$(cd "$scratch" && pwd)

# The mirror that this machine's own apt uses, checked by Debian's keys.
# shellcheck disable=SC2016 # apt's own names
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' |
    grep -v security | head -n 1)
[ -n "$mirror" ] || { echo "apt has no index of Debian's: apt-get update first." >&2; exit 1; }
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror sid main" >"$scratch/apt/sources.list"
: >"$scratch/apt/status"
cat >"$scratch/apt/apt.conf" <<END
Dir::State "$scratch/apt";
Dir::State::lists "$scratch/apt/lists";
Dir::State::status "$scratch/apt/status";
Dir::Cache "$scratch/apt/cache";
Dir::Etc::sourcelist "$scratch/apt/sources.list";
Dir::Etc::sourceparts "-";
Acquire::Languages "none";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
APT::Sandbox::User "root";
END
export APT_CONFIG=$scratch/apt/apt.conf
apt-get update -q

# What R needs to run, of all that its packages want: no compilers, no headers, no Python or Perl of that release.
wanted='^(r-|lib)|^tzdata$'
unwanted='-dev$|^lib(python|perl|gcc-[0-9]|binutils|gprofng|sframe|ctf|cc1)|^r-base-dev'
apt-get install -s --no-install-recommends r-cran-arrow r-cran-reticulate r-cran-jsonlite |
    awk '/^Inst/ { print $2 }' | grep -E "$wanted" | grep -vE -e "$unwanted" >"$scratch/apt/names"
(cd "$scratch/apt/cache/archives" && xargs apt-get download -q <"$scratch/apt/names")
for package in "$scratch"/apt/cache/archives/*.deb; do
    dpkg-deb -x "$package" "$scratch/root"
done

# That R with its own loader and libraries, wherever the folder stands.
cat >"$scratch/root/run" <<'END'
#!/bin/sh
root=$(cd "$(dirname "$0")" && pwd)
libraries=$(echo "$root"/usr/lib/*-linux-gnu*)
export R_HOME="$root/usr/lib/R" R_SHARE_DIR="$root/usr/share/R/share" R_DOC_DIR="$root/usr/share/R/doc"
export R_LIBS_SITE="$root/usr/lib/R/site-library" R_LIBS_USER="" R_LIBS="" R_ENVIRON="" LC_ALL=C.UTF-8
exec "$libraries"/ld-linux*.so.* --library-path "$R_HOME/lib:$libraries:$libraries/blas:$libraries/lapack" \
    "$R_HOME/bin/exec/R" --no-echo --no-restore --no-save --no-environ --no-init-file "$@"
END
chmod +x "$scratch/root/run"
"$scratch/root/run" -e 'library(arrow); library(reticulate); library(jsonlite)'
rm -rf "$target"
mv "$scratch/root" "$target"
rm -rf "$scratch"
