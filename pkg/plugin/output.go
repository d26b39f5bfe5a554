package plugin

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/printers"
)

// schemaVersion is that of what commands print for programs.
const schemaVersion = "actual.vk/v1alpha1"

// output is how a command shows its results: a table for people, or what
// kubectl's own printers make of them.
type output struct {
	flags *genericclioptions.PrintFlags
}

func newOutput(cmd *cobra.Command) *output {
	o := &output{flags: genericclioptions.NewPrintFlags("")}
	o.flags.NamePrintFlags = nil // the results are no objects of a cluster
	o.flags.AddFlags(cmd)
	cmd.Flags().Lookup("output").Usage = "Output format: wide, name, " + strings.Join(slices.Sorted(slices.Values(o.formats())), ", ")
	return o
}

// formats are those of kubectl's printers.
func (o *output) formats() []string {
	return slices.DeleteFunc(o.flags.AllowedFormats(), func(f string) bool { return f == "name" })
}

func (o *output) format() string { return *o.flags.OutputFormat }

// wide reports whether the table has all columns.
func (o *output) wide() bool { return o.format() == "wide" }

// check refuses a format that there is not before anything is asked of a cluster.
func (o *output) check() error {
	switch o.format() {
	case "", "wide", "name":
		return nil
	}
	if _, err := o.flags.ToPrinter(); err != nil {
		return usagef("%w", err)
	}
	return nil
}

// result is what a command found.
type result struct {
	kind  string
	items any        // the same for programs: a slice that encodes to JSON
	names []string   // for -o name
	head  []string   // of the table; columns after narrow are for -o wide
	rows  [][]string // of the table
	// narrow is how many columns are always shown.
	narrow int
}

// write shows the result in the chosen format.
func (o *output) write(out io.Writer, r result) error {
	switch o.format() {
	case "", "wide":
		return r.table(out, o.wide())
	case "name":
		for _, name := range r.names {
			printf(out, "%s\n", name)
		}
		return nil
	}
	printer, err := o.flags.ToPrinter()
	if err != nil {
		return usagef("%w", err)
	}
	encoded, err := json.Marshal(map[string]any{"apiVersion": schemaVersion, "kind": r.kind, "items": r.items})
	if err != nil {
		return fmt.Errorf("encode the result: %w", err)
	}
	object := &unstructured.Unstructured{}
	if err := json.Unmarshal(encoded, &object.Object); err != nil {
		return fmt.Errorf("encode the result: %w", err)
	}
	return printer.PrintObj(object, out)
}

func (r result) table(out io.Writer, wide bool) error {
	columns := len(r.head)
	if !wide {
		columns = r.narrow
	}
	writer := printers.GetNewTabWriter(out)
	for _, row := range append([][]string{r.head}, r.rows...) {
		cells := slices.Clone(row[:columns])
		for i := range cells {
			if cells[i] == "" {
				cells[i] = "<none>"
			}
		}
		printf(writer, "%s\n", strings.Join(cells, "\t"))
	}
	return writer.Flush()
}
