package demo

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/term"
)

// Terminal control (ECMA-48): another screen, so that what was there before
// comes back, and colours.
const (
	enterScreen = "\x1b[?1049h\x1b[?25l"
	leaveScreen = "\x1b[?25h\x1b[?1049l"
	toTop       = "\x1b[H"
	clearLine   = "\x1b[K"
	clearBelow  = "\x1b[J"
	styleReset  = "\x1b[0m"
	styleBold   = "\x1b[1m"
	styleDim    = "\x1b[2m"
	styleRed    = "\x1b[31m"
	styleGreen  = "\x1b[32m"
	styleYellow = "\x1b[33m"
	styleCyan   = "\x1b[36m"
)

// storyMemory is how many lines of the story are kept for a tall terminal.
const storyMemory = 200

// screenView paints the whole terminal anew with each refresh. Before the first
// one and after close it is a plainView; in between, log lines wait.
type screenView struct {
	*plainView
	file  *os.File
	color bool

	// Guarded by plainView.mu as well, so that no line gets between a picture's.
	painting, closed bool
	story            []string
	waiting          bytes.Buffer // log lines
}

func (v *screenView) live() bool { return true }

func (v *screenView) say(line string) { v.tell(time.Now(), line) }

func (v *screenView) tell(at time.Time, line string) {
	v.mu.Lock()
	painting := v.painting
	if painting {
		v.story = append(v.story, at.Format(time.TimeOnly)+" "+line)
		v.story = v.story[max(0, len(v.story)-storyMemory):]
	}
	v.mu.Unlock()
	if !painting {
		v.plainView.tell(at, line)
	}
}

// Write keeps log lines for later while the picture is there.
func (v *screenView) Write(line []byte) (int, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.painting {
		return v.waiting.Write(line)
	}
	return v.log.Write(line)
}

func (v *screenView) refresh(s snapshot) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed {
		return
	}
	width, height, err := term.GetSize(int(v.file.Fd()))
	if err != nil || width < 1 || height < 1 {
		width, height = 80, 24
	}
	var out strings.Builder
	if !v.painting {
		v.painting = true
		out.WriteString(enterScreen)
	}
	out.WriteString(toTop)
	for i, line := range picture(s, v.story, width, height) {
		if i > 0 {
			out.WriteString("\r\n")
		}
		if !v.color {
			line = unstyled(line)
		}
		out.WriteString(line + styleReset + clearLine)
	}
	out.WriteString(clearBelow)
	_, _ = v.out.Write([]byte(out.String()))
}

// close gives the terminal back, with the log lines that have waited.
func (v *screenView) close() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.closed = true
	if !v.painting {
		return
	}
	v.painting = false
	_, _ = v.out.Write([]byte(leaveScreen))
	_, _ = v.waiting.WriteTo(v.log)
}

// picture lays everything out in at most height lines of at most width columns:
// what runs, the figures, the epochs, and with what is left, the end of the story.
func picture(s snapshot, story []string, width, height int) []string {
	lines := append(pictureHead(s, width), "")
	room := max(height-len(lines)-2, 2)
	grid := epochGrid(s, width, max(room/2, 1))
	lines = append(append(lines, grid...), "")
	rest := max(height-len(lines), 0)
	for _, line := range story[max(0, len(story)-rest):] {
		lines = append(lines, storyStyle(line))
	}
	lines = lines[:min(len(lines), height)]
	for i := range lines {
		lines[i] = cut(lines[i], width)
	}
	return lines
}

func pictureHead(s snapshot, width int) []string {
	title := styleBold + "mayfly demo" + styleReset
	clock := fmt.Sprintf("%s  Ctrl-C ends it", clockTime(s.running))
	gap := max(width-len("mayfly demo")-len(clock), 2)
	lookups := fmt.Sprintf("%d look-ups answered what was sent", s.lookups)
	if s.wrong > 0 {
		lookups += fmt.Sprintf("  %s%d did not%s", styleRed+styleBold, s.wrong, styleReset)
	}
	living, purged := epochCounts(s.epochs)
	lines := []string{title + strings.Repeat(" ", gap) + styleDim + clock}
	for _, line := range headline(s) {
		lines = append(lines, styleDim+line)
	}
	lines = append(lines, "", fmt.Sprintf("%s sent  %s%s stored%s  %s refused  %s duplicates", grouped(s.produced),
		styleBold, grouped(s.counts.stored), styleReset, grouped(s.counts.rejected()), grouped(s.counts.duplicates)))
	if reasons := s.counts.reasons(); reasons != "" {
		lines = append(lines, styleDim+"refused: "+reasons)
	}
	return append(lines, fmt.Sprintf("%d epochs live, %d purged  %s", living, purged, lookups))
}

func clockTime(d time.Duration) string {
	seconds := int(d / time.Second)
	return fmt.Sprintf("%02d:%02d", seconds/60, seconds%60)
}

// storyStyle makes what matters stand out.
func storyStyle(line string) string {
	at, text, _ := strings.Cut(line, " ")
	style := ""
	switch {
	case strings.HasPrefix(text, "WRONG"):
		style = styleRed + styleBold
	case strings.HasPrefix(text, "epoch "):
		style = styleGreen
	case strings.HasPrefix(text, "looked up"):
		style = styleCyan
	}
	return styleDim + at + styleReset + " " + style + text
}

// cut shortens a line to so many columns; control sequences take none. Every
// character that the demo writes is one column wide.
func cut(line string, width int) string {
	var out strings.Builder
	columns := 0
	for len(line) > 0 {
		if sequence := controlSequence(line); sequence > 0 {
			out.WriteString(line[:sequence])
			line = line[sequence:]
			continue
		}
		_, size := utf8.DecodeRuneInString(line)
		if columns++; columns > width {
			break
		}
		out.WriteString(line[:size])
		line = line[size:]
	}
	return out.String()
}

// unstyled leaves the control sequences out.
func unstyled(line string) string {
	var out strings.Builder
	for len(line) > 0 {
		if sequence := controlSequence(line); sequence > 0 {
			line = line[sequence:]
			continue
		}
		out.WriteByte(line[0])
		line = line[1:]
	}
	return out.String()
}

// controlSequence is the length of the style that line begins with, or 0.
func controlSequence(line string) int {
	if !strings.HasPrefix(line, "\x1b[") {
		return 0
	}
	return strings.IndexByte(line, 'm') + 1
}
