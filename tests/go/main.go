// A program as teams have them in Go: the plain struct, encoding/json, and a Kafka client that knows nothing of ingestd.
//
//	interop read  BROKERS TOPIC COUNT   prints each record as a JSON line: what the struct makes of it
//	interop write BROKERS TOPIC         takes events as JSON lines, writes them through the struct, prints each value
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

type Event struct {
	ID            string                 `json:"id"`
	Type          string                 `json:"type"`
	Level         string                 `json:"level"`
	Service       string                 `json:"service"`
	Component     string                 `json:"component"`
	Message       string                 `json:"message"`
	Timestamp     time.Time              `json:"timestamp"`
	CorrelationID string                 `json:"correlation_id,omitempty"`
	TraceID       string                 `json:"trace_id,omitempty"`
	SpanID        string                 `json:"span_id,omitempty"`
	Labels        map[string]string      `json:"labels,omitempty"`
	Metadata      map[string]interface{} `json:"metadata,omitempty"`
	Data          interface{}            `json:"data,omitempty"`
}

type record struct {
	Event   Event             `json:"event"`
	Value   string            `json:"value"`
	Again   string            `json:"again"` // the struct as encoding/json writes it
	Key     string            `json:"key"`
	Headers map[string]string `json:"headers"`
}

const timeout = 60 * time.Second

func read(ctx context.Context, brokers, topic string, count int) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(brokers, ",")...), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return err
	}
	defer client.Close()
	out := json.NewEncoder(os.Stdout)
	for seen := 0; seen < count; {
		fetches := client.PollFetches(ctx)
		if errs := fetches.Errors(); len(errs) > 0 {
			return fmt.Errorf("after %d of %d records: %w", seen, count, errs[0].Err)
		}
		for _, fetched := range fetches.Records() {
			row := record{Value: string(fetched.Value), Key: string(fetched.Key), Headers: map[string]string{}}
			decoder := json.NewDecoder(bytes.NewReader(fetched.Value))
			decoder.DisallowUnknownFields()
			if err := decoder.Decode(&row.Event); err != nil {
				return fmt.Errorf("%s does not fit the struct: %w", fetched.Value, err)
			}
			for _, header := range fetched.Headers {
				row.Headers[header.Key] = string(header.Value)
			}
			again, err := json.Marshal(row.Event)
			if err != nil {
				return err
			}
			row.Again = string(again)
			if err := out.Encode(row); err != nil {
				return err
			}
			seen++
		}
	}
	return nil
}

func write(ctx context.Context, brokers, topic string) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(brokers, ",")...))
	if err != nil {
		return err
	}
	defer client.Close()
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<21)
	for lines.Scan() {
		var event Event
		if err := json.Unmarshal(lines.Bytes(), &event); err != nil {
			return err
		}
		value, err := json.Marshal(event)
		if err != nil {
			return err
		}
		sent := &kgo.Record{Topic: topic, Value: value, Headers: []kgo.RecordHeader{
			{Key: "event_type", Value: []byte(event.Type)},
			{Key: "event_level", Value: []byte(event.Level)},
			{Key: "service", Value: []byte(event.Service)},
		}}
		if event.CorrelationID != "" {
			sent.Headers = append(sent.Headers, kgo.RecordHeader{Key: "correlation_id", Value: []byte(event.CorrelationID)})
		}
		if err := client.ProduceSync(ctx, sent).FirstErr(); err != nil {
			return err
		}
		fmt.Println(string(value))
	}
	return lines.Err()
}

func run() error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	if len(os.Args) == 5 && os.Args[1] == "read" {
		count, err := strconv.Atoi(os.Args[4])
		if err != nil {
			return err
		}
		return read(ctx, os.Args[2], os.Args[3], count)
	}
	if len(os.Args) == 4 && os.Args[1] == "write" {
		return write(ctx, os.Args[2], os.Args[3])
	}
	return fmt.Errorf("usage: interop read BROKERS TOPIC COUNT | interop write BROKERS TOPIC")
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "interop:", err)
		os.Exit(1)
	}
}
