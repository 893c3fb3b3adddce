package manifest

import (
	"bytes"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"
)

// Marshal dumps a manifest as YAML with the keys in the order of the
// reference. Absent fields stay absent and empty lists stay empty, so Parse
// reads back the same manifest. Kind is written even if unset.
func Marshal(m *Manifest) ([]byte, error) {
	dump := *m
	dump.Kind = Kind
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := encoder.Encode(encode(reflect.ValueOf(dump))); err != nil {
		return nil, fmt.Errorf("cannot dump manifest %q: %v", m.Name, err)
	}
	if err := encoder.Close(); err != nil {
		return nil, fmt.Errorf("cannot dump manifest %q: %v", m.Name, err)
	}
	return out.Bytes(), nil
}

// encode is the reverse of decode; nil means absent.
func encode(v reflect.Value) *yaml.Node {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		return encode(v.Elem())
	case reflect.Struct:
		node := &yaml.Node{Kind: yaml.MappingNode}
		info := fieldsOf(v.Type())
		for _, name := range info.names {
			field := v.Field(info.index[name])
			value := encode(field)
			// A machine's network is the one struct held by value below the top.
			if value == nil || (field.Kind() == reflect.Struct && len(value.Content) == 0 && name != "playground") {
				continue
			}
			node.Content = append(node.Content, text(name), value)
		}
		if len(node.Content) == 0 {
			node.Style = yaml.FlowStyle
		}
		return node
	case reflect.Slice:
		if v.IsNil() {
			return nil
		}
		node := &yaml.Node{Kind: yaml.SequenceNode}
		if v.Len() == 0 || v.Type().Elem().Kind() == reflect.String {
			node.Style = yaml.FlowStyle
		}
		for i := range v.Len() {
			item := encode(v.Index(i))
			if item == nil {
				item = text("")
			}
			node.Content = append(node.Content, item)
		}
		return node
	case reflect.Map:
		if v.IsNil() {
			return nil
		}
		node := &yaml.Node{Kind: yaml.MappingNode}
		for _, name := range TaskNames(v.Interface().(map[string]InitTask)) {
			node.Content = append(node.Content, text(name), encode(v.MapIndex(reflect.ValueOf(name))))
		}
		if len(node.Content) == 0 {
			node.Style = yaml.FlowStyle
		}
		return node
	}
	if v.IsZero() {
		return nil
	}
	switch v.Kind() {
	case reflect.Bool:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: "true"}
	case reflect.Int:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: strconv.FormatInt(v.Int(), 10)}
	}
	return text(v.String())
}

// text chooses a style that reads back the same: scripts as literal blocks,
// unless a block cannot hold them.
func text(s string) *yaml.Node {
	node := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s}
	switch {
	case s == "" || strings.ContainsFunc(s, func(r rune) bool { return r != '\n' && r != '\t' && (unicode.IsControl(r) || !unicode.IsPrint(r)) }):
		node.Style = yaml.DoubleQuotedStyle
	case strings.ContainsRune(s, '\n'):
		node.Style = yaml.LiteralStyle
		// Leading blanks need an indentation indicator and trailing ones are
		// lost by some readers.
		if strings.ContainsAny(s[:1], " \t\n") || strings.Contains(s, " \n") || strings.Contains(s, "\t\n") || strings.TrimRight(s, " \t") != s {
			node.Style = yaml.DoubleQuotedStyle
		}
	}
	return node
}
