package config

import (
	"errors"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// Log says what is logged to standard error, and how.
type Log struct {
	Level  string `yaml:"level" help:"debug, info, warn or error"`
	Format string `yaml:"format" help:"json, or console for people"`
}

// Validate names the setting that is wrong.
func (c Log) Validate() error {
	if _, err := c.level(); err != nil {
		return err
	}
	if c.Format != "json" && c.Format != "console" {
		return errors.New("log.format: must be json or console")
	}
	return nil
}

func (c Log) level() (zapcore.Level, error) {
	level, err := zapcore.ParseLevel(c.Level)
	if err != nil || level > zapcore.ErrorLevel {
		return 0, errors.New("log.level: must be debug, info, warn or error")
	}
	return level, nil
}

// NewLogger logs to sink: for commands that is standard error, because standard
// output is for results.
func NewLogger(c Log, sink zapcore.WriteSyncer) (*zap.Logger, error) {
	level, err := c.level()
	if err != nil {
		return nil, err
	}
	format := zap.NewProductionEncoderConfig()
	format.TimeKey = "time"
	format.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	encoder := zapcore.NewJSONEncoder(format)
	if c.Format == "console" {
		encoder = zapcore.NewConsoleEncoder(format)
	}
	return zap.New(zapcore.NewCore(encoder, zapcore.Lock(sink), level)), nil
}
