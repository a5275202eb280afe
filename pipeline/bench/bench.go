// Package bench measures the way of an event from Kafka into Redis against what
// kafka-go's own group Reader needs to read it and throw it away. It holds tests
// only, nobody imports it, and "make bench" runs it.
//
// What keeps the comparison honest: every contender is a process of its own, so
// that neither the harness nor another contender is in its figures; the rounds
// are interleaved, because a machine is not equally fast all the time; all read
// the same topic, filled before; and a round in which ingest has not stored every
// event exactly once is no result.
package bench
