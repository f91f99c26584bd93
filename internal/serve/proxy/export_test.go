package proxy

// What the tests look at from outside.
var (
	ParseTarget  = parseTarget
	DialLoopback = dialLoopback
	Limit        = limit
)
