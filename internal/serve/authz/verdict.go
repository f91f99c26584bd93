package authz

import (
	"github.com/go-json-experiment/json/jsontext"

	"github.com/gatehouse-io/gatehouse/internal/decide"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/serve"
)

// A verdict is what the door says. The zero verdict is no opinion, about nobody.
type verdict struct {
	effect decide.Effect
	reason string // for the user, who reads it in kubectl's error
	// failure says why the house could not tell; with it the effect is Deny.
	failure string
	// knows is set when the verdict rests on the estate, which must then be fresh.
	knows  bool
	id     principal.ID
	by     string // the grant that made it
	groups int
}

// maxReason bounds the reason in bytes: API servers put it into headers and logs.
const maxReason = 2048

// broken denies because the house cannot tell.
func broken(why string) verdict {
	return verdict{effect: decide.Deny, reason: "Gatehouse cannot decide now. Please retry later.", failure: why}
}

// appendReply writes the review that answers v. It says nothing else than the
// verdict: neither the question nor a status that came with it are repeated, and
// it is never allowed and denied at once.
func appendReply(b []byte, v verdict) []byte {
	b = append(b, `{"kind":"SubjectAccessReview","apiVersion":"authorization.k8s.io/v1","status":{"allowed":`...)
	switch v.effect {
	case decide.Allow:
		b = append(b, "true"...)
	case decide.NoOpinion:
		b = append(b, "false"...)
	default:
		b = append(b, `false,"denied":true`...)
	}
	b = appendMember(b, "reason", v.reason)
	b = appendMember(b, "evaluationError", v.failure)
	return append(b, "}}"...)
}

func appendMember(b []byte, name, text string) []byte {
	if text == "" {
		return b
	}
	b = append(b, ',', '"')
	b = append(b, name...)
	b = append(b, '"', ':')
	b, err := jsontext.AppendQuote(b, serve.Printable(text, maxReason))
	if err != nil { // Printable leaves no invalid UTF-8 behind
		panic(err)
	}
	return b
}
