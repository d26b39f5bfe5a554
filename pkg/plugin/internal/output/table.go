package output

import (
	"fmt"
	"io"
	"strings"

	"github.com/olekukonko/tablewriter"
	"github.com/olekukonko/tablewriter/pkg/twwidth"
	"github.com/olekukonko/tablewriter/renderer"
	"github.com/olekukonko/tablewriter/tw"
)

const (
	// columnGap is between two columns, as kubectl has it.
	columnGap = 3
	// narrowestColumn is how far a column shrinks on a narrow terminal.
	narrowestColumn = 8
)

// Table draws rows, the first one as the head, as kubectl does: without
// borders, every column as wide as its longest cell. Cells are wrapped if the
// table is wider than the console's terminal.
func (c *Console) Table(rows [][]string) error {
	var drawn strings.Builder
	table := tablewriter.NewTable(&drawn,
		tablewriter.WithRenderer(renderer.NewBlueprint(tw.Rendition{
			Borders: tw.BorderNone,
			Symbols: tw.NewSymbols(tw.StyleNone),
			Settings: tw.Settings{
				Separators: tw.SeparatorsNone,
				Lines:      tw.LinesNone,
			},
		})),
		tablewriter.WithConfig(tablewriter.Config{Header: cells(), Row: cells()}),
	)
	rows = wrapCells(rows, c.width)
	table.Header(rows[0])
	if err := table.Bulk(rows[1:]); err != nil {
		return fmt.Errorf("draw a table: %w", err)
	}
	if err := table.Render(); err != nil {
		return fmt.Errorf("draw a table: %w", err)
	}
	for line := range strings.Lines(drawn.String()) {
		if _, err := io.WriteString(c.out, strings.TrimRight(line, " \n")+"\n"); err != nil {
			return err
		}
	}
	return nil
}

// cells leaves texts as they are, on the left, and puts the gap to their right.
func cells() tw.CellConfig {
	return tw.CellConfig{
		Alignment:  tw.CellAlignment{Global: tw.AlignLeft},
		Formatting: tw.CellFormatting{AutoWrap: tw.WrapNone, AutoFormat: tw.Off},
		Padding:    tw.CellPadding{Global: tw.Padding{Right: strings.Repeat(" ", columnGap), Overwrite: true}},
	}
}

// wrapCells returns the rows with their cells wrapped to what there is room for;
// a width of 0 is room for everything.
func wrapCells(rows [][]string, width int) [][]string {
	limits := columnWidths(rows, width)
	wrapped := make([][]string, len(rows))
	for i, row := range rows {
		wrapped[i] = make([]string, len(row))
		for j, cell := range row {
			wrapped[i][j] = strings.Join(wrap(cell, limits[j], breakWords), "\n")
		}
	}
	return wrapped
}

// columnWidths shares a terminal's width among the columns: the widest ones give
// way, all to the same width, until the table fits.
func columnWidths(rows [][]string, width int) []int {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for j, cell := range row {
			widths[j] = max(widths[j], twwidth.Width(Line(cell)))
		}
	}
	if width == 0 {
		return widths
	}
	widest := 0
	for _, w := range widths {
		widest = max(widest, w)
	}
	room := width - columnGap*(len(widths)-1)
	for limit := widest; limit >= narrowestColumn; limit-- {
		total := 0
		for j := range widths {
			widths[j] = min(widths[j], limit)
			total += widths[j]
		}
		if total <= room {
			break
		}
	}
	return widths
}
