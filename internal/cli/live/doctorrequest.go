package live

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gatehouse-io/gatehouse/internal/cli"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/doctor"
	"github.com/gatehouse-io/gatehouse/internal/guid"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/client"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/wire"
)

var answeredCode = regexp.MustCompile(`AADSTS([0-9]+)`)

// tellRequest says what is known of a request that the token service answered, by the
// ids that the answer shows. What is registered is what there is now.
func tellRequest(cmd *cobra.Command, env *cli.Env, id string, args []string) error {
	parsed, err := guid.Parse[wire.Event](strings.ToLower(strings.TrimSpace(id)))
	if err != nil {
		return cli.Usage("--correlation-id wants the Correlation ID or Trace ID of a refusal, such as b62c1d61-14a1-4636-9c26-e0cc412c7fa0")
	}
	wanted := 0
	if len(args) > 0 {
		var ok bool
		if wanted, ok = doctor.ParseCode(args[0]); !ok {
			return cli.Usage("that is no code such as AADSTS700213")
		}
	}
	k, err := lookInto(cmd, env)
	if err != nil {
		return err
	}
	if k.house == nil {
		return cli.Usage("requests are known to the house alone: leave out --estate, and name the house with --server")
	}
	events, err := k.house.Events(cmd.Context(), client.WhichEvents{Request: parsed.String()})
	if err != nil {
		return err
	}
	if len(events) == 0 {
		return fmt.Errorf("the house knows no request %s, or does not show it to you: it remembers its latest requests since it was started, each replica its own, and shows others' to who may read traces", parsed)
	}
	var d diagnosis
	for _, e := range events {
		d.Findings = append(d.Findings, k.answered(e, wanted)...)
		if m := answeredCode.FindStringSubmatch(e.Reason); m != nil && e.Effect == "refused" {
			n, _ := strconv.Atoi(m[1])
			if c, ok := doctor.FindCode(n); ok {
				d.Code = &c
			}
		}
	}
	return tell(cmd, env, d)
}

// answered are the findings about one answer.
func (k known) answered(e wire.Event, wanted int) []doctor.Finding {
	about := "request " + e.CorrelationID
	what := fmt.Sprintf("%s at %s: %s", e.Effect, e.At.UTC().Format("2006-01-02 15:04:05Z"), e.Reason)
	if e.Asked != "" {
		what = e.Asked + " was " + what
	}
	if e.Effect != "refused" {
		return []doctor.Finding{{Check: doctor.CheckRequest, About: about, Verdict: doctor.Right, What: what}}
	}
	f := doctor.Finding{Check: doctor.CheckRequest, About: about, Verdict: doctor.Wrong, What: what}
	if m := answeredCode.FindStringSubmatch(e.Reason); m != nil && wanted != 0 && m[1] != strconv.Itoa(wanted) {
		f.Got, f.Want = "AADSTS"+m[1], "AADSTS"+strconv.Itoa(wanted)
	}
	out := []doctor.Finding{f}
	if e.Issuer == "" && e.Subject == "" {
		return out
	}
	var client directory.AppID
	if client.UnmarshalText([]byte(e.Client)) != nil || client.IsZero() {
		return append(out, doctor.Finding{Check: "client-id", About: about, Verdict: doctor.Wrong, What: "the client id of the request is no GUID"})
	}
	i, ok := k.Identity(client)
	switch {
	case !ok && k.Unread != "":
		return append(out, doctor.Finding{Check: "client-id", About: about, What: "the identity that was asked for is not seen, and may be there: " + k.Unread, Got: e.Client})
	case !ok:
		return append(out, doctor.Finding{Check: "client-id", About: about, Verdict: doctor.Wrong, What: "there is no identity with the client id of the request", Got: e.Client})
	}
	presented := doctor.Presented{Issuer: doctor.Know(e.Issuer), Subject: doctor.Know(e.Subject), Audience: doctor.Know(e.Audience)}
	return append(out, k.Trust(presented, i, false)...)
}
