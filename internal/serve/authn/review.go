package authn

import (
	"fmt"

	"github.com/gatehouse-io/gatehouse/internal/serve"
)

const (
	kind    = "TokenReview"
	version = "authentication.k8s.io/v1"
)

// A question is the part of a TokenReview that this door reads.
type question struct {
	token     string
	audiences []string
}

var (
	reviewMembers = []string{"kind", "apiVersion", "metadata", "spec", "status"}
	specMembers   = []string{"token", "audiences"}
)

// readReview reads a TokenReview. A status that it arrives with is not looked at.
// An error comes with the zero question.
func readReview(body []byte) (question, error) {
	var q question
	var gotKind, gotVersion string
	err := serve.Read(body, func(r *serve.Reader) error {
		return r.Object(reviewMembers, func(name string) (err error) {
			switch name {
			case "kind":
				gotKind, err = r.String()
			case "apiVersion":
				gotVersion, err = r.String()
			case "spec":
				err = r.Object(specMembers, func(name string) (err error) {
					switch name {
					case "token":
						q.token, err = r.String()
					case "audiences":
						q.audiences, err = r.Strings()
					}
					return err
				})
			default:
				err = r.Skip()
			}
			return err
		})
	})
	if err != nil {
		return question{}, err
	}
	if gotKind != kind || gotVersion != version {
		return question{}, fmt.Errorf("%w: a %s of %s is wanted, this is %.64q of %.64q", serve.ErrMalformed, kind, version, gotKind, gotVersion)
	}
	return q, nil
}

// The answer, as authentication.k8s.io/v1 writes it.
type (
	reply struct {
		Kind       string `json:"kind"`
		APIVersion string `json:"apiVersion"`
		Status     answer `json:"status"`
	}
	answer struct {
		Authenticated bool     `json:"authenticated"`
		User          user     `json:"user,omitzero"`
		Audiences     []string `json:"audiences,omitzero"`
		Error         string   `json:"error,omitzero"`
	}
	user struct {
		Username string              `json:"username"`
		UID      string              `json:"uid"`
		Groups   []string            `json:"groups,omitempty"`
		Extra    map[string][]string `json:"extra"`
	}
)

// IsZero lets an answer that authenticates nobody leave the user out.
func (u user) IsZero() bool { return u.Username == "" }
