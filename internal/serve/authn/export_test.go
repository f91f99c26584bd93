package authn

// ReadForTest shows the reader to the fuzz test.
func ReadForTest(body []byte) (token string, audiences []string, err error) {
	q, err := readReview(body)
	return q.token, q.audiences, err
}

// NoSystemForTest shows the second lock, which the directory's own never lets
// anybody reach.
func NoSystemForTest(name string, groups ...string) error {
	return noSystem(user{Username: name, Groups: groups})
}
