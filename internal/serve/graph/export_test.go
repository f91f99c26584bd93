package graph

// ReadFilter parses a filter and writes it again.
func ReadFilter(text string) (string, error) {
	f, err := parseFilter(text)
	return f.String(), err
}
