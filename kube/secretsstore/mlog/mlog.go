// Package mlog stands for the module of this name, of which the Secrets Store CSI
// driver takes these six names to say how it logs. What is logged here goes to klog.
package mlog

import (
	"context"

	"k8s.io/klog/v2"
)

// A Format is one of a log.
type Format string

// The formats that the driver can be told.
const (
	FormatText Format = "text"
	FormatJSON Format = "json"
)

// Setup returns what is to be done at the end.
func Setup() func() { return klog.Flush }

// ValidateAndSetKlogLevelAndFormatGlobally leaves the level and the format that klog has.
func ValidateAndSetKlogLevelAndFormatGlobally(context.Context, klog.Level, Format) error { return nil }

// Error logs an error.
func Error(what string, err error, more ...any) { klog.ErrorS(err, what, more...) }

// Fatal logs an error and ends the process.
func Fatal(err error) { klog.Fatal(err) }
