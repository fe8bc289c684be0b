# shellcheck shell=bash
# checked.sh: what tools/test-asserts, tools/test-valgrind, tools/test-sanitizers and tools/coverage share;
# sourced, never run.
#
# Debian's servers have no assertions and tell valgrind nothing, and they hang under libasan. So a server of
# one's own is built from Debian's source when it is missing, beside the lanes of tools/lane. Valgrind and the
# sanitizers each get a copy of it, in which bin/postgres is a script that starts the real one as the check
# needs it. For all else such a copy is an ordinary server, and tools/test runs as it always does: it knows
# nothing of the checks but what the environment says.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

checked_cache=${CDC_LANES:-/var/cache/cdc-lanes}
# The number is raised when the way it is built changes.
own_server=$checked_cache/own-15-3

# build_own_server: 3 minutes of two cores, 90 MB. Sets nothing; the server is $own_server/bin/postgres.
build_own_server() {
	[ ! -x "$own_server/bin/pg_config" ] || return 0
	[ "$(id -u)" -eq 0 ] || die 'a server has to be built: run as root once'
	install_packages g++ make dpkg-dev perl bzip2
	mkdir -p "$checked_cache"
	local build=$checked_cache/own-15.build.$$ file
	rm -rf "$build"
	mkdir -p "$build/apt/parts" "$build/apt/lists/partial" "$build/apt/archives/partial"
	# The machine's own package sources, as sources of source packages; they stay as they are.
	for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources; do
		[ -f "$file" ] || continue
		sed -E 's/^deb(-src)?([[:space:]])/deb-src\2/; s/^Types:.*/Types: deb-src/' "$file" >"$build/apt/parts/$(basename "$file")"
	done
	local -a apt=(apt-get -q -o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts="$build/apt/parts"
		-o Dir::State::Lists="$build/apt/lists" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache=
		-o APT::Sandbox::User=root)
	say 'building a server with assertions (some minutes, once)'
	if ! (
		cd "$build"
		# The suite is named: the source of the newest security build can be absent. Debian's own changes are left out:
		# with them the server looks for libraries where Debian's packages have them, wherever it is.
		"${apt[@]}" update && "${apt[@]}" source --download-only postgresql-15/bookworm
		mkdir source
		tar -x -f postgresql-15_*.orig.tar.* -C source --strip-components=1
		cd source
		./configure --prefix="$own_server" --enable-cassert --enable-debug --enable-tap-tests --without-readline \
			--without-zlib --without-icu CFLAGS='-O1 -g -fno-omit-frame-pointer' CPPFLAGS=-DUSE_VALGRIND
		make -s -j"$(nproc)"
		make -s -j"$(nproc)" DESTDIR="$build/root" install
		make -s -j"$(nproc)" -C contrib DESTDIR="$build/root" install
		# What valgrind must not report.
		cp src/tools/valgrind.supp "$build/root$own_server/"
	) </dev/null >"$build.log" 2>&1; then
		tail -n 40 "$build.log" >&2
		die "could not build the server: all of it is in $build.log"
	fi
	# Another call may have been faster.
	[ -e "$own_server" ] || mv "$build/root$own_server" "$own_server"
	rm -rf "$build" "$build.log"
}

# checked_copy KIND START_SCRIPT: the copy for a check; sets server, findings. $real in the script is the server's program,
# $findings a folder for reports.
checked_copy() {
	local kind=$1 script=$2 new
	build_own_server
	server=$own_server-$kind
	findings=$server/findings
	if [ ! -x "$server/bin/pg_config" ]; then
		new=$server.$$
		rm -rf "$new"
		cp -a "$own_server" "$new"
		mv "$new/bin/postgres" "$new/bin/postgres.real"
		mkdir -m 1777 "$new/findings"
		[ -e "$server" ] || mv "$new" "$server"
		rm -rf "$new"
	fi
	# Written each time: it may have changed, and what initdb and pg_ctl ask runs nothing of the extension.
	cat >"$server/bin/postgres.new" <<-SCRIPT
		#!/bin/bash
		# Beside this script: a test may have copied the server. It must run under the script's name: pg_ctl restarts what
		# the server has written down as its own.
		real=\${0%/*}/postgres.real findings=$findings
		case " \$* " in *' --boot '* | *' --single '* | *' --check '* | *' -V '* | *' -C '*) exec "\$real" "\$@" ;; esac
		$script
	SCRIPT
	chmod 755 "$server/bin/postgres.new"
	mv "$server/bin/postgres.new" "$server/bin/postgres"
}

# copy_tree FOLDER: the tree there, without what was built in it.
copy_tree() {
	rm -rf "$1"
	mkdir "$1"
	tar -c -C "$top" --exclude=.git --exclude='*.o' --exclude='*.d' --exclude='*.so' --exclude=.build_stamp . | tar -x -C "$1"
}

# copy_patient_tree FOLDER: the same, with tests that wait longer: below a check all takes up to 50 times as long, and what is
# run there is not about how long something takes. The TAP tests wait as long as the server's own variable says.
copy_patient_tree() {
	local patience=20min
	copy_tree "$1"
	sed -i "s/timeout interval DEFAULT '10s'/timeout interval DEFAULT '$patience'/" "$1/cdc--1.0.sql"
	grep -q "DEFAULT '$patience'" "$1/cdc--1.0.sql" || die 'the default of cdc.wait_for_capture has another form'
	sed -i "s/now() + interval '10s'/now() + interval '$patience'/" "$1/sql/include/capture.sql"
	grep -rlE "timeout => '(30s|60s|3min)'" "$1/"{sql,specs,expected,t} |
		xargs sed -i -E "s/timeout => '(30s|60s|3min)'/timeout => '$patience'/"
	export PG_TEST_TIMEOUT_DEFAULT=${PG_TEST_TIMEOUT_DEFAULT:-1800} PGCTLTIMEOUT=${PGCTLTIMEOUT:-600}
}

# run_checked TEST_PROGRAM ARGUMENT...: that tree's tools/test on $server; a report is a failure, whatever the tests say.
# One run at a time: the extension that is installed in the copy is one.
run_checked() {
	local test_program=$1 status=0
	shift
	exec 9>"$server/lock"
	flock 9
	find "$findings" -mindepth 1 -delete
	# These servers compute more than they wait.
	CDC_TEST_JOBS="${CDC_TEST_JOBS:-2}" "$test_program" --pg-config "$server/bin/pg_config" "$@" 9>&- || status=$?
	show_findings || status=1
	exec 9>&-
	return "$status"
}

# show_findings: prints the reports; true when there is none.
show_findings() {
	local file count=0
	for file in "$findings"/*; do
		[ -s "$file" ] || continue
		if [ -n "${finding_marker:-}" ] && ! grep -q -- "$finding_marker" "$file"; then continue; fi
		count=$((count + 1))
		# The same mistake is often made by many processes.
		[ "$count" -gt 10 ] || { printf -- '---- %s\n' "$(basename "$file")"; head -n 80 "$file"; }
	done
	[ "$count" -eq 0 ] && return 0
	say "FAILED: reports in $count files, also in $findings"
	return 1
}

# self_test_checked BUG PATTERN...: for each pair, a copy of the tree with that bug planted in the library; the run must fail, and
# say what and where it is. The bugs are in test/planted_bug.cpp, which is no part of any other build.
self_test_checked() {
	local copy bug pattern broken=0
	copy=$(mktemp -d)
	chmod 755 "$copy"
	cp -a "$top" "$copy/tree"
	cp "$top/test/planted_bug.cpp" "$copy/tree/src/"
	while [ $# -gt 0 ]; do
		bug=$1 pattern=$2
		shift 2
		cat >"$copy/tree/sql/planted_bug.sql" <<-SQL
			CREATE FUNCTION planted_bug(text) RETURNS integer LANGUAGE c STRICT AS '\$libdir/cdc', 'cdc_planted_bug';
			SELECT planted_bug('$bug');
		SQL
		: >"$copy/tree/expected/planted_bug.out"
		if run_checked "$copy/tree/tools/test" planted_bug >"$copy/out" 2>&1; then
			echo "self-test: a run with the planted bug $bug passed"
			broken=1
		elif ! grep -qE -- "$pattern" "$copy/out" || ! grep -q 'planted_bug' "$copy/out"; then
			echo "self-test: the planted bug $bug was not reported"
			tail -n 60 "$copy/out"
			broken=1
		else
			echo "self-test: $bug: $(grep -m 1 -E -- "$pattern" "$copy/out")"
		fi
	done
	rm -rf "$copy"
	return "$broken"
}
