package demo

import (
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	cellWidth = 24 // "12:00:05 ████████ 59 s" and a gap
	barWidth  = 8
)

// epochGrid shows the epochs, oldest first, in at most so many lines: living
// ones with the time that they have left, and, so far as there is room, the
// latest purged ones with how late that was.
func epochGrid(s snapshot, width, lines int) []string {
	columns := max(width/cellWidth, 1)
	living, purged := epochCounts(s.epochs)
	room := columns * lines
	shown := s.epochs
	if len(shown) > room {
		first := min(max(purged-columns, 0), len(shown)-1) // a line of purged ones stays
		if living < room {
			first = len(shown) - room
		}
		shown = shown[first:min(first+room, len(shown))]
	}
	var grid []string
	for i := range shown {
		if i%columns == 0 {
			grid = append(grid, "")
		}
		cell := epochCell(shown[i], s.policy.Window, s.now)
		padding := max(cellWidth-utf8.RuneCountInString(unstyled(cell)), 0)
		grid[len(grid)-1] += cell + strings.Repeat(" ", padding)
	}
	return grid
}

func epochCell(e watchedEpoch, window time.Duration, now time.Time) string {
	start := e.Epoch.StartTime().Format(time.TimeOnly) + " "
	left := e.Deadline.Sub(now)
	switch {
	case e.Purged:
		return styleDim + start + styleReset + styleGreen + fmt.Sprintf("✓ gone +%d ms", milliseconds(e.Lag)) + styleReset
	case left <= 0:
		return start + styleRed + "due" + styleReset
	}
	share := float64(left) / float64(window)
	style := styleGreen
	switch {
	case share < 0.1:
		style = styleRed
	case share < 0.3:
		style = styleYellow
	}
	return start + style + bar(share) + styleReset + " " + countdown(left)
}

func countdown(left time.Duration) string {
	if left > 100*time.Second {
		return fmt.Sprintf("%d min", int(math.Ceil(left.Minutes())))
	}
	return fmt.Sprintf("%d s", int(math.Ceil(left.Seconds())))
}

// bar is a share of barWidth columns, in eighths of one.
func bar(share float64) string {
	eighths := int(math.Ceil(min(max(share, 0), 1) * barWidth * 8))
	text := strings.Repeat("█", eighths/8)
	if part := eighths % 8; part > 0 {
		text += string([]rune(" ▏▎▍▌▋▊▉")[part])
	}
	return text + strings.Repeat("·", barWidth-utf8.RuneCountInString(text))
}
