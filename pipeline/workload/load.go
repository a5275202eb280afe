package workload

import (
	"math"
	"time"
)

// The day is a curve of two waves: least at 4 in the morning (0.25 of the
// mean), a shoulder at 9, most at half past 7 in the evening.
const (
	maxLoad  = 1.65 // above the curve's peak of 1.61
	daySteps = 1440
)

// day gives the load of each instant; 1 is the mean of a day.
type day struct {
	length int64 // nanoseconds
	curve  [daySteps]float64
}

func newDay(length time.Duration) day {
	d := day{length: int64(length)}
	for i := range d.curve {
		hour := 24 * (float64(i) + 0.5) / daySteps
		load := 1 +
			0.55*math.Cos(2*math.Pi*(hour-17)/24) +
			0.25*math.Cos(4*math.Pi*(hour-21)/24)
		d.curve[i] = math.Round(load*4096) / 4096
	}
	return d
}

// load of an instant, nanoseconds since a midnight.
func (d *day) load(at int64) float64 {
	return d.curve[int(float64(at%d.length)/float64(d.length)*daySteps)]
}
