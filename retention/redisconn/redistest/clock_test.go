package redistest

import (
	"testing"
	"time"
)

func TestASkewedClockIsOneOfItsOwn(t *testing.T) {
	t.Parallel()
	s, clock := StartSkewed(t, time.Hour)
	client := s.Client(t)
	for _, ahead := range []time.Duration{time.Hour, -30 * time.Minute, 0} {
		clock.Set(t, ahead)
		theirs, err := client.Time(t.Context()).Result()
		if err != nil {
			t.Fatal(err)
		}
		if off := time.Until(theirs) - ahead; off.Abs() > 5*time.Second {
			t.Errorf("the clock is %v away from %v", off, ahead)
		}
	}
}
