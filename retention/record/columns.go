package record

import (
	"fmt"
	"io"
	"slices"
	"unsafe"

	"mayfly/retention/address"
)

// Columns are records side by side, as a payload has them: who needs no Record of each
// row reads them from here in half the time. One that is used again allocates nothing.
type Columns struct {
	IDs        []ID
	Times      []int64
	Since      []int64
	Addresses  []address.Address
	Ports      []Ports
	Accounts   Texts
	Events     Texts
	Sessions   Texts
	Servers    Texts
	Transports Texts
	Clients    Texts
	Outcomes   Texts
	reader     columnReader
}

// Texts are a column of texts, of which many rows may have the same.
type Texts struct {
	values  []string
	numbers []uint32 // of each row's value
}

// Format writes "[texts]" for every verb.
func (Texts) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "[texts]") }

// Format writes "[records]" for every verb.
func (Columns) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "[records]") }

// Values are the texts. Some may be equal.
func (t *Texts) Values() []string { return t.values }

// Number is which of the values row i has.
func (t *Texts) Number(i int) uint32 { return t.numbers[i] }

// At is the text of row i.
func (t *Texts) At(i int) string { return t.values[t.numbers[i]] }

// Len is how many rows there are.
func (c *Columns) Len() int { return len(c.IDs) }

// Decode reads a payload, as the function Decode does. Texts lie in payload and
// in memory of c: they are valid as long as neither is written again.
func (c *Columns) Decode(payload []byte) error {
	return c.decode(unsafe.String(unsafe.SliceData(payload), len(payload)), nil)
}

// Gather makes them of records, whose texts it does not copy.
func (c *Columns) Gather(records []Record) {
	c.resize(len(records))
	for i := range records {
		r := &records[i]
		c.IDs[i], c.Times[i], c.Since[i], c.Addresses[i], c.Ports[i] = r.ID, r.Time, r.Since, r.Address, r.Ports
	}
	for i, column := range c.texts() {
		column.resize(len(records))
		for row := range records {
			if value := *stringColumns[i](&records[row]); row == 0 || value != column.values[len(column.values)-1] {
				column.values = append(column.values, value)
			}
			column.numbers[row] = uint32(len(column.values) - 1)
		}
	}
}

// texts are the columns of texts, in the order of stringColumns.
func (c *Columns) texts() [len(stringColumns)]*Texts {
	return [...]*Texts{&c.Accounts, &c.Events, &c.Sessions, &c.Servers, &c.Transports, &c.Clients, &c.Outcomes}
}

// record is row i.
func (c *Columns) record(i int) Record {
	return Record{
		ID: c.IDs[i], Time: c.Times[i], Since: c.Since[i], Address: c.Addresses[i], Ports: c.Ports[i],
		Account: c.Accounts.At(i), Event: c.Events.At(i), Session: c.Sessions.At(i), Server: c.Servers.At(i),
		Transport: c.Transports.At(i), Client: c.Clients.At(i), Outcome: c.Outcomes.At(i),
	}
}

// Wipe erases all rows, and keeps the memory for others.
func (c *Columns) Wipe() {
	c.resize(cap(c.IDs))
	clear(c.IDs)
	clear(c.Times[:cap(c.Times)])
	clear(c.Since[:cap(c.Since)])
	clear(c.Addresses[:cap(c.Addresses)])
	clear(c.Ports[:cap(c.Ports)])
	for _, column := range c.texts() {
		clear(column.values[:cap(column.values)])
		column.resize(0)
	}
	c.reader.wipe()
	c.resize(0)
}

// resize gives the columns but those of texts n rows, whatever they are.
func (c *Columns) resize(n int) {
	resize(&c.IDs, n)
	resize(&c.Times, n)
	resize(&c.Since, n)
	resize(&c.Addresses, n)
	resize(&c.Ports, n)
	c.IDs, c.Times, c.Since, c.Addresses, c.Ports = c.IDs[:n], c.Times[:n], c.Since[:n], c.Addresses[:n], c.Ports[:n]
}

// resize gives the column n rows, and no values.
func (t *Texts) resize(n int) {
	t.values, t.numbers = t.values[:0], slices.Grow(t.numbers[:0], n)[:n]
}
