// Package guarantee holds the tests of what Mayfly promises: thirty cases, collected
// from the ways in which real systems have broken such a promise, each run with
// the released binary on real Redis servers and a real Kafka. It has no code of its
// own, and nobody imports it.
//
// A protection counts only when its case fails with the protection taken out:
// testdata/mutants has a patch for each case that does so, and "make mutants"
// applies them to a copy one by one and expects the case to fail.
package guarantee
