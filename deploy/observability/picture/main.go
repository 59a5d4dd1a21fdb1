// Command picture draws a dashboard of deploy/observability/dashboards as a PNG file, from the data of a Prometheus
// server. It draws the README's picture without Grafana:
//
//	go run ./deploy/observability/picture -prometheus http://127.0.0.1:9090 -out .github/images/dashboard.png
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/go-analyze/charts"
	"github.com/prometheus/client_golang/api"
	prometheus "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
)

// The picture has the proportions of Grafana's grid, which is 24 columns wide. Sizes are in pixels.
const (
	gridColumns = 24
	columnWidth = 54
	rowHeight   = 28
	points      = 150 // of each line
)

type dashboard struct {
	Panels []panel `json:"panels"`
}

type panel struct {
	Title   string `json:"title"`
	GridPos struct {
		X, Y, W, H int
	} `json:"gridPos"`
	Targets []struct {
		Expr         string `json:"expr"`
		LegendFormat string `json:"legendFormat"`
	} `json:"targets"`
	FieldConfig struct {
		Defaults struct {
			Unit string `json:"unit"`
		} `json:"defaults"`
	} `json:"fieldConfig"`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "picture:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	address := flag.String("prometheus", "http://127.0.0.1:9090", "the Prometheus server")
	name := flag.String("dashboard", "business", "a dashboard of deploy/observability/dashboards, without .json")
	rows := flag.Int("rows", 14, "how many rows of the grid to draw; a panel is 7 rows high")
	period := flag.Duration("period", 15*time.Minute, "the period before now to draw")
	out := flag.String("out", "dashboard.png", "the file to write")
	flag.Parse()

	content, err := os.ReadFile(filepath.Join("deploy", "observability", "dashboards", *name+".json"))
	if err != nil {
		return fmt.Errorf("read the dashboard: %w", err)
	}
	var board dashboard
	if err := json.Unmarshal(content, &board); err != nil {
		return fmt.Errorf("read dashboard %s: %w", *name, err)
	}
	client, err := api.NewClient(api.Config{Address: *address})
	if err != nil {
		return fmt.Errorf("connect to Prometheus: %w", err)
	}
	now := time.Now()
	window := prometheus.Range{Start: now.Add(-*period), End: now, Step: *period / points}

	canvas := charts.NewPainter(charts.PainterOptions{
		OutputFormat: charts.ChartOutputPNG, Width: gridColumns * columnWidth, Height: *rows * rowHeight,
		Theme: charts.GetTheme(charts.ThemeLight),
	})
	canvas.FilledRect(0, 0, canvas.Width(), canvas.Height(), charts.ColorWhite, charts.ColorWhite, 0)
	for _, p := range board.Panels {
		at := p.GridPos
		if at.Y+at.H > *rows {
			continue
		}
		lines, err := query(ctx, prometheus.NewAPI(client), p, window)
		if err != nil {
			return fmt.Errorf("panel %q: %w", p.Title, err)
		}
		box := charts.NewBox(at.X*columnWidth, at.Y*rowHeight, (at.X+at.W)*columnWidth, (at.Y+at.H)*rowHeight)
		if err := draw(canvas.Child(charts.PainterBoxOption(box)), p, lines, window); err != nil {
			return fmt.Errorf("panel %q: %w", p.Title, err)
		}
	}
	picture, err := canvas.Bytes()
	if err != nil {
		return fmt.Errorf("draw the picture: %w", err)
	}
	return os.WriteFile(*out, picture, 0o644) //nolint:gosec // a picture that everyone may read
}

// query returns a line for each series of a panel's queries, with a value for each step of the window.
func query(ctx context.Context, from prometheus.API, p panel, window prometheus.Range) (charts.LineSeriesList, error) {
	var lines charts.LineSeriesList
	for _, target := range p.Targets {
		expr := strings.ReplaceAll(target.Expr, "$__rate_interval", "1m")
		result, _, _, err := from.QueryRange(ctx, expr, window)
		if err != nil {
			return nil, fmt.Errorf("query Prometheus: %w", err)
		}
		matrix, isMatrix := result.(model.Matrix)
		if !isMatrix {
			return nil, errors.New("the query has no range of values")
		}
		for _, series := range matrix {
			line := charts.LineSeries{Name: legend(target.LegendFormat, series.Metric), Values: make([]float64, points+1)}
			for i := range line.Values {
				line.Values[i] = charts.GetNullValue()
			}
			for _, sample := range series.Values {
				value := float64(sample.Value)
				if i := int(sample.Timestamp.Time().Sub(window.Start) / window.Step); i <= points && !math.IsNaN(value) {
					line.Values[i] = value
				}
			}
			lines = append(lines, line)
		}
	}
	return lines, nil
}

var placeholder = regexp.MustCompile(`{{(\w+)}}`)

// legend replaces each {{label}} of a format by the metric's value of that label.
func legend(format string, metric model.Metric) string {
	return placeholder.ReplaceAllStringFunc(format, func(found string) string {
		return string(metric[model.LabelName(placeholder.FindStringSubmatch(found)[1])])
	})
}

func draw(on *charts.Painter, p panel, lines charts.LineSeriesList, window prometheus.Range) error {
	var times, names []string
	for i := range points + 1 {
		times = append(times, window.Start.Add(time.Duration(i)*window.Step).UTC().Format("15:04"))
	}
	for _, line := range lines {
		names = append(names, line.Name)
	}
	small := charts.FontStyle{FontSize: 8}
	return on.LineChart(charts.LineChartOption{
		Padding:    charts.NewBox(14, 12, 18, 10),
		SeriesList: lines,
		Title:      charts.TitleOption{Text: p.Title, FontStyle: charts.FontStyle{FontSize: 11}},
		Legend: charts.LegendOption{
			SeriesNames: names, FontStyle: small, Symbol: charts.SymbolSquare,
			Offset: charts.OffsetStr{Left: charts.PositionLeft, Top: charts.PositionBottom},
		},
		XAxis:           charts.XAxisOption{Labels: times, LabelCount: 4, LabelFontStyle: small},
		YAxis:           []charts.YAxisOption{{Min: charts.Ptr(0.0), LabelCount: 4, LabelFontStyle: small}},
		LineStrokeWidth: 1.5,
		Symbol:          charts.Symbol{Shape: charts.SymbolNone},
		ValueFormatter: func(v float64) string {
			return strconv.FormatFloat(math.Round(v*100)/100, 'f', -1, 64) + unit(p.FieldConfig.Defaults.Unit)
		},
	})
}

// unit returns how a value of one of Grafana's units ends.
func unit(grafana string) string {
	switch grafana {
	case "s":
		return " s"
	case "cps", "reqps":
		return "/s"
	default:
		return ""
	}
}
