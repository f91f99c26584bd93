package authz

import "github.com/gatehouse-io/gatehouse/internal/kuberbac"

// ReadForTest shows the reader to the fuzz test: what it takes from a review.
func ReadForTest(body []byte) (user string, groups, oid, credentials []string, resource, path bool, a kuberbac.Attributes, err error) {
	q, err := readReview(body)
	return q.user, q.groups, q.oid, q.credentials, q.resource, q.path, q.attributes, err
}
