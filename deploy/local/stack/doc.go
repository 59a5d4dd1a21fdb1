// Package stack runs the whole system on one machine: the servers that it needs (PostgreSQL, an SNS/SQS emulator, a
// mail sink, a Stripe simulator), the eight apps and their Dapr sidecars. It needs neither a container engine nor
// root.
//
// There are two ways to run it. Up starts a stack that outlives the command: the servers are detached, and the apps
// run under `dapr run -f`. A later Up keeps what is running and starts the rest. Start runs every process as a child
// of the caller, without the CLI, in its own data directory and on its own ports, so that a test can kill, freeze or
// restart any of them. Both read the apps from dapr.yaml, which is the only list of them.
//
// The state of a stack is one data directory (.local):
//
//   - secrets.json, with generated secrets
//   - env, with the variables that apps and sidecars inherit
//   - run/, with one record for each running process
//   - logs/
//   - the data of the servers
//
// A record holds the id and the start time of a process. An id alone could by now belong to another process, which must
// not be signalled.
package stack
