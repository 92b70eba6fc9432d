#!/usr/bin/env bash
# tools/deps.sh on machines that lack everything, or nothing: with package managers that only write down
# what they are asked.
# shellcheck source=compile/lib.sh
. "$(dirname "$0")/compile/lib.sh"
machine() {     # user id, what it has: a PATH with basic tools and recording stubs
    local t id=$1
    shift
    rm -rf "$tmp/bin"
    mkdir "$tmp/bin"
    for t in bash cat env grep head ls mktemp rm sed tr; do ln -s "$(command -v $t)" "$tmp/bin/$t"; done
    for t in "$@"; do
        printf '#!%s\necho "%s $*" >>"%s"\n' "$(command -v bash)" "$t" "$tmp/asked" >"$tmp/bin/$t"
        [ "$t" != sudo ] || echo 'exec "$@"' >>"$tmp/bin/$t"
        chmod +x "$tmp/bin/$t"
    done
    printf '#!%s\necho %s\n' "$(command -v bash)" "$id" >"$tmp/bin/id"
    chmod +x "$tmp/bin/id"
    : >"$tmp/asked"
}
deps() { PATH=$tmp/bin "$(command -v bash)" tools/deps.sh "$@"; }
asks() {        # expression: the manager is asked for it
    local want=$1
    shift
    deps "$@" || return 1
    grep -qE -- "$want" "$tmp/asked" || { cat "$tmp/asked"; return 1; }
}
says() {        # expression: it fails and says so
    local want=$1 out
    shift
    out=$(deps "$@" 2>&1) && return 1
    echo "$out"
    echo "$out" | grep -qE -- "$want"
}
# Here and now, but nothing is installed by this test.
machine 0 apt-get apt-cache sudo
quiet() { [ -z "$(PATH=$tmp/bin:$PATH tools/deps.sh "$1" 2>&1)" ]; }
for what in demo check; do
    quiet $what
    if [ -s "$tmp/asked" ]; then skip "nothing is missing: silent, $what" "something is missing here"
    else ok "nothing is missing: silent, $what" quiet $what
    fi
done
machine 0 apt-get apt-cache
ok "apt: demo" asks 'apt-get install -y .*gcc.*liburing-dev.*curl.*netcat-openbsd' demo
ok "apt: check" asks 'apt-get install .*g\+\+.*clang.*gcc-arm-none-eabi.*valgrind.*libcmocka-dev' check
machine 0 dnf
ok "dnf" asks 'dnf install -y .*liburing-devel.*libcmocka-devel' check
machine 0 pacman
ok "pacman" asks 'pacman -S --noconfirm --needed .*liburing.*cmocka' check
machine 0 apk
ok "apk" asks 'apk add .*liburing-dev.*cmocka-dev' check
machine 1000 apt-get apt-cache sudo
ok "not root: sudo" asks 'sudo .*apt-get install' demo
machine 1000 apt-get
ok "neither root nor sudo: said in words" says 'Neither root nor sudo' demo
machine 0
ok "no package manager: said in words" says 'No apt-get, dnf, pacman or apk' demo
printf '#!%s\necho no network; exit 1\n' "$(command -v bash)" >"$tmp/broken"
machine 0 apk
cp "$tmp/broken" "$tmp/bin/apk"
chmod +x "$tmp/bin/apk"
ok "a failing manager: its words are shown" says 'no network' demo
ok "a failing manager: and what is missing" says 'could not install: cc liburing' demo
finish
