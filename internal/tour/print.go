package tour

import (
	"fmt"
	"io"
	"strings"
)

// A Paint gives a text a colour: "green", "red" or "dim". Nil leaves texts alone.
type Paint func(colour, text string) string

func (p Paint) paint(colour, text string) string {
	if p == nil {
		return text
	}
	return p(colour, text)
}

// Heading writes the heading of a story.
func Heading(w io.Writer, s Story, paint Paint) {
	fmt.Fprintf(w, "\nStory %d  %s\n  %s\n", s.Number, s.Title, paint.paint("dim", "("+s.Source+")"))
}

// Print writes a step: what was typed, what came out, and how it was judged.
func Print(w io.Writer, s Step, paint Paint) {
	who := s.Who
	if s.On != "" {
		who += " on " + s.On
	}
	fmt.Fprintf(w, "\n  %s$ %s\n", who, s.Command)
	for line := range strings.SplitSeq(s.Output, "\n") {
		if line != "" {
			fmt.Fprintf(w, "    %s\n", line)
		}
	}
	word := paint.paint("green", "ok")
	if !s.OK {
		word = paint.paint("red", "WRONG")
	}
	if s.Want != "" || !s.OK {
		fmt.Fprintf(w, "  %s  %s\n", word, s.Want)
	}
	if !s.OK {
		fmt.Fprintf(w, "  %s\n", strings.ReplaceAll(s.Missing, "\n", "\n  "))
	}
	if s.Why != "" {
		fmt.Fprintf(w, "  %s\n", paint.paint("dim", "why: "+s.Why))
	}
}

// Verdict writes how a story went.
func Verdict(w io.Writer, r Report, paint Paint) {
	word := paint.paint("green", "ok")
	if !r.OK {
		word = paint.paint("red", "FAILED")
	}
	fmt.Fprintf(w, "\nStory %d  %s  %.1f s\n", r.Number, word, float64(r.Took)/1000)
	if r.Failure != "" {
		fmt.Fprintf(w, "  %s\n", r.Failure)
	}
}
