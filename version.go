// SPDX-License-Identifier: Apache-2.0

// The version of this module, beside Version, which is the API's.

package connect

// ModuleVersion is the version of this module: that of its newest release, or
// of the one in preparation, as semantic versioning writes it, without a
// leading "v". Clients send it as User-Agent, and protoc-gen-connect-go prints
// it. A release is tagged with it (docs/releasing.md).
const ModuleVersion = "0.1.0"
