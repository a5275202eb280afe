package capacity

import (
	"fmt"
	"math"
	"time"

	"mayfly/retention/warden"
)

// Line is one figure of a plan and where it comes from.
type Line struct {
	Part  string  `json:"part"`
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit,omitempty"`
	From  string  `json:"from"`
}

// Plan is what a service needs.
type Plan struct {
	Demand  Demand  `json:"-"`
	Machine Machine `json:"measured_on"`
	Lines   []Line  `json:"lines"`
}

// Find gives the value of a line.
func (p *Plan) Find(part, name string) (float64, bool) {
	for _, l := range p.Lines {
		if l.Part == part && l.Name == name {
			return l.Value, true
		}
	}
	return 0, false
}

// What is left free.
const (
	busy = 0.6  // of a core, at the peak
	full = 0.75 // of a node's memory: buffers of replicas, the allocator, unequal slots
)

// hotEpochs are in the hot tier at most: the one being written, and the one before it
// until it is compacted.
const hotEpochs = 2

// shortest is compact.min_window's default: below it nothing is compacted.
const shortest = 10 * time.Minute

// plan is one under way.
type plan struct {
	Plan
	m Measured
	// What later parts need of earlier ones.
	peak            float64
	ingest          float64 // processes
	shards          uint32
	epochs, perSecs float64 // live epochs; events a second that memory counts
}

// Make makes the plan of a demand.
func Make(m Measured, d Demand) (Plan, error) {
	if err := d.Validate(); err != nil {
		return Plan{}, err
	}
	if err := m.knows(d); err != nil {
		return Plan{}, err
	}
	d.Cold = d.Cold && d.Window >= shortest
	p := &plan{Plan: Plan{Demand: d, Machine: m.Machine}, m: m}
	p.peak, p.epochs, p.perSecs = d.Rate*d.Peak, d.epochs(), d.stored()
	p.shards = warden.Shards(uint64(p.perSecs * d.Epoch.Seconds()))
	p.traffic()
	p.processes()
	p.kafka()
	p.redis()
	p.keyring()
	p.waiting()
	return p.Plan, nil
}

func (p *plan) line(part, name string, value float64, unit, from string, args ...any) {
	p.Lines = append(p.Lines, Line{part, name, value, unit, fmt.Sprintf(from, args...)})
}

func (p *plan) traffic() {
	d := p.Demand
	p.line("traffic", "rate", d.Rate, "/s", "--rate")
	p.line("traffic", "window", d.Window.Seconds(), "s", "--window")
	p.line("traffic", "epoch", d.Epoch.Seconds(), "s", "--epoch")
	p.line("traffic", "events a day", d.Rate*86400, "", "--rate × 86,400 s")
	p.line("traffic", "peak", p.peak, "/s", "--rate × --peak")
	p.line("traffic", "events that live", p.perSecs*d.Window.Seconds(), "", "%s × window", p.counted())
	p.line("traffic", "live epochs", p.epochs, "", "window / epoch, and the one being written")
	p.line("traffic", "shards per view and epoch", float64(p.shards), "", "as the warden lays out an epoch of so many events")
	advice := ""
	if p.inShard() > mostInShard {
		advice = ": a look-up reads all of them while they are hot, choose a shorter --epoch"
	}
	p.line("traffic", "events per shard", p.inShard(), "", "events of an epoch / shards%s", advice)
}

// mostInShard is how many records of a hot shard a look-up may read.
const mostInShard = 250_000

func (p *plan) inShard() float64 { return p.perSecs * p.Demand.Epoch.Seconds() / float64(p.shards) }

// counted names the rate of stored.
func (p *plan) counted() string {
	if p.perSecs == p.Demand.Rate {
		return "--rate"
	}
	return "--rate × --peak (the window is shorter than a day)"
}

// crew is how many processes do so much CPU work, with one to spare.
func crew(cores float64) float64 { return math.Ceil(cores/busy) + 1 }

func (p *plan) processes() {
	const rule = "a core each, 60 %% busy at the peak, one to spare"
	cpu := p.m.ofIngest(func(r Run) float64 { return r.CPUMicros })
	memory := p.m.ofIngest(func(r Run) float64 { return r.PeakMB })
	cores := p.peak * cpu / 1e6
	p.ingest = crew(cores)
	p.line("ingest", "cores at the peak", cores, "", "%.2f µs an event (runs: ingest, cpu_us_per_event)", cpu)
	p.line("ingest", "processes", p.ingest, "", rule)
	p.line("ingest", "memory of each", memory*1e6, "B", "most of one at full speed (runs: ingest, peak_rss_mb)")
	if p.Demand.Cold {
		tier := p.m.Curve.like(p.Demand.Rate)
		cores := p.peak * tier.CompactMicros / 1e6
		p.line("compact", "cores at the peak", cores, "", "%.2f µs an event (curve: tiers, compact_cpu_us)", tier.CompactMicros)
		p.line("compact", "processes", crew(cores), "", rule)
	}
	look := p.lookup()
	cores = p.Demand.Lookups * look.cpu
	p.line("desk", "cores", cores, "", "--lookups × %.3f s (curve: look-ups, cpu_seconds)", look.cpu)
	p.line("desk", "processes", crew(cores), "", rule)
	p.line("warden", "processes", 2, "", "one active by lease, one standing by")
}

func (p *plan) kafka() {
	d := p.Demand
	partitions := float64(d.Partitions)
	if d.Partitions > 0 {
		p.line("kafka", "partitions", partitions, "", "--partitions")
	} else {
		rate := p.m.ofIngest(func(r Run) float64 { return float64(r.Events) / r.Seconds }) / float64(p.m.Traffic.Partitions)
		working := max(p.ingest-1, 1)
		partitions = math.Ceil(max(p.peak/rate/busy, 8)/working) * working
		p.line("kafka", "partitions", partitions, "", "%.0f events/s each (runs: ingest, events / seconds / partitions), a multiple of the working ingest processes", rate)
	}
	bytes := p.m.Traffic.KafkaBytes
	segment := min(max(d.Window/4, time.Minute), d.Window, time.Hour) // as "mayfly warden" asks for
	kept := d.Window + segment + 6*time.Minute
	from := fmt.Sprintf("%.1f B an event with %s (traffic: kafka_bytes_per_event)", bytes, p.m.Traffic.Codec)
	p.line("kafka", "disk of all brokers", p.perSecs*kept.Seconds()*bytes*float64(d.KafkaCopies), "B", "%s, kept for window + segment.ms + 6 min = %v, --kafka-copies", from, kept)
	p.line("kafka", "network in, producers", p.peak*bytes, "B/s", "%s at the peak", from)
	p.line("kafka", "network between brokers", p.peak*bytes*float64(d.KafkaCopies-1), "B/s", "the same, for each further copy")
	p.line("kafka", "network out, ingest", p.peak*bytes, "B/s", "the same, read once")
}

// Memory is what the data Redis has of a demand, in bytes: nothing added for head-room.
func (c *Curve) Memory(d Demand, processes int, hot, cold float64) (hotBytes, coldBytes float64) {
	perEpoch := d.stored() * d.Epoch.Seconds()
	shards := warden.Shards(uint64(perEpoch))
	frame := frameEvents(d.stored(), shards, processes, d.Linger.Seconds())
	hotBytes = hot * perEpoch * c.HotBytes(d.IDs, d.Sessions, frame)
	return hotBytes, cold * perEpoch * c.ColdBytes(d.IDs, d.Sessions, perEpoch, d.Epoch.Seconds())
}

// tiers is how many epochs are hot and how many cold.
func (p *plan) tiers() (hot, cold float64) {
	if hot = min(hotEpochs, p.epochs); !p.Demand.Cold {
		hot = p.epochs
	}
	return hot, p.epochs - hot
}

func (p *plan) redis() {
	d := p.Demand
	hot, cold := p.tiers()
	hotBytes, coldBytes := p.m.Curve.Memory(d, int(max(p.ingest-1, 1)), hot, cold)
	perEpoch := p.perSecs * d.Epoch.Seconds()
	total := hotBytes + coldBytes
	p.line("redis", "hot memory", hotBytes, "B", "%.0f epochs, %.1f B an event (curve: tiers, hot_bytes at %.0f events a frame)", hot, hotBytes/hot/perEpoch,
		frameEvents(p.perSecs, p.shards, int(max(p.ingest-1, 1)), d.Linger.Seconds()))
	if cold > 0 {
		p.line("redis", "cold memory", coldBytes, "B", "%.0f epochs, %.1f B an event (curve: tiers, cold_bytes)", cold, coldBytes/cold/perEpoch)
	}
	p.line("redis", "memory", total, "B", "hot and cold, Redis's overhead in (used_memory)")
	tier := p.m.Curve.like(d.Rate)
	cpu := p.m.ofIngest(func(r Run) float64 { return r.RedisCPUMicros })
	network := tier.HotNetwork
	if d.Cold {
		cpu += tier.RedisMicros
		network += tier.CompactNetwork
	}
	cores := p.peak * cpu / 1e6
	masters := max(math.Ceil(total/(d.NodeGB*1e9*full)), math.Ceil(cores/busy))
	if masters == 2 {
		masters = 3 // a cluster has three at least
	}
	p.line("redis", "masters", masters, "", "75 %% of --node-gb, or 60 %% of a core each: %.2f µs an event (runs: ingest, redis_cpu_us_per_event; curve: tiers, compact_redis_cpu_us)", cpu)
	p.line("redis", "nodes", masters*float64(1+d.Replicas), "", "masters × (1 + --replicas): after a failover as many as before")
	p.line("redis", "memory of each node", total/masters/full, "B", "its share, and a quarter free for buffers of replicas, the allocator and unequal slots")
	p.line("redis", "cores at the peak", cores, "", "of all masters")
	p.line("redis", "network, ingest and compact", p.peak*network, "B/s", "%.0f B an event, both ways (curve: tiers, hot_network_bytes, compact_network_bytes)", network)
	if d.Replicas > 0 {
		p.line("redis", "network to replicas", p.peak*(tier.HotNetwork+tier.Cold)*float64(d.Replicas), "B/s", "what is written, to each replica")
	}
	look := p.lookup()
	p.line("redis", "network, look-ups", d.Lookups*look.network, "B/s", "--lookups × %.1f MB (curve: look-ups, network_bytes)", look.network/1e6)
}

func (p *plan) keyring() {
	entries := 3 * p.epochs
	p.line("keyring", "nodes", float64(p.Demand.KeyringNodes), "", "--keyring-nodes: standalone, without persistence")
	p.line("keyring", "entries", entries, "", "public part, private part and wraps of each live epoch")
	p.line("keyring", "memory of each node", p.epochs*p.m.Curve.keyring(p.ingest), "B", "of an epoch that %.0f processes write (curve: tiers, keyring_bytes)", p.ingest)
}

// keyring is what an epoch takes on a keyring node: each process that writes adds a wrap.
func (c *Curve) keyring(processes float64) float64 {
	one, each := 0.0, 0.0
	for _, t := range c.Tiers {
		if t.Processes == 1 {
			one = max(one, t.Keyring)
		}
	}
	for _, t := range c.Tiers {
		if t.Processes > 1 {
			each = max(each, (t.Keyring-one)/float64(t.Processes-1))
		}
	}
	return one + each*(processes-1)
}

// looked is what one look-up takes.
type looked struct{ wall, cpu, network float64 }

// lookup scales the measured look-up of the nearest rate: so much for each cold epoch, and
// so much for each hot one, of which it reads the whole shard.
func (p *plan) lookup() looked {
	of := p.m.Curve.Lookups[0]
	for _, l := range p.m.Curve.Lookups {
		if math.Abs(math.Log(l.Rate/p.Demand.Rate)) < math.Abs(math.Log(of.Rate/p.Demand.Rate)) {
			of = l
		}
	}
	hot, cold := p.tiers()
	hot *= max(p.inShard()/float64(of.Rows), 1)
	perCold := float64(of.Epochs - 1)
	return looked{
		wall:    hot*of.HotP50 + cold*max(of.P50-of.HotP50, 0)/perCold,
		cpu:     hot*of.HotCPU + cold*max(of.CPU-of.HotCPU, 0)/perCold,
		network: hot*of.HotNetwork + cold*max(of.Network-of.HotNetwork, 0)/perCold,
	}
}

// waiting is how long people and purges wait.
func (p *plan) waiting() {
	hot, cold := p.tiers()
	p.line("look-up", "of one address over the window", p.lookup().wall, "s", "%.0f hot and %.0f cold epochs at the median (curve: look-ups, hot_p50_seconds, p50_seconds), one after the other on one desk", hot, cold)
	purge, of := p.m.ofIngest(func(r Run) float64 { return r.Purge.Seconds }), p.m.laidOut()
	p.line("purge", "unlinking an epoch", purge*float64(p.shards)/float64(of), "s", "in proportion to the shards: %.4f s for %d (runs: purge)", purge, of)
}
