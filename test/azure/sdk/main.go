// Command sdk is a program as users of the Azure SDK for Go write them: it knows
// nothing of Gatehouse, and finds it by its environment alone. Each argument
// names a play; a play prints what it got, a line a call.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
)

// A play is one use of the SDK.
type play func(ctx context.Context, say func(format string, args ...any)) error

var plays = map[string]play{
	"credentials": credentials,
	"roles":       roles,
	"eligibility": eligibility,
	"refused":     refused,
	"identities":  identities,
	"clusters":    clusters,
	"lifecycle":   lifecycle,

	"secrets":      secrets,
	"secret":       secret,
	"setsecret":    setSecret,
	"vaultkeys":    vaultKeys,
	"certificates": certificates,
}

func main() {
	if len(os.Args) != 2 || plays[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: sdk PLAY")
		os.Exit(2)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	err := plays[os.Args[1]](ctx, func(format string, args ...any) { fmt.Printf(format+"\n", args...) })
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// named is a setting that the test gives.
func named(name string) string { return os.Getenv("SDK_" + name) }

// code is the error code of a refusal by Azure, or the error.
func code(err error) string {
	var refusal *azcore.ResponseError
	if errors.As(err, &refusal) {
		return fmt.Sprintf("%d %s", refusal.StatusCode, refusal.ErrorCode)
	}
	if err == nil {
		return "no error"
	}
	first, _, _ := strings.Cut(err.Error(), "\n")
	return first
}

// management is what tokens for Azure Resource Manager are asked for by.
var management = policy.TokenRequestOptions{Scopes: []string{"https://management.azure.com/.default"}}
