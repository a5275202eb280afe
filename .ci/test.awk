# Reads "go test -v". Keeps what each test says until its result is known:
# a failed test's words are printed, a skipped one's are its reason.

function name(line) {
	sub(/^ *(=== [A-Z]+ *|--- [A-Z]+: )/, "", line)
	sub(/ \([0-9.]+s\)$/, "", line)
	return line
}

function say(test) { printf "%s", said[test]; delete said[test] }

function forget() { for (test in said) delete said[test]; current = "" }

/^=== (RUN|NAME|CONT|PAUSE)/ { current = name($0); next }

/^ *--- PASS: / { delete said[name($0)]; next }

/^ *--- FAIL: / { print; say(name($0)); next }

/^ *--- SKIP: / {
	reason = said[name($0)]
	gsub(/[ \n]+/, " ", reason)
	skipped[++skips] = name($0) ":" reason
	delete said[name($0)]
	next
}

# The end of a package: whatever is left belongs to tests that never ended.
/^(ok  |FAIL|---|\?   )\t/ {
	if (/^FAIL/) for (test in said) say(test)
	forget()
	if (/^ok|^FAIL/) print
	for (i = listed + 1; i <= skips; i++) skipped[i] = $2 " " skipped[i]
	listed = skips
	next
}

/^(PASS|FAIL|exit status [0-9]+)$/ { current = ""; next }

# Compiler errors and what a package prints outside of its tests.
current == "" { print; next }

{ said[current] = said[current] $0 "\n" }

END {
	for (test in said) say(test)
	if (skips) print "\nskipped:"
	for (i = 1; i <= skips; i++) print "  " skipped[i]
	if (skips && ci == "true") { print "a skipped test is a failure here (CI=true)"; exit 1 }
}
