package azure_test

import (
	"os"
	"testing"

	"github.com/gatehouse-io/gatehouse/test/azure"
)

func TestMain(m *testing.M) { os.Exit(azure.Main(m)) }
