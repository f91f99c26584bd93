package registry

// ParseScopes reads scopes and writes them again.
func ParseScopes(text string) ([]string, error) {
	all, err := parseScopes([]string{text})
	var out []string
	for _, r := range all {
		one := r.Type + ":" + r.Name + ":"
		for i, a := range r.Actions {
			if i > 0 {
				one += ","
			}
			one += a
		}
		out = append(out, one)
	}
	return out, err
}
