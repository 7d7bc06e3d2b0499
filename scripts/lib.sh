# SPDX-License-Identifier: GPL-2.0
# Sourced by the other scripts: where things live, and how they speak.

set -euo pipefail
shopt -s inherit_errexit

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
BUILD=${BUILD:-$TOP/build}
CACHE=${PARCALL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/parcall}
TREE=$BUILD/linux		# the patched tree, on branch parcall, from tag parcall-base on
SERIES=7.3			# the kernel release that patches/ is made for
JOBS=$(nproc)

# Debian's toolchain before any other: only its rustc comes with the source of the library.
export PATH=$CACHE/bindgen/bin:$CACHE/venv/bin:/usr/lib/llvm-19/bin:/usr/bin:$PATH
export LLVM=1

# The project's commit, and whether what is built here is that.
commit() {
	local dirty=''
	[ -z "$(git -C "$TOP" status --porcelain -- Kconfig patches rust scripts userbench)" ] || dirty=-dirty
	echo "$(git -C "$TOP" rev-parse --short=12 HEAD)$dirty"
}

die() { echo "parcall: $*" >&2; exit 1; }

# step DESCRIPTION LOG COMMAND...: run a long command, its output in LOG, with a line that tells how far it is.
step() {
	local what=$1 log=$2 start=$SECONDS pid status=0
	shift 2
	mkdir -p "$(dirname "$log")"
	"$@" >"$log" 2>&1 </dev/null &
	pid=$!
	while kill -0 $pid 2>/dev/null; do
		if [ -t 2 ]; then
			printf '\r\033[K  %s ... %ds  %.60s' "$what" $((SECONDS - start)) "$(tail -n 1 "$log" | tr -d '\r\t')" >&2
		elif [ $(((SECONDS - start) % 60)) = 59 ]; then
			echo "  $what ... $((SECONDS - start))s" >&2
		fi
		sleep 1
	done
	wait $pid || status=$?
	[ ! -t 2 ] || printf '\r\033[K' >&2
	if [ $status != 0 ]; then
		# One of our own messages says it all.
		if tail -n 1 "$log" | grep '^parcall: ' >&2; then exit 1; fi
		tail -n 30 "$log" >&2
		die "$what failed; the whole log is $log"
	fi
	echo "  $what: $((SECONDS - start))s" >&2
}

# tree_at COMMIT FOLDER: check a commit of build/linux out there, beside it.
tree_at() {
	git -C "$TREE" worktree prune
	[ -e "$2" ] || git -C "$TREE" worktree add -q -f --detach "$2" "$1"
	git -C "$2" checkout -q -f --detach "$1"
}

# configure TREE OUT [-s] FRAGMENT...: with -s it is an error where a symbol does not get what a fragment asks for.
configure() {
	mkdir -p "$2"
	(cd "$1" && ./scripts/kconfig/merge_config.sh -n -O "$2" "${@:3}")
}

# Build the selftests, for the release kernel.
kselftests() {
	make -C "$TREE" O="$BUILD/release" headers
	make -C "$TREE/tools/testing/selftests" TARGETS=parcall O="$BUILD" \
		KHDR_INCLUDES="-isystem $BUILD/release/usr/include"
}

# in_guest CONFIG SECONDS PROGRAM: run a selftest in the guest, and look at what its kernel says meanwhile.
# The guest is killed after $limit seconds, if that is set.
in_guest() {
	CONFIG=$1 SMP=4 MEM=4G CMD="export PARCALL_KO=build/$1/kernel/parcall/rust/parcall.ko ${rounds:-}
		scripts/selftest $3 $2" ${limit:+timeout $limit} "$TOP/scripts/boot"
}

# Whether nothing in build/linux would be lost with it: it is just what 'make fetch' and 'make apply' made.
tree_is_disposable() {
	[ -z "$(git -C "$TREE" status --porcelain)" ] &&
		[ "$(git -C "$TREE" rev-parse HEAD)" = "$(sed -n 2p "$TREE/.git/parcall-series" 2>/dev/null ||
			git -C "$TREE" rev-parse parcall-base)" ]
}
