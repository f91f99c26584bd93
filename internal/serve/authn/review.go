package authn

import (
	"github.com/gatehouse-io/gatehouse/internal/serve"
)

var envelope = serve.Review{
	Kind: "TokenReview", APIVersion: "authentication.k8s.io/v1", Question: "spec",
	Members: []string{"kind", "apiVersion", "metadata", "spec", "status"},
}

// A question is the part of a TokenReview that this door reads.
type question struct {
	token     string
	audiences []string
}

var specMembers = []string{"token", "audiences"}

// readReview reads a TokenReview. An error comes with the zero question.
func readReview(body []byte) (question, error) {
	var q question
	if err := envelope.Read(body, q.readSpec); err != nil {
		return question{}, err
	}
	return q, nil
}

func (q *question) readSpec(r *serve.Reader) error {
	return r.Object(specMembers, func(name string) (err error) {
		switch name {
		case "token":
			q.token, err = r.String()
		case "audiences":
			q.audiences, err = r.Strings()
		}
		return err
	})
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
