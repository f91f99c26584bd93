package arm

// ParseRoute lets tests see what a path is taken for: its kind, place and name.
func ParseRoute(path string) (kind, at, name string, err error) {
	r, err := parseRoute(path)
	return string(r.kind), r.at.String(), r.name, err
}

// ParseFilter reads a filter of three shapes and writes it again.
func ParseFilter(text string) (string, error) {
	f, err := parseFilter(text, term{name: "atScope", bare: true}, term{name: "principalId", eq: true}, term{name: "assignedTo"})
	return f.String(), err
}
