package serve

import "fmt"

// A Review names one kind of the reviews that Kubernetes API servers send to
// webhooks, and the members that such an object may have.
type Review struct {
	Kind       string // TokenReview, …
	APIVersion string // authentication.k8s.io/v1, …
	Members    []string
	Question   string // the member that holds what is asked: spec, or request
}

// Read reads a review and gives its question to read. A status or response that it
// arrives with is not looked at. The error is ErrMalformed for another kind, and
// for what Reader refuses; what was read so far must be thrown away then.
func (v Review) Read(body []byte, read func(*Reader) error) error {
	var kind, version string
	err := Read(body, func(r *Reader) error {
		return r.Object(v.Members, func(name string) (err error) {
			switch name {
			case "kind":
				kind, err = r.String()
			case "apiVersion":
				version, err = r.String()
			case v.Question:
				err = read(r)
			default:
				err = r.Skip()
			}
			return err
		})
	})
	if err != nil {
		return err
	}
	if kind != v.Kind || version != v.APIVersion {
		return fmt.Errorf("%w: a %s of %s is wanted, this is %.64q of %.64q", ErrMalformed, v.Kind, v.APIVersion, kind, version)
	}
	return nil
}
