package cli

import (
	"context"
	"fmt"
	"runtime"

	"github.com/spf13/cobra"
)

func newVersion(env *Env, o *options) *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Example: "  gatehouse version -o json",
		Args:    exactly(),
		RunE: run(func(context.Context, []string) error {
			if err := o.checkOutput(); err != nil {
				return err
			}
			if done, err := o.machine(env, struct {
				Version  string `json:"version"`
				Go       string `json:"go"`
				Platform string `json:"platform"`
			}{env.Version, runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}); done {
				return err
			}
			fmt.Fprintf(env.Stdout, "gatehouse %s %s/%s\n", env.Version, runtime.GOOS, runtime.GOARCH)
			return nil
		}),
	}
}
