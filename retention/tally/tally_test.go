package tally

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mayfly/retention"
)

var (
	noon  = time.Date(2026, 11, 7, 12, 0, 0, 0, time.UTC)
	epoch = retention.Epoch{Policy: "web", Start: noon.UnixMilli(), Length: 60_000}
	ends  = noon.Add(time.Hour)
	zero  = Source{Topic: [16]byte{7}}
	one   = Source{Topic: [16]byte{7}, Partition: 1}
)

// flush reads and stores offsets of a source at a second past noon; every tenth message is refused.
func (r *Reading) flush(of Source, from, next int64, second int) {
	refused := Refused{Deadline: ends}
	for offset := from; offset < next; offset++ {
		if offset%10 == 9 {
			refused.Rejected++
		}
	}
	read := Read{Source: of, Name: "connections", Ranges: []Range{{from, next}}}
	if refused.Rejected > 0 {
		read.Refused = map[retention.Epoch]Refused{epoch: refused}
	}
	r.Read([]Read{read}, noon.Add(time.Duration(second)*time.Second))
	for offset := from; offset < next; offset++ {
		if offset%10 != 9 {
			r.Stored(epoch, ends, of, offset, 1)
		}
	}
}

// said is what a manifest would say now.
func (r *Reading) said(t *testing.T) *Tally { return parsed(t, r.Append(nil, epoch)) }

func parsed(t *testing.T, b []byte) *Tally {
	t.Helper()
	tally, err := Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	return tally
}

// topics is the sum's, of one topic with partition 0.
func topics(ranges ...Range) []Topic {
	return []Topic{{ID: [16]byte{7}, Name: "connections", Partitions: []Partition{{0, ranges}}}}
}

func check(t *testing.T, want Sum, said ...*Tally) {
	t.Helper()
	if diff := cmp.Diff(want, Merge(said)); diff != "" {
		t.Errorf("the sum (-want +got):\n%s", diff)
	}
}

func TestOneReading(t *testing.T) {
	t.Parallel()
	r := NewReading()
	r.flush(zero, 100, 200, 1)
	r.flush(one, 0, 5, 2)
	r.flush(zero, 200, 300, 3)
	early := r.said(t)
	r.flush(zero, 300, 400, 4)
	r.Settle(noon.Add(3 * time.Second))
	want := topics(Range{100, 400})
	want[0].Partitions = append(want[0].Partitions, Partition{1, []Range{{0, 5}}})
	check(t, Sum{Counts: Counts{Stored: 275, Rejected: 30}, Topics: want}, r.said(t), early)
}

func TestNothingReadIsNothing(t *testing.T) {
	t.Parallel()
	check(t, Sum{}, NewReading().said(t))
	check(t, Sum{})
}

// Who takes over reads from the last commit on, and flushes at other offsets.
func TestWhatIsReadAgainCountsOnce(t *testing.T) {
	t.Parallel()
	first := NewReading()
	for i := range 10 {
		first.flush(zero, int64(i)*100, int64(i+1)*100, i)
	}
	first.Settle(noon.Add(5 * time.Second)) // committed: 600
	lost := first.said(t)
	for name, from := range map[string]int64{"from the last commit": 600, "from one whose answer was lost": 800} {
		second := NewReading()
		second.flush(zero, from, from+150, 20)
		second.flush(zero, from+150, 1_500, 21)
		t.Run(name, func(t *testing.T) {
			check(t, Sum{Counts: Counts{Stored: 1350, Rejected: 150}, Topics: topics(Range{0, 1_500})}, lost, second.said(t))
		})
	}
}

// After a failover a writer says only what is committed; the rest is stored again.
func TestWhatWasWithdrawn(t *testing.T) {
	t.Parallel()
	first := NewReading()
	first.flush(zero, 0, 100, 1)
	first.flush(zero, 100, 200, 2)
	before := first.said(t)
	first.Settle(noon.Add(time.Second))
	after := parsed(t, first.AppendSettled(nil, epoch, noon.Add(time.Second)))
	check(t, Sum{Counts: Counts{Stored: 90, Rejected: 10}, Topics: topics(Range{0, 100})}, before, after)
	check(t, Sum{}, parsed(t, first.AppendSettled(nil, epoch, time.Time{})))
}

// Where spans lie across each other the sum says what there is at least.
func TestWhatCanNotBeToldApartIsPartial(t *testing.T) {
	t.Parallel()
	first, second := NewReading(), NewReading()
	first.flush(zero, 0, 100, 1)
	second.flush(zero, 50, 200, 2)
	check(t, Sum{Counts: Counts{Stored: 135, Rejected: 15}, Partial: true, Topics: topics(Range{0, 200})}, first.said(t), second.said(t))
}

func TestGapsStayGaps(t *testing.T) {
	t.Parallel()
	r := NewReading()
	r.Read([]Read{{Source: zero, Name: "connections", Ranges: []Range{{0, 10}, {50, 60}}}}, noon)
	r.Stored(epoch, ends, zero, 3, 1)
	r.Stored(epoch, ends, zero, 55, 1)
	r.Settle(noon)
	check(t, Sum{Counts: Counts{Stored: 2}, Topics: topics(Range{0, 10}, Range{50, 60})}, r.said(t))
}

// An epoch has offsets from its own first message to its last, not all that was read.
func TestRangesEndWithTheLastMessage(t *testing.T) {
	t.Parallel()
	r := NewReading()
	for i := range int64(20) {
		r.Read([]Read{{Source: zero, Name: "connections", Ranges: []Range{{10 * i, 10*i + 10}}}}, noon.Add(time.Duration(i)*time.Second))
		if i == 5 || i == 8 {
			r.Stored(epoch, ends, zero, 10*i+1, 1)
		}
	}
	check(t, Sum{Counts: Counts{Stored: 2}, Topics: topics(Range{50, 90})}, r.said(t))
}

// What comes past its deadline counts for the present epoch; what is of a dead epoch is forgotten.
func TestLateEventsCountForThePresent(t *testing.T) {
	t.Parallel()
	r := NewReading()
	r.Late(epoch, ends, Counts{Expired: 7}, ends.Add(time.Second))
	unsaid := r.Unsaid()
	if len(unsaid) != 1 || !unsaid[0].StartTime().Equal(ends) {
		t.Fatalf("%v have something to say", unsaid)
	}
	check(t, Sum{Counts: Counts{Expired: 7}}, parsed(t, r.Append(nil, unsaid[0])))
	if len(r.Unsaid()) != 0 {
		t.Error("it was said")
	}
	r.Read(nil, ends.Add(2*time.Hour))
	if len(r.epochs) != 0 {
		t.Error("a dead epoch is remembered")
	}
}

// However long nothing is committed, what is remembered is bounded, and counts.
func TestATrailIsBounded(t *testing.T) {
	t.Parallel()
	r := NewReading()
	for i := range 3 * mostSpans {
		r.flush(zero, int64(i)*10, int64(i+1)*10, 1)
	}
	said := r.said(t)
	if n := len(said.Trails[0].Spans); n > mostSpans {
		t.Errorf("%d spans", n)
	}
	check(t, Sum{Counts: Counts{Stored: 27 * mostSpans, Rejected: 3 * mostSpans}, Topics: topics(Range{0, 30 * mostSpans})}, said)
}

// Whatever Parse takes adds up to something that a receipt can say.
func FuzzParse(f *testing.F) {
	r := NewReading()
	f.Add(r.Append(nil, epoch))
	r.flush(zero, 100, 200, 1)
	r.flush(one, 7, 50, 2)
	r.flush(zero, 300, 301, 3)
	f.Add(r.Append(nil, epoch))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		tally, err := Parse(b)
		if err != nil {
			return
		}
		again, err := Parse(tally.append(nil))
		if err != nil {
			t.Fatalf("what it says can't be read: %v", err)
		}
		if diff := cmp.Diff(Merge([]*Tally{tally}), Merge([]*Tally{again})); diff != "" {
			t.Error(diff)
		}
		sum := Merge([]*Tally{tally, again})
		if min(sum.Stored, sum.Rejected, sum.Expired) < 0 {
			t.Errorf("%+v", sum.Counts)
		}
		for _, topic := range sum.Topics {
			for _, p := range topic.Partitions {
				for i, r := range p.Ranges {
					if r.From < 0 || r.Next <= r.From || i > 0 && r.From <= p.Ranges[i-1].Next {
						t.Errorf("ranges %v", p.Ranges)
					}
				}
			}
		}
	})
}
