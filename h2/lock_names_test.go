// SPDX-License-Identifier: Apache-2.0

// The names of functions and the locks: a name that ends in Locked or Relocking is a
// promise, which this test keeps.

package h2

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strings"
	"testing"
)

// TestLockNames reads the package's source. A function whose name ends in Locked calls
// none that ends in Relocking; one that calls
// either kind has such a name itself, or locks a mutex.
func TestLockNames(t *testing.T) {
	names, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	functions := 0
	for _, entry := range names {
		if name := entry.Name(); !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			continue
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, entry.Name(), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok || f.Body == nil {
				continue
			}
			functions++
			checkLockName(t, set, f.Name.Name, f.Body)
		}
	}
	if functions < 300 {
		t.Errorf("read %d functions, want more than 300", functions)
	}
}

// checkLockName checks one function. What a function literal within it does counts for
// it only if the literal locks nothing: goroutines and callbacks lock for themselves.
func checkLockName(t *testing.T, set *token.FileSet, name string, body *ast.BlockStmt) {
	locked, relocking := strings.HasSuffix(name, "Locked"), strings.HasSuffix(name, "Relocking")
	locks := callsLock(body)
	ast.Inspect(body, func(n ast.Node) bool {
		if literal, ok := n.(*ast.FuncLit); ok && callsLock(literal.Body) {
			return false
		}
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		callee := calleeName(call)
		at := set.Position(call.Pos())
		switch {
		case strings.HasSuffix(callee, "Relocking"):
			if locked {
				t.Errorf("%v: %s calls %s, which unlocks", at, name, callee)
			} else if !relocking && !locks {
				t.Errorf("%v: %s calls %s without a lock", at, name, callee)
			}
		case strings.HasSuffix(callee, "Locked"):
			if !locked && !relocking && !locks {
				t.Errorf("%v: %s calls %s without a lock", at, name, callee)
			}
		}
		return true
	})
}

// callsLock reports whether a function locks a mutex, outside of function literals.
func callsLock(body *ast.BlockStmt) (locks bool) {
	ast.Inspect(body, func(n ast.Node) bool {
		if _, ok := n.(*ast.FuncLit); ok {
			return false
		}
		if call, ok := n.(*ast.CallExpr); ok && calleeName(call) == "Lock" {
			locks = true
		}
		return true
	})
	return locks
}

func calleeName(call *ast.CallExpr) string {
	switch f := call.Fun.(type) {
	case *ast.Ident:
		return f.Name
	case *ast.SelectorExpr:
		return f.Sel.Name
	}
	return ""
}
