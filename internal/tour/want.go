package tour

import (
	"fmt"
	"strings"
)

// A Want is what a step should come to.
type Want struct {
	Words string // for people
	Fails bool   // the command is to end with an error
	// Exactly, when set, is all that is printed; one of several if there are several.
	Exactly []string
	Has     []string // must be in what is printed
	Lacks   []string // must not be in it
	Within  float64  // seconds; 0 is any time
}

// works wants a command to succeed.
func works(words string, has ...string) Want { return Want{Words: words, Has: has} }

// says wants a command to succeed and to print exactly this.
func says(words, text string) Want { return Want{Words: words, Exactly: []string{text}} }

// refused wants a command to fail with exactly this sentence.
func refused(text string) Want {
	return Want{Words: "refused, in exactly these words", Fails: true, Exactly: []string{text}}
}

// missing says how an outcome is not what was wanted; "" if it is.
func (w Want) missing(got Outcome) string {
	switch {
	case w.Fails && got.Exit == 0:
		return "it worked"
	case !w.Fails && got.Exit != 0:
		return fmt.Sprintf("it failed, with exit code %d", got.Exit)
	}
	if len(w.Exactly) > 0 {
		found := false
		for _, text := range w.Exactly {
			found = found || text == got.Text
		}
		if !found {
			return "want exactly: " + strings.Join(w.Exactly, "\n or: ")
		}
	}
	for _, text := range w.Has {
		if !strings.Contains(got.Text, text) {
			return fmt.Sprintf("%q is missing", text)
		}
	}
	for _, text := range w.Lacks {
		if strings.Contains(got.Text, text) {
			return fmt.Sprintf("%q should not be there", text)
		}
	}
	if w.Within > 0 && got.Took.Seconds() > w.Within {
		return fmt.Sprintf("it took %.1f s, want %.1f s at most", got.Took.Seconds(), w.Within)
	}
	return ""
}
