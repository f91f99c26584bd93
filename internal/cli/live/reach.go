package live

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatehouse-io/gatehouse/internal/cli"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/client"
)

// reach returns a client of the house that the flags and the environment name.
func reach(cmd *cobra.Command, env *cli.Env) (*client.Client, error) {
	url := cli.Server(cmd, env)
	if f := cmd.Flag("estate"); url == "" || f != nil && f.Value.String() != "" {
		return nil, cli.Usage("%s needs a running house: start it with gatehouse up, or name it with --server", cmd.CommandPath())
	}
	return dial(cmd.Context(), env.Getenv, url)
}

// seek adds to a refusal because something is not there how to see what is.
func seek(err error, how string) error {
	if refused, ok := errors.AsType[*client.Error](err); ok && refused.Status == http.StatusNotFound {
		return fmt.Errorf("%w\n%s", err, how)
	}
	return err
}

// facts prints names and values in two columns. Empty values are left out.
func facts(env *cli.Env, pairs ...string) {
	wide := 0
	for i := 0; i < len(pairs); i += 2 {
		wide = max(wide, len(pairs[i]))
	}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			fmt.Fprintf(env.Stdout, "%-*s   %s\n", wide, pairs[i], pairs[i+1])
		}
	}
}

// maxDocument bounds what is read of an answer, in bytes.
const maxDocument = 1 << 20

// get reads a document, and what the time was where it came from, to a second.
func get(ctx context.Context, hc *http.Client, url string) (text []byte, at time.Time, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, time.Time{}, err
	}
	res, err := hc.Do(req)
	if err != nil {
		return nil, time.Time{}, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, time.Time{}, fmt.Errorf("%s answers %s", url, res.Status)
	}
	at, err = http.ParseTime(res.Header.Get("Date"))
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("%s does not say what time it is", url)
	}
	text, err = io.ReadAll(io.LimitReader(res.Body, maxDocument))
	return text, at, err
}
