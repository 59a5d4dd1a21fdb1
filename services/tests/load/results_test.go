package main

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSpreadHasMedianMinimumAndMaximum(t *testing.T) {
	t.Parallel()
	require.Equal(t, spread{3, 1, 9}, spreadOf([]float64{9, 1, 3}))
	require.InDelta(t, 2.5, spreadOf([]float64{4, 1, 2, 3}).median, 0)
	require.Equal(t, "–", spreadOf(nil).String(), "no value is shown as a dash, not as zero")
}

func TestNumberKeepsThreeDigits(t *testing.T) {
	t.Parallel()
	for v, want := range map[float64]string{
		0: "0.000", 0.1234: "0.123", 1.005: "1.00", 12.345: "12.3", 123.45: "123", 1234.5: "1,234",
		10_000_000: "10,000,000", -1234: "-1,234", -0.5: "-0.500", math.NaN(): "–", math.Inf(1): "–",
	} {
		require.Equal(t, want, number(v))
	}
}

func TestRatioComparesValuesOfTheSameTurn(t *testing.T) {
	t.Parallel()
	r := results{Sides: []string{"ours", "plain"}}
	row := r.row("64 clients", "reservations", "per second")
	// The machine was half as fast in the second turn, which must not affect the ratio.
	for _, turn := range [][2]float64{{500, 100}, {250, 50}, {600, 100}} {
		row.add(0, turn[0])
		row.add(1, turn[1])
	}
	require.Equal(t, spread{5, 5, 6}, row.ratio(1))
	require.Same(t, row, r.row("64 clients", "reservations", "per second"))
}

func TestReportContainsTablesFiguresAndChart(t *testing.T) {
	t.Parallel()
	rep := report{Machine: machine{CPU: "Some CPU", Cores: 2}, Results: []results{
		{Number: 1, Title: "Reserving", Sides: []string{"ours", "plain"}},
		{Number: 4, Title: "Mails", Sides: []string{"as shipped"}},
	}}
	compared := &rep.Results[0]
	for _, name := range []string{"64 clients", "256 clients"} {
		for side, v := range []float64{3000, 600} {
			compared.row(name, "reservations", "per second").add(side, v)
			compared.row(name, "reservations", "per second").add(side, v*2)
		}
	}
	compared.row("64 clients", "reservations", "per second").aim("at least 5 times", true)
	compared.note("A note.")
	rep.Results[1].row("orders", "p99", "ms").add(0, 12)
	rep.Results[1].row("orders", "p99", "ms").aim("under 10", false)

	dir := t.TempDir()
	require.NoError(t, rep.write(dir))
	read := func(name string) string {
		content, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		return string(content)
	}
	md := read("bench.md")
	require.Contains(t, md, "Some CPU, 2 cores")
	require.Contains(t, md, "|  | figure | ours | plain | ours ÷ plain | aim |\n|---|---|--:|--:|--:|---|\n")
	const figures = "4,500 (3,000–6,000) | 900 (600–1,200) | 5.00"
	require.Contains(t, md, "| 64 clients | reservations, per second | "+figures+" | at least 5 times: yes |")
	require.Contains(t, md, "| 256 clients | reservations, per second | "+figures+" |  |")
	require.Contains(t, md, "|  | figure | as shipped | aim |\n|---|---|--:|---|\n"+
		"| orders | p99, ms | 12.0 | under 10: no |")
	require.Contains(t, md, "* A note.")

	var again report
	require.NoError(t, json.Unmarshal([]byte(read("bench.json")), &again))
	require.Equal(t, []float64{3000, 6000}, again.Results[0].Rows[0].Values[0], "the JSON contains every single figure")
	svg := read("bench.svg")
	require.True(t, strings.HasPrefix(svg, "<svg"), "%.40s", svg)
	require.Contains(t, svg, "256 clients")
	require.Contains(t, svg, "4,500")

	var terminal strings.Builder
	require.NoError(t, compared.print(&terminal))
	require.Contains(t, terminal.String(), "at least 5 times: yes")
}

func TestChooseParsesMeasurementNumbers(t *testing.T) {
	t.Parallel()
	all, err := choose("")
	require.NoError(t, err)
	require.Len(t, all, len(measurements))
	some, err := choose("5, 1")
	require.NoError(t, err)
	require.Equal(t, []int{5, 1}, some)
	for _, bad := range []string{"0", "8", "one", "1,,2"} {
		_, err := choose(bad)
		require.ErrorContains(t, err, "-run")
	}
}
