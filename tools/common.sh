# shellcheck shell=bash
# common.sh: what tools/test, tools/demo and tools/lint share; sourced, never run.
#
# Root or sudo is needed twice: to install packages, and because the server refuses to run as root
# and is therefore run as user postgres. Debian packages are installed only when missing.

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf '%s\n' "== $*"; }

die() {
	printf '%s: %s\n' "$(basename "$0")" "$*" >&2
	exit 1
}

as_root() {
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	else
		sudo -- "$@"
	fi
}

# as_postgres FOLDER COMMAND...: runs it in that folder, in the C locale, without the caller's PG* variables.
as_postgres() {
	local folder=$1 name
	local -a clean=()
	shift
	while IFS='=' read -r name _; do
		case $name in PG*) clean+=(-u "$name") ;; esac
	done < <(env)
	as_root runuser -u postgres -- env -C "$folder" "${clean[@]}" LC_ALL=C "$@"
}

# install_packages NAME...: those that are missing. Refreshes the package lists only when apt does not
# know a name or cannot fetch what it knows.
install_packages() {
	local -a missing=() apt=(env DEBIAN_FRONTEND=noninteractive apt-get -y -q --no-install-recommends)
	local name
	for name in "$@"; do
		[ "$(dpkg-query -W -f '${Status}' "$name" 2>/dev/null)" = 'install ok installed' ] || missing+=("$name")
	done
	[ ${#missing[@]} -gt 0 ] || return 0
	[ "$(id -u)" -eq 0 ] || command -v sudo >/dev/null || die "${missing[*]} must be installed: run as root, or install sudo"
	say "installing ${missing[*]}"
	if ! as_root "${apt[@]}" install "${missing[@]}" </dev/null >"${TMPDIR:-/tmp}/cdc-apt.$$" 2>&1; then
		if ! { as_root "${apt[@]}" update && as_root "${apt[@]}" install "${missing[@]}"; } \
			</dev/null >>"${TMPDIR:-/tmp}/cdc-apt.$$" 2>&1; then
			tail -n 30 "${TMPDIR:-/tmp}/cdc-apt.$$" >&2
			rm -f "${TMPDIR:-/tmp}/cdc-apt.$$"
			die "could not install ${missing[*]}"
		fi
	fi
	rm -f "${TMPDIR:-/tmp}/cdc-apt.$$"
}

# install_server MAJOR: server, headers, compiler. Debian's server package makes and starts a cluster on
# port 5432 when it is installed for the first time: not for us. The setting that prevents it is put back.
install_server() {
	local major=$1 conf=/etc/postgresql-common/createcluster.conf former=''
	if [ "$(dpkg-query -W -f '${Status}' "postgresql-$major" 2>/dev/null)" != 'install ok installed' ]; then
		install_packages postgresql-common
		former=$(mktemp)
		cat "$conf" >"$former"
		as_root sed -i '/^[[:space:]]*create_main_cluster/d' "$conf"
		printf 'create_main_cluster = false\n' | as_root tee -a "$conf" >/dev/null
	fi
	# In a subshell, so that the setting is put back also when installing fails.
	local status=0
	(install_packages "postgresql-$major" "postgresql-server-dev-$major" g++ make) || status=$?
	if [ -n "$former" ]; then
		as_root tee "$conf" <"$former" >/dev/null
		rm -f "$former"
	fi
	return "$status"
}

# suite_of MAJOR: the Debian suite that has that version of the server.
suite_of() {
	case $1 in
		15) echo bookworm ;;
		17) echo trixie ;;
		18) echo forky ;;
		*) die "no Debian suite is known to have version $1 of the server" ;;
	esac
}

# server_is_here MAJOR: this machine has that version, or its Debian can install it. For others there is tools/lane.
server_is_here() {
	[ "$(dpkg-query -W -f '${Status}' "postgresql-$1" 2>/dev/null)" != 'install ok installed' ] || return 0
	! apt-cache policy "postgresql-$1" 2>/dev/null | grep -q 'Candidate: [0-9]' || return 0
	# The package lists may not be there yet.
	[ "$(. /etc/os-release && echo "$VERSION_CODENAME")" = "$(suite_of "$1")" ]
}

# use_server MAJOR [PG_CONFIG]: installs what is missing and sets pg_config, bindir, major. A pg_config
# of one's own needs nothing but a compiler.
use_server() {
	major=$1
	pg_config=${2:-}
	if [ -n "$pg_config" ]; then
		[ -x "$pg_config" ] || die "no pg_config at $pg_config"
		install_packages g++ make
		id postgres >/dev/null 2>&1 || die "user postgres is missing: the server is run under that name"
	else
		install_server "$major"
		pg_config=/usr/lib/postgresql/$major/bin/pg_config
		[ -x "$pg_config" ] || die "no pg_config at $pg_config"
	fi
	major=$("$pg_config" --version | sed -E 's/^PostgreSQL ([0-9]+).*/\1/')
	# shellcheck disable=SC2034 # for the tool that sources this
	bindir=$("$pg_config" --bindir)
}

# build_and_install [MAKE VARIABLE...]: the tree's own build, installed for that server.
build_and_install() {
	say "building for $("$pg_config" --version)"
	make -s -C "$top" -j"$(nproc)" PG_CONFIG="$pg_config" "$@"
	as_root make -s -C "$top" PG_CONFIG="$pg_config" "$@" install >/dev/null
}

# stop_servers FOLDER: ends every server whose data lies below it, by the pid in its postmaster.pid.
stop_servers() {
	local pidfile pid
	while IFS= read -r pidfile; do
		pid=$(as_root head -n 1 "$pidfile" 2>/dev/null) || continue
		# A stale file may name a process of somebody else.
		as_root test "/proc/$pid/cwd" -ef "$(dirname "$pidfile")" || continue
		as_root kill -QUIT "$pid" 2>/dev/null || continue
		while as_root kill -0 "$pid" 2>/dev/null; do
			sleep 0.1
		done
	done < <(as_root find "$1" -name postmaster.pid 2>/dev/null)
}
