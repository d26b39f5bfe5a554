package faults

import (
	"fmt"
	"strings"
)

// lastLine returns the number in the last whole line of a log, and an error if a line
// does not follow the one before it. It is -1 if there is no line yet.
func lastLine(log string) (int, error) {
	last := -1
	for line := range strings.Lines(log) {
		if !strings.HasSuffix(line, "\n") {
			break
		}
		var number int
		if _, err := fmt.Sscanf(line, "line %d\n", &number); err != nil {
			return last, fmt.Errorf("%q after line %d", line, last)
		}
		if last >= 0 && number != last+1 {
			return last, fmt.Errorf("line %d after line %d", number, last)
		}
		last = number
	}
	return last, nil
}
