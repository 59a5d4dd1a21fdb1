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

// Gauges are numbers that one query finds in a service's database.
type Gauges struct {
	// Query gives the labels' values, as text, and then the numbers. It runs every few seconds, on each replica, and has
	// to be as quick in a year as it is today: on a partial index, say.
	Query  string
	Args   []any
	Labels []string
	Values []Gauge
}

// Gauge is one of the numbers.
type Gauge struct{ Name, Help string }

// How old the numbers may be, so that many who ask are one query, and how long the database has to find them all.
const (
	gaugesFreshFor = 5 * time.Second
	gaugesTimeout  = 2 * time.Second
)

// Collector makes metrics of the pool's use and of what the gauges' queries find. All replicas of a service find the
// same: whoever adds up takes the maximum. When the database does not answer there are no numbers, rather than old ones,
// and database_gauges_up is 0.
func Collector(pool *pgxpool.Pool, gauges ...[]Gauges) prometheus.Collector {
	return &collector{pool: pool, gauges: slices.Concat(gauges...)}
}

type collector struct {
	pool   *pgxpool.Pool
	gauges []Gauges

	mu    sync.Mutex // one query at a time, for everybody who asks
	asked time.Time
	found []prometheus.Metric
	up    bool // found is all that there is to find
}

var (
	gaugesUp = prometheus.NewDesc("database_gauges_up",
		"1 if the numbers from the database are there, 0 if it did not give them.", nil, nil)
	poolConnections = prometheus.NewDesc("database_pool_connections",
		"Connections to the database by what they are at.", []string{"state"}, nil)
	poolLimit = prometheus.NewDesc("database_pool_limit_connections",
		"How many connections to the database there can be.", nil, nil)
	poolAcquires = prometheus.NewDesc("database_pool_acquires_total",
		"How often somebody got a connection.", nil, nil)
	poolWaits = prometheus.NewDesc("database_pool_waits_total",
		"How often somebody had to wait for one.", nil, nil)
	poolWaitSeconds = prometheus.NewDesc("database_pool_wait_seconds_total",
		"How long they have waited, together.", nil, nil)
)

func (g Gauges) desc(v Gauge) *prometheus.Desc {
	return prometheus.NewDesc(v.Name, v.Help, g.Labels, nil)
}

// Describe and Collect are prometheus.Collector's.
func (c *collector) Describe(to chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{gaugesUp, poolConnections, poolLimit, poolAcquires, poolWaits, poolWaitSeconds} {
		to <- desc
	}
	for _, g := range c.gauges {
		for _, v := range g.Values {
			to <- g.desc(v)
		}
	}
}

func (c *collector) Collect(to chan<- prometheus.Metric) {
	stat := c.pool.Stat()
	number := func(kind prometheus.ValueType, desc *prometheus.Desc, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(desc, kind, value, labels...)
	}
	number(prometheus.GaugeValue, poolConnections, float64(stat.AcquiredConns()), "used")
	number(prometheus.GaugeValue, poolConnections, float64(stat.IdleConns()), "idle")
	number(prometheus.GaugeValue, poolConnections, float64(stat.ConstructingConns()), "connecting")
	number(prometheus.GaugeValue, poolLimit, float64(stat.MaxConns()))
	number(prometheus.CounterValue, poolAcquires, float64(stat.AcquireCount()))
	number(prometheus.CounterValue, poolWaits, float64(stat.EmptyAcquireCount()))
	number(prometheus.CounterValue, poolWaitSeconds, stat.EmptyAcquireWaitTime().Seconds())

	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.asked) > gaugesFreshFor {
		found, err := c.ask()
		if err != nil {
			slog.Warn("no numbers from the database", "error", err.Error())
		}
		c.asked, c.found, c.up = time.Now(), found, err == nil
	}
	up := 0.0
	if c.up {
		up = 1
	}
	number(prometheus.GaugeValue, gaugesUp, up)
	for _, m := range c.found {
		to <- m
	}
}

// ask runs all queries.
func (c *collector) ask() ([]prometheus.Metric, error) {
	// Prometheus' interface has no context. One of a request would be wrong, too: what is found is for others as well.
	ctx, cancel := context.WithTimeout(context.Background(), gaugesTimeout)
	defer cancel()
	var found []prometheus.Metric
	for _, g := range c.gauges {
		labels, numbers := make([]string, len(g.Labels)), make([]float64, len(g.Values))
		var columns []any
		for i := range labels {
			columns = append(columns, &labels[i])
		}
		for i := range numbers {
			columns = append(columns, &numbers[i])
		}
		rows, err := c.pool.Query(ctx, g.Query, g.Args...)
		if err == nil {
			_, err = pgx.ForEachRow(rows, columns, func() error {
				for i, v := range g.Values {
					found = append(found, prometheus.MustNewConstMetric(g.desc(v), prometheus.GaugeValue, numbers[i], labels...))
				}
				return nil
			})
		}
		if err != nil {
			return nil, fmt.Errorf("find %s: %w", g.Values[0].Name, err)
		}
	}
	return found, nil
}
