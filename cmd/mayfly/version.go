package main

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"text/tabwriter"

	"mayfly/cmd/mayfly/output"
	"mayfly/retention/secret"
)

// VersionCmd is "mayfly version".
type VersionCmd struct{ output.Flag }

// Help gives examples.
func (*VersionCmd) Help() string {
	return `Examples:
  mayfly version
  mayfly version --output json`
}

// build is what the binary says of itself.
type build struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Time     string `json:"time,omitempty"`
	Modified bool   `json:"modified"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
	// ErasesKeys says that epoch keys are wiped from memory by the runtime.
	ErasesKeys bool `json:"erases_keys"`
	// OverwritesFreed says that everything that the runtime frees is overwritten.
	OverwritesFreed bool `json:"overwrites_freed"`
}

// Run prints the build information.
func (cmd *VersionCmd) Run() error {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return errors.New("the binary holds no build information: build it with the go command, in module mode")
	}
	b := describe(info)
	if cmd.JSON() {
		return output.JSON(b)
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "version\t%s\n", b.Version)
	if b.Revision != "" {
		fmt.Fprintf(w, "revision\t%s %s\n", b.Revision, b.Time)
	}
	if b.Modified {
		fmt.Fprintln(w, "modified\tyes: not what the revision holds")
	}
	fmt.Fprintf(w, "go\t%s %s\n", b.Go, b.Platform)
	if b.ErasesKeys {
		fmt.Fprintln(w, "key memory\terased by the runtime")
	} else {
		fmt.Fprintln(w, "key memory\tnot erased by the runtime: build with GOEXPERIMENT=runtimesecret")
	}
	if b.OverwritesFreed {
		fmt.Fprintln(w, "freed memory\toverwritten by the runtime")
	} else {
		fmt.Fprintln(w, "freed memory\tnot overwritten by the runtime: build with make build, or set GODEBUG=clobberfree=1")
	}
	return w.Flush()
}

func describe(info *debug.BuildInfo) build {
	b := build{Version: info.Main.Version, Go: info.GoVersion, ErasesKeys: secret.Erases, OverwritesFreed: secret.Overwrites()}
	var system, machine string
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Revision = s.Value
		case "vcs.time":
			b.Time = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		case "GOOS":
			system = s.Value
		case "GOARCH":
			machine = s.Value
		}
	}
	b.Platform = system + "/" + machine
	return b
}
