// Package app runs a service from start to stop.
//
// [Main] reads the configuration and the signals. [Open] connects the service to its sidecar and its database;
// [Connect] does so for a service without a database. [Service.Serve] listens, runs the background workers, and shuts
// down: first the requests in progress finish, then the workers stop.
package app
