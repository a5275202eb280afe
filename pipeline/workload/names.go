package workload

import "math/rand/v2"

// servers are where sessions go. One logs no ports, as some always do: its
// events behind a shared address stay ambiguous.
var servers = [...]struct {
	name     string
	portless bool
}{
	{name: "fra-edge-1"}, {name: "fra-edge-2"}, {name: "fra-edge-3"}, {name: "fra-edge-4"},
	{name: "ams-edge-1"}, {name: "ams-edge-2"},
	{name: "waw-edge-1"}, {name: "waw-edge-2"},
	{name: "mad-edge-1"}, {name: "mad-edge-2"},
	{name: "hel-edge-1"},
	{name: "lis-legacy-1", portless: true},
}

// drawServer prefers the first ones: the smaller of two draws.
func drawServer(random *rand.Rand) uint8 {
	n := uint32(len(servers))
	return uint8(min(random.Uint32N(n), random.Uint32N(n)))
}

// programs are what people connect with, the frequent ones listed twice.
var programs = [...]struct{ client, transport string }{
	{"android/7.4", "tls"}, {"android/7.4", "quic"}, {"android/7.3", "tls"},
	{"ios/7.4", "tls"}, {"ios/7.4", "quic"},
	{"web/2026.10", "wss"}, {"web/2026.10", "wss"}, {"web/2026.09", "wss"},
	{"desktop/7.4.1", "tls"}, {"desktop/6.9.8", "tls"},
	{"cli/3.2", "tls"}, {"bot/1.0", "tcp"},
}

var (
	connectFailures    = [...]string{"timeout", "tls_error", "refused"}
	disconnectFailures = [...]string{"timeout", "reset"}
)

// The words of "name" ids: nobody is called that.
var moods = [...]string{
	"amber", "brave", "brisk", "calm", "clever", "cosy", "crisp", "daring",
	"deft", "eager", "early", "fabled", "fair", "gentle", "glad", "golden",
	"hardy", "hazel", "humble", "jolly", "keen", "kind", "lively", "loyal",
	"lucid", "mellow", "merry", "mild", "misty", "modest", "neat", "nimble",
	"noble", "olive", "patient", "placid", "plucky", "polite", "proud", "quick",
	"quiet", "rapid", "rosy", "rustic", "sandy", "serene", "sharp", "shy",
	"silver", "sleek", "snug", "sober", "solar", "steady", "sunny", "swift",
	"tender", "tidy", "upbeat", "vivid", "warm", "wise", "witty", "young",
}

var animals = [...]string{
	"badger", "beaver", "bison", "bittern", "bunting", "caddis", "chamois", "cormorant",
	"crane", "cricket", "curlew", "dace", "dipper", "dormouse", "dunlin", "eider",
	"ermine", "falcon", "finch", "gecko", "godwit", "grebe", "gudgeon", "hare",
	"harrier", "heron", "hobby", "hoopoe", "ibex", "jackdaw", "kestrel", "lapwing",
	"lark", "linnet", "loach", "lynx", "marmot", "marten", "merlin", "minnow",
	"newt", "nuthatch", "osprey", "otter", "ouzel", "perch", "pipit", "plover",
	"puffin", "redstart", "robin", "roach", "sandpiper", "seal", "shrew", "siskin",
	"stoat", "swallow", "swift", "teal", "tern", "vole", "wagtail", "wren",
}
