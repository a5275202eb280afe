//go:build goexperiment.runtimesecret && linux && (amd64 || arm64)

package secret

import "runtime/secret"

// Erases says that this build erases what Do used.
const Erases = true

// Do calls f, and erases what it used.
func Do(f func()) { secret.Do(f) }
