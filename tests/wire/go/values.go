package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/extensions"
	"github.com/apache/arrow-go/v18/arrow/ipc"
)

const (
	clock  = "15:04:05.999999999"
	moment = "2006-01-02T" + clock
)

// told returns one value of an Arrow array in the form of tests/wire/client.py; nil where it is null.
func told(values arrow.Array, i int) any {
	// An array of the null type has no bitmap, and calls none of its values null.
	if values.IsNull(i) || values.DataType().ID() == arrow.NULL {
		return nil
	}
	if value, ok := toldNumber(values, i); ok {
		return value
	}
	if value, ok := toldTime(values, i); ok {
		return value
	}
	if value, ok := toldNested(values, i); ok {
		return value
	}
	switch values := values.(type) {
	case *array.Boolean:
		return values.Value(i)
	case *array.String:
		return values.Value(i)
	case *array.LargeString:
		return values.Value(i)
	case *array.StringView:
		return values.Value(i)
	case *array.Binary:
		return "hex:" + hex.EncodeToString(values.Value(i))
	case *array.LargeBinary:
		return "hex:" + hex.EncodeToString(values.Value(i))
	case *array.BinaryView:
		return "hex:" + hex.EncodeToString(values.Value(i))
	case *array.FixedSizeBinary:
		return "hex:" + hex.EncodeToString(values.Value(i))
	case *extensions.UUIDArray:
		return values.Value(i).String()
	case array.ExtensionArray:
		return told(values.Storage(), i)
	}
	// Types that the server never sends: as the library itself shows them.
	return values.ValueStr(i)
}

func toldNumber(values arrow.Array, i int) (any, bool) {
	switch values := values.(type) {
	case *array.Int8:
		return values.Value(i), true
	case *array.Int16:
		return values.Value(i), true
	case *array.Int32:
		return values.Value(i), true
	case *array.Int64:
		return values.Value(i), true
	case *array.Uint8:
		return values.Value(i), true
	case *array.Uint16:
		return values.Value(i), true
	case *array.Uint32:
		return values.Value(i), true
	case *array.Uint64:
		return values.Value(i), true
	case *array.Float16:
		return toldFloat(float64(values.Value(i).Float32())), true
	case *array.Float32:
		return toldFloat(float64(values.Value(i))), true
	case *array.Float64:
		return toldFloat(values.Value(i)), true
	case *array.Decimal128:
		return values.Value(i).ToString(values.DataType().(*arrow.Decimal128Type).Scale), true
	case *array.Decimal256:
		return values.Value(i).ToString(values.DataType().(*arrow.Decimal256Type).Scale), true
	}
	return nil, false
}

// toldFloat returns a number that JSON can carry, and a text for those that it cannot.
func toldFloat(value float64) any {
	switch {
	case math.IsNaN(value):
		return "nan"
	case math.IsInf(value, 1):
		return "inf"
	case math.IsInf(value, -1):
		return "-inf"
	}
	return exactFloat(value)
}

// exactFloat is written with a point or an exponent always, so that 1.0 is not read back as a whole number.
type exactFloat float64

func (value exactFloat) MarshalJSON() ([]byte, error) {
	text := fmt.Sprint(float64(value))
	if !strings.ContainsAny(text, ".e") {
		text += ".0"
	}
	return []byte(text), nil
}

func toldTime(values arrow.Array, i int) (any, bool) {
	switch values := values.(type) {
	case *array.Date32:
		return values.Value(i).ToTime().Format("2006-01-02"), true
	case *array.Date64:
		return values.Value(i).ToTime().Format("2006-01-02"), true
	case *array.Time32:
		return values.Value(i).ToTime(values.DataType().(*arrow.Time32Type).Unit).Format(clock), true
	case *array.Time64:
		return values.Value(i).ToTime(values.DataType().(*arrow.Time64Type).Unit).Format(clock), true
	case *array.Timestamp:
		kind := values.DataType().(*arrow.TimestampType)
		text := values.Value(i).ToTime(kind.Unit).UTC().Format(moment)
		if kind.TimeZone != "" {
			text += "Z"
		}
		return text, true
	case *array.MonthDayNanoInterval:
		span := values.Value(i)
		return map[string]any{"months": span.Months, "days": span.Days, "nanoseconds": span.Nanoseconds}, true
	}
	return nil, false
}

func toldNested(values arrow.Array, i int) (any, bool) {
	switch values := values.(type) {
	case *array.Struct:
		kind := values.DataType().(*arrow.StructType)
		object := make(map[string]any, values.NumField())
		for field := range values.NumField() {
			object[kind.Field(field).Name] = told(values.Field(field), i)
		}
		return object, true
	case *array.Map:
		object := map[string]any{}
		start, end := values.ValueOffsets(i)
		for entry := int(start); entry < int(end); entry++ {
			object[fmt.Sprint(told(values.Keys(), entry))] = told(values.Items(), entry)
		}
		return object, true
	case array.ListLike:
		list := []any{}
		start, end := values.ValueOffsets(i)
		for item := int(start); item < int(end); item++ {
			list = append(list, told(values.ListValues(), item))
		}
		return list, true
	case *array.DenseUnion:
		return told(values.Field(values.ChildID(i)), int(values.ValueOffset(i))), true
	case *array.SparseUnion:
		return told(values.Field(values.ChildID(i)), i), true
	case *array.Dictionary:
		return told(values.Dictionary(), values.GetValueIndex(i)), true
	}
	return nil, false
}

// rowsOf returns the rows of a batch as lists of told values.
func rowsOf(batch arrow.RecordBatch) [][]any {
	rows := make([][]any, batch.NumRows())
	for i := range rows {
		rows[i] = make([]any, batch.NumCols())
		for column := range rows[i] {
			rows[i][column] = told(batch.Column(column), i)
		}
	}
	return rows
}

// received opens an Arrow stream that came as base64 text: rows to bind or to bring.
func received(text string) (*ipc.Reader, error) {
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, err
	}
	return ipc.NewReader(bytes.NewReader(raw))
}

// names returns the columns of a schema.
func names(schema *arrow.Schema) []string {
	texts := make([]string, schema.NumFields())
	for i, field := range schema.Fields() {
		texts[i] = field.Name
	}
	return texts
}

// types returns the Arrow types of a schema, as the Go library writes them.
func types(schema *arrow.Schema) []string {
	texts := make([]string, schema.NumFields())
	for i, field := range schema.Fields() {
		texts[i] = field.Type.String()
	}
	return texts
}
