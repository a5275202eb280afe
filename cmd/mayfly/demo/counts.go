package demo

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// ingestCounts is what became of the messages, from the metrics that everybody sees.
type ingestCounts struct {
	stored, duplicates int
	refused            map[string]int // by reason
}

func countIngest(g prometheus.Gatherer) (ingestCounts, error) {
	c := ingestCounts{refused: map[string]int{}}
	families, err := g.Gather()
	if err != nil {
		return c, fmt.Errorf("reading the metrics: %w", err)
	}
	for _, family := range families {
		if family.GetName() != "mayfly_ingest_events_total" {
			continue
		}
		for _, metric := range family.GetMetric() {
			n := int(metric.GetCounter().GetValue())
			switch result := metric.GetLabel()[0].GetValue(); {
			case result == "stored":
				c.stored = n
			case result == "duplicate":
				c.duplicates = n
			case n > 0:
				c.refused[result] = n
			}
		}
	}
	return c, nil
}

func (c ingestCounts) rejected() int {
	sum := 0
	for _, n := range c.refused {
		sum += n
	}
	return sum
}

// reasons is "3 bad_ip, 1 no_time", or "".
func (c ingestCounts) reasons() string {
	var parts []string
	for _, reason := range slices.Sorted(maps.Keys(c.refused)) {
		parts = append(parts, fmt.Sprintf("%d %s", c.refused[reason], reason))
	}
	return strings.Join(parts, ", ")
}
