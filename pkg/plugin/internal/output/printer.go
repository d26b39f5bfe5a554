package output

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/cli-runtime/pkg/genericclioptions"

	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/failure"
)

// SchemaVersion is that of what commands print for programs.
const SchemaVersion = "actual.vk/v1alpha1"

// Printer shows results as -o says: as a table, or with kubectl's own printers.
type Printer struct {
	flags *genericclioptions.PrintFlags
}

// NewPrinter adds -o to a command and returns the printer that it selects.
func NewPrinter(cmd *cobra.Command) *Printer {
	p := &Printer{flags: genericclioptions.NewPrintFlags("")}
	p.flags.NamePrintFlags = nil // results are not objects of a cluster
	p.flags.AddFlags(cmd)
	formats := slices.DeleteFunc(p.flags.AllowedFormats(), func(f string) bool { return f == "name" })
	slices.Sort(formats)
	cmd.Flags().Lookup("output").Usage = "output format: wide, name, " + strings.Join(formats, ", ")
	return p
}

func (p *Printer) format() string { return *p.flags.OutputFormat }

// Wide reports whether the table has all columns.
func (p *Printer) Wide() bool { return p.format() == "wide" }

// ForPeople reports whether results are shown as a table.
func (p *Printer) ForPeople() bool { return p.format() == "" || p.Wide() }

// Validate refuses an unknown format before a cluster is contacted.
func (p *Printer) Validate() error {
	if p.ForPeople() || p.format() == "name" {
		return nil
	}
	_, err := p.flags.ToPrinter()
	return failure.Usage(err)
}

// List is what a command found.
type List struct {
	Kind  string
	Items any        // for programs: a slice that encodes to JSON
	Names []string   // for -o name
	Head  []string   // of the table
	Rows  [][]string // of the table, a cell for each column
	// Narrow is how many columns the table has without -o wide.
	Narrow int
}

// Print shows a list in the selected format.
func (p *Printer) Print(to *Console, list *List) error {
	if p.ForPeople() {
		return to.Table(list.table(p.Wide()))
	}
	if p.format() == "name" {
		for _, name := range list.Names {
			to.Printf("%s\n", name)
		}
		return nil
	}
	printer, err := p.flags.ToPrinter()
	if err != nil {
		return failure.Usage(err)
	}
	found := map[string]any{"apiVersion": SchemaVersion, "kind": list.Kind, "items": list.Items}
	if p.format() == "yaml" { // kubectl's printer fails on some characters
		content, err := YAML(found)
		if err != nil {
			return fmt.Errorf("encode the result: %w", err)
		}
		_, err = to.Write(content)
		return err
	}
	encoded, err := json.Marshal(found)
	if err != nil {
		return fmt.Errorf("encode the result: %w", err)
	}
	object := &unstructured.Unstructured{}
	if err := json.Unmarshal(encoded, &object.Object); err != nil {
		return fmt.Errorf("encode the result: %w", err)
	}
	return printer.PrintObj(object, to)
}

// table is the list's table. What is empty is <none>, as in kubectl's.
func (l *List) table(wide bool) [][]string {
	columns := l.Narrow
	if wide {
		columns = len(l.Head)
	}
	rows := [][]string{l.Head[:columns]}
	for _, row := range l.Rows {
		cells := slices.Clone(row[:columns])
		for i := range cells {
			if cells[i] == "" {
				cells[i] = "<none>"
			}
		}
		rows = append(rows, cells)
	}
	return rows
}
