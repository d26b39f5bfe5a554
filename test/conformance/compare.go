package main

import "slices"

// verdict is the outcome of a spec on both sides.
type verdict string

const (
	passedBoth    verdict = "passed both"
	passedThrough verdict = "passed through AK, not tried directly"
	failedThrough verdict = "failed only through AK"
	excepted      verdict = "failed only through AK, as exceptions.yaml says"
	failedDirect  verdict = "failed only directly"
	failedBoth    verdict = "failed both"
	onlyDirect    verdict = "tried directly only"
	notRun        verdict = "skipped itself, or has not run"
)

// verdicts are all of them, in the order of the reports.
func verdicts() []verdict {
	return []verdict{passedBoth, passedThrough, failedThrough, excepted, failedDirect, failedBoth, onlyDirect, notRun}
}

// row is one spec in the table.
type row struct {
	Spec    string  `json:"spec"`
	Verdict verdict `json:"verdict"`
	Direct  cell    `json:"direct"`
	Through cell    `json:"through"`
}

// cell is the outcome of a spec on one side.
type cell struct {
	State    state   `json:"state,omitempty"`
	Seconds  float64 `json:"seconds"`
	Attempts int     `json:"attempts"`
	Passed   int     `json:"passed"`
	Message  string  `json:"message,omitempty"`
	Log      string  `json:"log,omitempty"`
}

// compare makes a row of each spec. With always, every attempt has to pass;
// otherwise the last one counts.
func (r *results) compare(names []string, exceptions []exception, always bool) []row {
	rows := make([]row, 0, len(names))
	for _, name := range names {
		one := row{
			Spec:    name,
			Direct:  newCell(r.attempts[direct][name], always),
			Through: newCell(r.attempts[through][name], always),
		}
		one.Verdict = judge(one.Direct.State, one.Through.State)
		if one.Verdict == failedThrough && slices.ContainsFunc(exceptions, func(e exception) bool { return e.Spec == name }) {
			one.Verdict = excepted
		}
		rows = append(rows, one)
	}
	return rows
}

func newCell(attempts []result, always bool) cell {
	var c cell
	if len(attempts) == 0 {
		return c
	}
	for i := range attempts {
		if attempts[i].State == passed {
			c.Passed++
		}
	}
	shown := attempts[len(attempts)-1]
	if always {
		if at := slices.IndexFunc(attempts, func(one result) bool { return one.State != passed }); at >= 0 {
			shown = attempts[at]
		}
	}
	c.State, c.Seconds, c.Message, c.Log = shown.State, shown.Seconds, shown.Message, shown.Log
	c.Attempts = len(attempts)
	return c
}

func judge(direct, through state) verdict {
	switch {
	case direct == "" && through == passed:
		return passedThrough
	case direct == "":
		return notRun
	case through == "":
		return onlyDirect
	case direct == passed && through == passed:
		return passedBoth
	case direct == passed:
		// A spec that skips itself through AK counts as well: the node then
		// claims to lack something that the kubelet behind it has.
		return failedThrough
	case through == passed:
		return failedDirect
	case direct == skipped && through == skipped:
		return notRun
	}
	return failedBoth
}

// onlyRepeated returns the rows that pass both ways, but not at the first
// attempt: a reader should judge them.
func onlyRepeated(rows []row) []row {
	var found []row
	for i := range rows {
		r := &rows[i]
		if r.Verdict == passedBoth && (r.Direct.Passed < r.Direct.Attempts || r.Through.Passed < r.Through.Attempts) {
			found = append(found, *r)
		}
	}
	return found
}

// count counts the rows of each verdict.
func count(rows []row) map[verdict]int {
	counts := map[verdict]int{}
	for i := range rows {
		counts[rows[i].Verdict]++
	}
	return counts
}

// with returns the names of the rows that have one of the verdicts.
func with(rows []row, wanted ...verdict) []string {
	var names []string
	for i := range rows {
		if slices.Contains(wanted, rows[i].Verdict) {
			names = append(names, rows[i].Spec)
		}
	}
	return names
}
