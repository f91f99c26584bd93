//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

func versionCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use: "version", Short: "Print the version", Example: "  gatehouse-node version -o json", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			version, platform := built(), runtime.GOOS+"/"+runtime.GOARCH
			switch output {
			case "table":
				fmt.Fprintf(cmd.OutOrStdout(), "gatehouse-node %s %s\n", version, platform)
				return nil
			case "json":
				out := json.NewEncoder(cmd.OutOrStdout())
				out.SetIndent("", "  ")
				return out.Encode(struct {
					Version  string `json:"version"`
					Go       string `json:"go"`
					Platform string `json:"platform"`
				}{version, runtime.Version(), platform})
			}
			return fmt.Errorf("-o %s is no way to print: table or json", output)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "table", "print as `format`: table or json")
	return cmd
}

// built is the version that the program was built as.
func built() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "devel"
}
