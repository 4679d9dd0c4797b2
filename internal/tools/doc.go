// SPDX-License-Identifier: Apache-2.0

// Package tools pins the programs that check this repository, and those that its tests run, as tool
// directives of its module.
package tools
