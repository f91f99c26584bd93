package store

// The layout of keys is no business of other packages, but its laws are tested.
var (
	RecordKey      = recordKey
	ParseRecordKey = parseRecordKey
)
