package rehearse

// Buckets is how many buckets a meter keeps.
func Buckets(m *Meter) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.buckets)
}
