// Package store is where the house keeps its state. A change is committed in one
// transaction together with its audit record, so that an unaudited write cannot
// be expressed; every replica follows the changes into an immutable snapshot, so
// that a decision never waits for the store; and a replica that lost touch with
// the store knows how old its snapshot is, and says so.
package store
