//go:build !(goexperiment.runtimesecret && linux && (amd64 || arm64))

package secret

// Erases says that this build erases what Do used.
const Erases = false

// Do calls f. This build leaves traces of what it used.
func Do(f func()) { f() }
