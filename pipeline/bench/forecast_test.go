package bench

import (
	"math"
	"testing"
	"time"

	"mayfly/pipeline/capacity"
)

// TestForecast holds "mayfly plan" to what a service then has in real Redis: two epochs
// hot, the others compacted, at a rate and with ids that are between those of the curve.
func TestForecast(t *testing.T) {
	t.Parallel()
	measured, err := capacity.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	for _, of := range []struct {
		service
		hot, cold int
	}{
		{service{rate: 150, ids: "short8", sessions: true, processes: 1}, 1, 1},
		{service{rate: 150, ids: "uuid", sessions: true, processes: 1}, 1, 1},
		{service{rate: 2500, ids: "short8", sessions: true, processes: 2, most: 1}, 1, 0},
	} {
		of.window, of.epoch = 24*time.Hour, 15*time.Minute
		if of.most == 0 {
			of.most = math.MaxInt
		}
		s := startServers(t)
		m := simulate(t, s, of.service)
		empty, _ := s.figures(t)
		for i := range of.cold {
			m.write(t, m.ago(1+i))
			m.compact(t, m.ago(1+i))
		}
		for i := range of.hot {
			m.write(t, m.ago(1+of.cold+i))
		}
		memory, _ := s.figures(t)
		d := capacity.Demand{Rate: of.rate, Window: of.window, Epoch: of.epoch, IDs: of.ids, Sessions: of.sessions, Linger: time.Second}
		hot, cold := measured.Curve.Memory(d, of.processes, float64(of.hot), float64(of.cold))
		forecast, found := (hot+cold)*m.share(), float64(memory-empty)
		t.Logf("%g/s, %s: forecast %.2f MB, measured %.2f MB", of.rate, of.ids, forecast/1e6, found/1e6)
		if math.Abs(forecast/found-1) > 0.1 {
			t.Errorf("%g/s, %s: forecast %.2f MB, measured %.2f MB: more than a tenth apart", of.rate, of.ids, forecast/1e6, found/1e6)
		}
	}
}
