package authz

import (
	"github.com/gatehouse-io/gatehouse/internal/kuberbac"
	"github.com/gatehouse-io/gatehouse/internal/serve"
)

var envelope = serve.Review{
	Kind: "SubjectAccessReview", APIVersion: "authorization.k8s.io/v1", Question: "spec",
	Members: []string{"kind", "apiVersion", "spec", "metadata", "status"},
}

// A question is the part of a SubjectAccessReview that this door reads.
type question struct {
	user        string
	groups      []string
	oid         []string // spec.extra["oid"]
	claims      bool     // whether there is such a key, even without a value
	credentials []string // spec.extra["authentication.kubernetes.io/credential-id"]
	// resource and path say which blocks of attributes there were.
	resource, path bool
	attributes     kuberbac.Attributes
}

// Keys of spec.extra. The first is what our TokenReview answers; the second is
// what the API server notes about a client certificate: X509SHA256= and the
// SHA-256 of its DER in hex.
const (
	extraOID        = "oid"
	extraCredential = "authentication.kubernetes.io/credential-id"
)

var (
	specMembers     = []string{"resourceAttributes", "nonResourceAttributes", "user", "groups", "extra", "uid"}
	resourceMembers = []string{"namespace", "verb", "group", "version", "resource", "subresource", "name", "fieldSelector", "labelSelector"}
	pathMembers     = []string{"path", "verb"}
)

// readReview reads a SubjectAccessReview. Selectors are not looked at: who may
// list everything may list less. An error comes with the zero question.
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
		case "resourceAttributes":
			q.resource, err = q.readAttributes(r, resourceMembers)
		case "nonResourceAttributes":
			q.path, err = q.readAttributes(r, pathMembers)
		case "user":
			q.user, err = r.String()
		case "groups":
			q.groups, err = r.Strings()
		case "extra":
			err = r.Map(func(name string, values []string) {
				switch name {
				case extraOID:
					q.oid, q.claims = values, true
				case extraCredential:
					q.credentials = values
				}
			})
		default:
			err = r.Skip()
		}
		return err
	})
}

// readAttributes reads one of the two blocks, and reports whether it was there.
func (q *question) readAttributes(r *serve.Reader, members []string) (bool, error) {
	if r.Null() {
		return false, nil
	}
	a := &q.attributes
	return true, r.Object(members, func(name string) (err error) {
		switch name {
		case "namespace":
			a.Namespace, err = r.String()
		case "verb":
			a.Verb, err = r.String()
		case "group":
			a.APIGroup, err = r.String()
		case "resource":
			a.Resource, err = r.String()
		case "subresource":
			a.Subresource, err = r.String()
		case "name":
			a.Name, err = r.String()
		case "path":
			a.Path, err = r.String()
		default:
			err = r.Skip()
		}
		return err
	})
}
