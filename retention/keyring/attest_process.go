package keyring

import "mayfly/retention/secret"

// Conditions of the process that holds keys and addresses.
const (
	KeyMemory   Condition = "key memory"
	FreedMemory Condition = "freed memory"
	CoreDumps   Condition = "core dumps"
)

// AttestProcess says what becomes of keys and addresses in this process's memory. The
// doctor runs the same binary as the roles do, and hardens itself as they do.
func AttestProcess() []Finding {
	findings := Findings{Area: AreaKEK, Subject: "this process"}
	if secret.Erases {
		findings.Add(KeyMemory, Pass, "the runtime erases it", "")
	} else {
		findings.Add(KeyMemory, Warn, "this build leaves copies of dead keys in memory until it is used again",
			"run a release build: make build, or GOEXPERIMENT=runtimesecret go build")
	}
	if secret.Overwrites() {
		findings.Add(FreedMemory, Pass, "the runtime overwrites it", "")
	} else {
		findings.Add(FreedMemory, Warn, "this process leaves copies of addresses in memory until it is used again",
			"run a release build: make build, or set GODEBUG=clobberfree=1")
	}
	if secret.Hardened() {
		findings.Add(CoreDumps, Pass, "off, and debuggers of the same user are kept out", "")
	} else {
		findings.Add(CoreDumps, Warn, "this process could not switch them off", "allow prctl and setrlimit in its sandbox, or set LimitCORE=0")
	}
	return findings.List
}
