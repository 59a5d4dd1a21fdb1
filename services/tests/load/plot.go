package main

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/go-analyze/charts"
)

// Sizes of the chart, in pixels.
const (
	plotWidth = 900
	plotHead  = 90 // title, legend and axis of a panel
	plotBar   = 26 // one bar
)

// plot draws an SVG with a bar chart for each measurement. It shows the figure of the first row, for every case that
// has this figure.
func (r *report) plot() ([]byte, error) {
	type panel struct {
		chart  charts.BarChartOption
		height int
	}
	var panels []panel
	total := 0
	for _, res := range r.Results {
		if len(res.Rows) == 0 {
			continue
		}
		first := res.Rows[0]
		var cases, sides []string
		var values [][]float64
		for side, name := range res.Sides {
			if len(first.Values[side]) > 0 {
				sides, values = append(sides, name), append(values, nil)
			}
		}
		// The chart draws from the bottom, so the first case has to come last to be at the top.
		for _, row := range slices.Backward(res.Rows) {
			if row.What != first.What || row.Unit != first.Unit {
				continue
			}
			cases = append(cases, row.Case)
			for side := range sides {
				values[side] = append(values[side], row.median(side))
			}
		}
		chart := charts.NewBarChartOptionWithData(values)
		chart.Horizontal = true
		chart.Title = charts.TitleOption{
			Text: fmt.Sprintf("%d. %s: %s, %s", res.Number, res.Title, first.What, first.Unit),
		}
		chart.Title.FontStyle.FontSize = 11
		chart.CategoryAxis.Labels = cases
		chart.ValueAxis[0].Min, chart.ValueAxis[0].LabelCount = charts.Ptr(0.0), 5
		chart.Legend = charts.LegendOption{SeriesNames: sides, Offset: charts.OffsetStr{Left: charts.PositionRight}}
		for i := range chart.SeriesList {
			chart.SeriesList[i].Label = charts.SeriesLabel{Show: charts.Ptr(true), ValueFormatter: number}
		}
		chart.ValueFormatter = number
		height := plotHead + plotBar*len(cases)*len(sides)
		panels = append(panels, panel{chart, height})
		total += height
	}
	p := charts.NewPainter(charts.PainterOptions{
		OutputFormat: charts.ChartOutputSVG, Width: plotWidth, Height: max(total, plotHead),
	})
	layout := p.LayoutByRows()
	for i, panel := range panels {
		layout = layout.Row().Height(strconv.Itoa(panel.height)).Columns(strconv.Itoa(i))
	}
	places, err := layout.Build()
	if err != nil {
		return nil, fmt.Errorf("draw the results: %w", err)
	}
	for i, panel := range panels {
		if err := places[strconv.Itoa(i)].BarChart(panel.chart); err != nil {
			return nil, fmt.Errorf("draw the results: %w", err)
		}
	}
	svg, err := p.Bytes()
	if err != nil {
		return nil, fmt.Errorf("draw the results: %w", err)
	}
	return svg, nil
}
