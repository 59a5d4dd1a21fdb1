// Package stack runs the whole system on one machine: the servers it needs (PostgreSQL, an SNS/SQS emulator, a mail
// sink, a Stripe simulator), the eight apps and their Dapr sidecars. No container engine and no root are needed.
//
// There are two ways to run it. Up leaves a stack running that outlives the command: servers are detached, the apps
// run under `dapr run -f`, and a later Up finds what is alive, keeps it and starts the rest. Start makes every
// process a child of the caller, in a data directory and on ports of its own, without the CLI, so that a test can
// kill, freeze or restart any one of them. Both read the apps from dapr.yaml, which stays the only place that
// lists them.
//
// A stack's state is one data directory (.local): secrets.json with generated secrets, env with the variables that
// apps and sidecars inherit, run/ with one file for each running process, logs/, and the servers' data. A process is
// recorded by its id and its start time, so that an id the system has given to somebody else is never signalled.
package stack
