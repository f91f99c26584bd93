package servetest

import "io"

// After returns a body that does something before it is read, as one that was slow to
// arrive.
func After(do func(), body io.Reader) io.Reader { return io.MultiReader(&once{do}, body) }

type once struct{ do func() }

// Read implements io.Reader. It has nothing.
func (o *once) Read([]byte) (int, error) {
	o.do()
	return 0, io.EOF
}
