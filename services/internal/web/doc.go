// Package web holds what the HTTP APIs of all services share: the router and its middleware, JSON bodies, errors in the
// contract's form, health checks, metrics and the page of the API's document.
package web
