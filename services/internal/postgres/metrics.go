package postgres

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
)

// Gauges are the gauges whose values a query returns.
type Gauges struct {
	// Query returns the values of the labels, as text, and then the values of the gauges. It runs every few seconds on
	// each replica. Its cost must not grow with the table, so that it needs a partial index, for example.
	Query  string
	Args   []any
	Labels []string
	Values []Gauge
}

// Gauge is the name and the help text of a gauge.
type Gauge struct{ Name, Help string }

const (
	// gaugesMaxAge is for how long values are reused, so that several scrapes share a query.
	gaugesMaxAge = 5 * time.Second
	// gaugesTimeout bounds all queries together.
	gaugesTimeout = 2 * time.Second
)

// Collector returns a collector of the pool's metrics and of the gauges. All replicas of a service report the same
// values of gauges, so that queries over replicas take the maximum. If the database does not respond, the gauges are
// absent and database_gauges_up is 0.
func Collector(pool *pgxpool.Pool, gauges ...[]Gauges) prometheus.Collector {
	return &collector{pool: pool, gauges: slices.Concat(gauges...)}
}

type collector struct {
	pool   *pgxpool.Pool
	gauges []Gauges

	mu      sync.Mutex // held during queries, so that concurrent scrapes share them
	queried time.Time
	metrics []prometheus.Metric
	up      bool // whether all queries succeeded
}

var (
	gaugesUp = prometheus.NewDesc("database_gauges_up",
		"1 if the gauges from the database are present, 0 if a query failed.", nil, nil)
	poolConnections = prometheus.NewDesc("database_pool_connections",
		"Connections to the database, by state.", []string{"state"}, nil)
	poolLimit = prometheus.NewDesc("database_pool_limit_connections",
		"Maximum number of connections to the database.", nil, nil)
	poolAcquires = prometheus.NewDesc("database_pool_acquires_total",
		"Connections acquired from the pool.", nil, nil)
	poolWaits = prometheus.NewDesc("database_pool_waits_total",
		"Acquisitions that had to wait for a connection.", nil, nil)
	poolWaitSeconds = prometheus.NewDesc("database_pool_wait_seconds_total",
		"Total time that acquisitions have waited.", nil, nil)
)

func (g Gauges) desc(v Gauge) *prometheus.Desc {
	return prometheus.NewDesc(v.Name, v.Help, g.Labels, nil)
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(to chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{
		gaugesUp, poolConnections, poolLimit, poolAcquires, poolWaits, poolWaitSeconds,
	} {
		to <- desc
	}
	for _, g := range c.gauges {
		for _, v := range g.Values {
			to <- g.desc(v)
		}
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(to chan<- prometheus.Metric) {
	stat := c.pool.Stat()
	send := func(kind prometheus.ValueType, desc *prometheus.Desc, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(desc, kind, value, labels...)
	}
	send(prometheus.GaugeValue, poolConnections, float64(stat.AcquiredConns()), "used")
	send(prometheus.GaugeValue, poolConnections, float64(stat.IdleConns()), "idle")
	send(prometheus.GaugeValue, poolConnections, float64(stat.ConstructingConns()), "connecting")
	send(prometheus.GaugeValue, poolLimit, float64(stat.MaxConns()))
	send(prometheus.CounterValue, poolAcquires, float64(stat.AcquireCount()))
	send(prometheus.CounterValue, poolWaits, float64(stat.EmptyAcquireCount()))
	send(prometheus.CounterValue, poolWaitSeconds, stat.EmptyAcquireWaitTime().Seconds())

	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.queried) > gaugesMaxAge {
		metrics, err := c.query()
		if err != nil {
			slog.Warn("query gauges failed", "error", err.Error())
		}
		c.queried, c.metrics, c.up = time.Now(), metrics, err == nil
	}
	up := 0.0
	if c.up {
		up = 1
	}
	send(prometheus.GaugeValue, gaugesUp, up)
	for _, m := range c.metrics {
		to <- m
	}
}

// query runs all queries.
func (c *collector) query() ([]prometheus.Metric, error) {
	// prometheus.Collector has no context. That of a request would be wrong, because other scrapes share the result.
	ctx, cancel := context.WithTimeout(context.Background(), gaugesTimeout)
	defer cancel()
	var metrics []prometheus.Metric
	for _, g := range c.gauges {
		labels, values := make([]string, len(g.Labels)), make([]float64, len(g.Values))
		var columns []any
		for i := range labels {
			columns = append(columns, &labels[i])
		}
		for i := range values {
			columns = append(columns, &values[i])
		}
		rows, err := c.pool.Query(ctx, g.Query, g.Args...)
		if err == nil {
			_, err = pgx.ForEachRow(rows, columns, func() error {
				for i, v := range g.Values {
					m := prometheus.MustNewConstMetric(g.desc(v), prometheus.GaugeValue, values[i], labels...)
					metrics = append(metrics, m)
				}
				return nil
			})
		}
		if err != nil {
			return nil, fmt.Errorf("query %s: %w", g.Values[0].Name, err)
		}
	}
	return metrics, nil
}
