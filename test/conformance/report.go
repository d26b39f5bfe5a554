package main

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
)

// writeReports writes the table as JSON, as JUnit for CI, and as Markdown.
func writeReports(folder string, rows []row) error {
	asJSON, err := json.MarshalIndent(struct {
		Counts map[verdict]int `json:"counts"`
		Specs  []row           `json:"specs"`
	}{count(rows), rows}, "", "  ")
	if err != nil {
		return fmt.Errorf("encode report: %w", err)
	}
	asXML, err := junit(rows)
	if err != nil {
		return err
	}
	for name, content := range map[string][]byte{"report.json": asJSON, "junit.xml": asXML, "report.md": []byte(markdown(rows))} {
		if err := os.WriteFile(filepath.Join(folder, name), content, 0o644); err != nil { //nolint:gosec // nothing in it is secret
			return fmt.Errorf("write report: %w", err)
		}
	}
	return nil
}

// junit reports a failure for each spec that fails only through AK. Specs that
// do not pass directly are skipped.
func junit(rows []row) ([]byte, error) {
	type message struct {
		Message string `xml:"message,attr"`
	}
	type testCase struct {
		Name    string   `xml:"name,attr"`
		Class   string   `xml:"classname,attr"`
		Time    float64  `xml:"time,attr"`
		Failure *message `xml:"failure"`
		Skipped *message `xml:"skipped"`
	}
	type testSuite struct {
		XMLName xml.Name `xml:"testsuite"`
		Name    string   `xml:"name,attr"`
		Tests   int      `xml:"tests,attr"`
		Cases   []testCase
	}
	suite := testSuite{Name: "conformance through AK", Tests: len(rows)}
	for i := range rows {
		one := testCase{Name: rows[i].Spec, Class: "conformance", Time: rows[i].Through.Seconds}
		switch rows[i].Verdict {
		case passedBoth, passedThrough, failedDirect:
		case failedThrough:
			one.Failure = &message{rows[i].Through.Message}
		case excepted, failedBoth, onlyDirect, notRun:
			one.Skipped = &message{string(rows[i].Verdict)}
		}
		suite.Cases = append(suite.Cases, one)
	}
	content, err := xml.MarshalIndent(suite, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode JUnit report: %w", err)
	}
	return append([]byte(xml.Header), content...), nil
}

func markdown(rows []row) string {
	var b strings.Builder
	b.WriteString("# Conformance\n\n| | specs |\n|---|---:|\n")
	counts := count(rows)
	for _, v := range verdicts() {
		fmt.Fprintf(&b, "| %s | %d |\n", v, counts[v])
	}
	for _, v := range verdicts() {
		if counts[v] == 0 || v == passedBoth || v == passedThrough || v == onlyDirect {
			continue
		}
		fmt.Fprintf(&b, "\n## %s\n\n", strings.ToUpper(string(v[:1]))+string(v[1:]))
		for i := range rows {
			if rows[i].Verdict == v {
				fmt.Fprintf(&b, "- %s\n", rows[i].Spec)
				for s, c := range map[side]cell{direct: rows[i].Direct, through: rows[i].Through} {
					if c.Message != "" {
						fmt.Fprintf(&b, "  - %s: %s (%s)\n", s, c.Message, c.Log)
					}
				}
			}
		}
	}
	if repeated := onlyRepeated(rows); len(repeated) > 0 {
		b.WriteString("\n## Passed both, but not at once\n\n")
		for i := range repeated {
			fmt.Fprintf(&b, "- %s\n", repeated[i].Spec)
		}
	}
	b.WriteString("\n## All\n\n| spec | direct | s | through AK | s |\n|---|---|---:|---|---:|\n")
	for i := range rows {
		r := &rows[i]
		spec := strings.ReplaceAll(r.Spec, "|", `\|`)
		fmt.Fprintf(&b, "| %s | %s | %.1f | %s | %.1f |\n", spec, r.Direct, r.Direct.Seconds, r.Through, r.Through.Seconds)
	}
	return b.String()
}

// String is the state, and how many attempts passed if there were several.
func (c cell) String() string {
	switch {
	case c.State == "":
		return "-"
	case c.Attempts > 1:
		return fmt.Sprintf("%s (%d of %d)", c.State, c.Passed, c.Attempts)
	}
	return string(c.State)
}

// printSummary prints the table, then the differences and the counts.
func printSummary(out io.Writer, rows []row) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "DIRECT\tS\tTHROUGH AK\tS\tSPEC")
	for _, v := range verdicts() {
		for i := range rows {
			r := &rows[i]
			if r.Verdict == v && r.Direct.Attempts+r.Through.Attempts > 0 {
				fmt.Fprintf(table, "%s\t%.1f\t%s\t%.1f\t%s\n", r.Direct, r.Direct.Seconds, r.Through, r.Through.Seconds, r.Spec)
			}
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, name := range with(rows, failedThrough) {
		for i := range rows {
			if rows[i].Spec == name {
				fmt.Fprintf(out, "\n%s\n  %s\n  %s\n", name, rows[i].Through.Message, rows[i].Through.Log)
			}
		}
	}
	fmt.Fprintln(out)
	counts := count(rows)
	for _, v := range verdicts() {
		fmt.Fprintf(out, "%5d  %s\n", counts[v], v)
	}
	if repeated := onlyRepeated(rows); len(repeated) > 0 {
		fmt.Fprintf(out, "\n%d of those that passed both failed at first and passed when repeated:\n", len(repeated))
		for i := range repeated {
			fmt.Fprintf(out, "  %s: direct %s, through AK %s\n", repeated[i].Spec, repeated[i].Direct, repeated[i].Through)
		}
	}
	return nil
}
