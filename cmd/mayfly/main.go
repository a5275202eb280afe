// Command mayfly moves connection events from Kafka into sealed stores that
// provably expire, and answers look-ups while they live. This package is the
// only one that chooses implementations and wires them together; each
// subcommand has a file of its own.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	code, err := execute(ctx, os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "mayfly:", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	os.Exit(code)
}
