// A bridge from the wire suite to the Flight SQL driver of ADBC for Go, through the calls that a Go program makes.
//
// One JSON request per line of the standard input, one JSON answer per line of the standard output, in the order in
// which they are done, with the request's id and {"answer": ...}, {"refused": "the driver's error"}, or {"broken": "..."} for
// what is no error of the driver's but one of the bridge's own.
package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/apache/arrow-adbc/go/adbc"
	"github.com/apache/arrow-adbc/go/adbc/driver/flightsql"
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

type request struct {
	ID         int               `json:"id"`
	Op         string            `json:"op"`
	Connection int               `json:"connection"`
	SQL        string            `json:"sql"`
	Options    map[string]string `json:"options"`
	Data       string            `json:"data"`
	Catalog    *string           `json:"catalog"`
	Schema     *string           `json:"schema"`
	Table      *string           `json:"table"`
	Column     *string           `json:"column"`
	Types      []string          `json:"types"`
	Depth      int               `json:"depth"`
	Key        string            `json:"key"`
	Value      string            `json:"value"`
	Partitions []string          `json:"partitions"`
	Prepare    bool              `json:"prepare"`
	After      float64           `json:"after"`
}

type table struct {
	Columns []string `json:"columns"`
	Types   []string `json:"types"`
	Rows    [][]any  `json:"rows"`
}

type opened struct {
	database   adbc.Database
	connection adbc.Connection
}

var (
	mutex       sync.Mutex
	connections = map[int]opened{}
	newest      int
)

// operations are the calls on an open connection; each is answered with what it returns.
var operations = map[string]func(context.Context, adbc.Connection, request) (any, error){
	"query":           query,
	"count":           count,
	"update":          update,
	"schema":          executeSchema,
	"parameter_types": parameterTypes,
	"objects":         objects,
	"table_types":     tableTypes,
	"table_schema":    tableSchema,
	"info":            info,
	"ingest":          ingest,
	"commit":          commit,
	"rollback":        rollback,
	"set":             setOption,
	"get":             getOption,
	"cancel":          cancel,
	"partitions":      partitions,
	"read_partitions": readPartitions,
}

func main() {
	lines := bufio.NewReaderSize(os.Stdin, 1<<20)
	answers := json.NewEncoder(os.Stdout)
	answers.SetEscapeHTML(false)
	var writing sync.Mutex
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		go func() {
			reply := answer(line)
			writing.Lock()
			defer writing.Unlock()
			if err := answers.Encode(reply); err != nil {
				_ = answers.Encode(map[string]any{"id": reply["id"], "broken": err.Error()})
			}
		}()
	}
}

func answer(line []byte) (reply map[string]any) {
	var asked request
	defer func() {
		if crash := recover(); crash != nil {
			reply = map[string]any{"id": asked.ID, "broken": fmt.Sprint(crash)}
		}
	}()
	if err := json.Unmarshal(line, &asked); err != nil {
		return map[string]any{"id": asked.ID, "broken": err.Error()}
	}
	ctx, stop := context.WithTimeout(context.Background(), 100*time.Second)
	defer stop()
	result, err := carryOut(ctx, asked)
	var refused adbc.Error
	switch {
	case errors.As(err, &refused):
		return map[string]any{"id": asked.ID, "refused": err.Error()}
	case err != nil:
		return map[string]any{"id": asked.ID, "broken": err.Error()}
	}
	return map[string]any{"id": asked.ID, "answer": result}
}

func carryOut(ctx context.Context, asked request) (any, error) {
	if asked.Op == "open" {
		return open(ctx, asked.Options)
	}
	mutex.Lock()
	found, known := connections[asked.Connection]
	if asked.Op == "close" {
		delete(connections, asked.Connection)
	}
	mutex.Unlock()
	if !known {
		return nil, fmt.Errorf("no connection %d", asked.Connection)
	}
	if asked.Op == "close" {
		return nil, errors.Join(found.connection.Close(), found.database.Close())
	}
	operation, known := operations[asked.Op]
	if !known {
		return nil, fmt.Errorf("no operation %q", asked.Op)
	}
	return operation(ctx, found.connection, asked)
}

// open returns the number of a new connection.
func open(ctx context.Context, options map[string]string) (any, error) {
	database, err := flightsql.NewDriver(memory.DefaultAllocator).NewDatabase(options)
	if err != nil {
		return nil, err
	}
	connection, err := database.Open(ctx)
	if err != nil {
		return nil, errors.Join(err, database.Close())
	}
	mutex.Lock()
	defer mutex.Unlock()
	newest++
	connections[newest] = opened{database, connection}
	return newest, nil
}

// withStatement runs use on a new statement that holds the SQL, is prepared if asked, and has the request's first batch
// bound to it, if there is any.
func withStatement(ctx context.Context, c adbc.Connection, asked request, use func(adbc.Statement) error) (err error) {
	statement, err := c.NewStatement()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, statement.Close()) }()
	if err := statement.SetSqlQuery(asked.SQL); err != nil {
		return err
	}
	if asked.Prepare || asked.Data != "" {
		if err := statement.Prepare(ctx); err != nil {
			return err
		}
	}
	if asked.Data != "" {
		reader, err := received(asked.Data)
		if err != nil {
			return err
		}
		defer reader.Release()
		if !reader.Next() {
			return fmt.Errorf("no batch to bind: %v", reader.Err())
		}
		if err := statement.Bind(ctx, reader.RecordBatch()); err != nil {
			return err
		}
	}
	return use(statement)
}

func query(ctx context.Context, c adbc.Connection, asked request) (result any, err error) {
	err = withStatement(ctx, c, asked, func(statement adbc.Statement) error {
		reader, _, err := statement.ExecuteQuery(ctx)
		if err != nil {
			return err
		}
		result, err = readAll(reader)
		return err
	})
	return result, err
}

// readAll returns the rows of a reader, which it releases.
func readAll(reader array.RecordReader) (table, error) {
	defer reader.Release()
	all := table{names(reader.Schema()), types(reader.Schema()), [][]any{}}
	for reader.Next() {
		all.Rows = append(all.Rows, rowsOf(reader.RecordBatch())...)
	}
	return all, reader.Err()
}

func count(ctx context.Context, c adbc.Connection, asked request) (any, error) {
	var rows int64
	err := withStatement(ctx, c, asked, func(statement adbc.Statement) error {
		reader, _, err := statement.ExecuteQuery(ctx)
		if err != nil {
			return err
		}
		defer reader.Release()
		for reader.Next() {
			rows += reader.RecordBatch().NumRows()
		}
		return reader.Err()
	})
	return rows, err
}

func update(ctx context.Context, c adbc.Connection, asked request) (any, error) {
	var rows int64
	err := withStatement(ctx, c, asked, func(statement adbc.Statement) (err error) {
		rows, err = statement.ExecuteUpdate(ctx)
		return err
	})
	return rows, err
}

func executeSchema(ctx context.Context, c adbc.Connection, asked request) (any, error) {
	var schema *arrow.Schema
	err := withStatement(ctx, c, asked, func(statement adbc.Statement) (err error) {
		schema, err = statement.(adbc.StatementExecuteSchema).ExecuteSchema(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	return table{names(schema), types(schema), nil}, nil
}

func parameterTypes(ctx context.Context, c adbc.Connection, asked request) (any, error) {
	var schema *arrow.Schema
	asked.Prepare = true
	err := withStatement(ctx, c, asked, func(statement adbc.Statement) (err error) {
		schema, err = statement.GetParameterSchema()
		return err
	})
	if err != nil {
		return nil, err
	}
	return table{names(schema), types(schema), nil}, nil
}

func objects(ctx context.Context, c adbc.Connection, asked request) (any, error) {
	depth := adbc.ObjectDepth(asked.Depth)
	reader, err := c.GetObjects(ctx, depth, asked.Catalog, asked.Schema, asked.Table, asked.Column, asked.Types)
	if err != nil {
		return nil, err
	}
	return readAll(reader)
}

func tableTypes(ctx context.Context, c adbc.Connection, _ request) (any, error) {
	reader, err := c.GetTableTypes(ctx)
	if err != nil {
		return nil, err
	}
	return readAll(reader)
}

func tableSchema(ctx context.Context, c adbc.Connection, asked request) (any, error) {
	schema, err := c.GetTableSchema(ctx, asked.Catalog, asked.Schema, *asked.Table)
	if err != nil {
		return nil, err
	}
	return table{names(schema), types(schema), nil}, nil
}

func info(ctx context.Context, c adbc.Connection, _ request) (any, error) {
	codes := []adbc.InfoCode{
		adbc.InfoVendorName, adbc.InfoVendorVersion, adbc.InfoVendorArrowVersion, adbc.InfoVendorSql,
		adbc.InfoVendorSubstrait, adbc.InfoDriverName, adbc.InfoDriverVersion,
	}
	reader, err := c.GetInfo(ctx, codes)
	if err != nil {
		return nil, err
	}
	all, err := readAll(reader)
	if err != nil {
		return nil, err
	}
	said := map[string]any{}
	for _, row := range all.Rows {
		said[adbc.InfoCode(row[0].(uint32)).String()] = row[1]
	}
	return said, nil
}

func ingest(ctx context.Context, c adbc.Connection, asked request) (rows any, err error) {
	statement, err := c.NewStatement()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, statement.Close()) }()
	for key, value := range asked.Options {
		if err := statement.SetOption(key, value); err != nil {
			return nil, err
		}
	}
	reader, err := received(asked.Data)
	if err != nil {
		return nil, err
	}
	defer reader.Release()
	if err := statement.BindStream(ctx, reader); err != nil {
		return nil, err
	}
	return statement.ExecuteUpdate(ctx)
}

func commit(ctx context.Context, c adbc.Connection, _ request) (any, error) {
	return nil, c.Commit(ctx)
}

func rollback(ctx context.Context, c adbc.Connection, _ request) (any, error) {
	return nil, c.Rollback(ctx)
}

func setOption(_ context.Context, c adbc.Connection, asked request) (any, error) {
	return nil, c.(adbc.PostInitOptions).SetOption(asked.Key, asked.Value)
}

// getOption returns the option, or nil where the driver says that the server has not told it.
func getOption(_ context.Context, c adbc.Connection, asked request) (any, error) {
	value, err := c.(adbc.GetSetOptions).GetOption(asked.Key)
	var refused adbc.Error
	if errors.As(err, &refused) && refused.Code == adbc.StatusNotFound {
		return nil, nil
	}
	return value, err
}

// cancel starts the statement, cancels its context after a while, and returns the seconds until the driver's error.
func cancel(ctx context.Context, c adbc.Connection, asked request) (any, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() {
		_, err := count(ctx, c, asked)
		ended <- err
	}()
	select {
	case err := <-ended:
		return nil, fmt.Errorf("the statement ended before it was cancelled: %v", err)
	case <-time.After(time.Duration(asked.After * float64(time.Second))):
	}
	stop()
	cancelled := time.Now()
	if err := <-ended; err == nil {
		return nil, errors.New("the statement ran to its end although it was cancelled")
	}
	return exactFloat(time.Since(cancelled).Seconds()), nil
}

func partitions(ctx context.Context, c adbc.Connection, asked request) (any, error) {
	parts := []string{}
	err := withStatement(ctx, c, asked, func(statement adbc.Statement) error {
		_, found, _, err := statement.ExecutePartitions(ctx)
		for _, part := range found.PartitionIDs {
			parts = append(parts, base64.StdEncoding.EncodeToString(part))
		}
		return err
	})
	return parts, err
}

func readPartitions(ctx context.Context, c adbc.Connection, asked request) (any, error) {
	var all table
	for _, text := range asked.Partitions {
		part, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return nil, err
		}
		reader, err := c.ReadPartition(ctx, part)
		if err != nil {
			return nil, err
		}
		read, err := readAll(reader)
		if err != nil {
			return nil, err
		}
		all = table{read.Columns, read.Types, append(all.Rows, read.Rows...)}
	}
	return all, nil
}
