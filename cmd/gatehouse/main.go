// Command gatehouse is the identity and access system: the server, and the
// command line that asks it or a folder of estate files.
package main

import (
	"context"
	"os"
	"runtime/debug"

	"golang.org/x/term"

	"github.com/gatehouse-io/gatehouse/internal/cli"
	"github.com/gatehouse-io/gatehouse/internal/cli/live"
)

func main() {
	os.Exit(cli.Main(context.Background(), os.Args[1:], cli.Env{
		Getenv:   getenv,
		Terminal: term.IsTerminal(int(os.Stdout.Fd())),
		Dial:     live.Dial(getenv),
		Version:  version(),
	}, live.Commands()...))
}

// getenv names the house of the data directory as the server, when the
// environment names none.
func getenv(key string) string {
	if v := os.Getenv(key); v != "" || key != "GATEHOUSE_SERVER" {
		return v
	}
	return live.DefaultServer(os.Getenv)
}

func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	return info.Main.Version
}
