package azure_test

import (
	"testing"

	"github.com/gatehouse-io/gatehouse/test/azure"
)

// The documents that Gatehouse was made after, command by command. Stories 13, 14
// and 15, and the errors that they name.
func TestTheCommandsOfTheDocuments(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"source-003.transcript", "source-004.transcript"} {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			playTranscript(t, azure.Start(t, azure.Options{Clusters: true}), file)
		})
	}
}
