// SPDX-License-Identifier: Apache-2.0

// This file tests that every item of the checklist, and every decision of its table, has a test.

package conntest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
)

// Every item of the checklist, and every decision of its table, has a test of its own.
func TestEveryItemHasATest(t *testing.T) {
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	tests := make(map[string]bool)
	items := make(map[int]bool)
	pattern := regexp.MustCompile(`^TestItem([0-9]{2})_`)
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, declaration := range file.Decls {
			function, ok := declaration.(*ast.FuncDecl)
			if !ok || function.Recv != nil || function.Body == nil || len(function.Body.List) == 0 {
				continue
			}
			tests[function.Name.Name] = true
			if match := pattern.FindStringSubmatch(function.Name.Name); match != nil {
				number, _ := strconv.Atoi(match[1])
				items[number] = true
			}
		}
	}
	for number := 1; number <= 90; number++ {
		if !items[number] {
			t.Errorf("checklist item %d has no test named TestItem%02d_…", number, number)
		}
	}
	for decision, name := range map[string]string{
		"14":                "TestItem14_UnknownRequestEncoding",
		"17":                "TestItem17_EmptyBodyIsNotInflated",
		"18":                "TestItem18_EmptyCompressedEnvelope",
		"25 inflating":      "TestItem25_InflatingStopsAtTheLimit",
		"25 reading":        "TestItem25_OversizedMessageIsNotRead",
		"25 connection":     "TestItem25_ConnectionAfterOversizedMessage",
		"26":                "TestItem26_LimitInTheMiddleOfAStream",
		"20":                "TestItem20_AcceptEncodingList",
		"31":                "TestItem31_EndFlagInARequest",
		"58":                "TestItem58_Base64",
		"68":                "TestItem68_MalformedPercentEncoding",
		"70":                "TestItem70_StatusNumbers",
		"75":                "TestItem75_ConnectTimeout",
		"77":                "TestItem77_GRPCTimeout",
		"86":                "TestItem86_UnparseableMessages",
		"nil":               "TestDecision_NilNil",
		"unknown procedure": "TestDecision_UnknownProcedure",
		"plain errors":      "TestDecision_PlainErrors",
		"receive limit":     "TestDecision_ReceiveLimit",
	} {
		if !tests[name] {
			t.Errorf("decision %s has no test %s", decision, name)
		}
	}
}
