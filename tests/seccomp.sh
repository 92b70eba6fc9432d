#!/usr/bin/env bash
# The tool that adds io_uring's calls to a seccomp profile.
# shellcheck source=compile/lib.sh
. "$(dirname "$0")/compile/lib.sh"
adds() {
    cat >"$tmp/in.json" <<JSON
{ "defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
  { "names": ["read", "io_uring_setup"], "action": "SCMP_ACT_ALLOW" },
  { "names": ["io_uring_setup"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38 },
  { "names": ["clone3", "io_uring_enter"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38 } ] }
JSON
    tools/seccomp-io_uring.sh "$tmp/in.json" >"$tmp/out.json" && python3 - "$tmp/out.json" <<'PYTHON'
import json, sys
p = json.load(open(sys.argv[1]))
assert p["defaultAction"] == "SCMP_ACT_ERRNO"
verdict = {}
for rule in p["syscalls"]:
    for n in rule["names"]:
        verdict.setdefault(n, set()).add(rule["action"])
for n in ("io_uring_setup", "io_uring_enter", "io_uring_register", "read"):
    assert verdict[n] == {"SCMP_ACT_ALLOW"}, (n, verdict)
assert verdict["clone3"] == {"SCMP_ACT_ERRNO"}
PYTHON
}
refuses() { ! tools/seccomp-io_uring.sh "$tmp/none.json" 2>/dev/null; }
ok "adds the three calls and takes refusals of them away" adds
ok "says how it is called when there is no such file" refuses
finish
