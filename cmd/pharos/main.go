// Command pharos keeps business domains pointed at a data centre that works:
// the node, and the command line that speaks to it. One file a subcommand;
// here is only flags, wiring and printing.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() { os.Exit(run()) }

// run is main without its exit, so that everything deferred happens.
func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	a := &app{out: os.Stdout, err: os.Stderr, getenv: os.Getenv}
	return a.execute(ctx, os.Args[1:])
}
