// Command probe is the only program in the test's pods. With "serve" it serves its host's name,
// once it has written that to a file, with "wait" it waits as the
// container does that a pod is built around, and with a URL it prints what is there.
package main

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	switch os.Args[1] {
	case "serve":
		name, err := os.Hostname()
		if err != nil {
			log.Fatal(err)
		}
		if err := os.WriteFile("name", []byte(name), 0o600); err != nil {
			log.Fatal(err)
		}
		log.Print("serving")
		log.Fatal(http.ListenAndServe(":8080", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, name) })))
	case "wait":
		end := make(chan os.Signal, 1)
		signal.Notify(end, syscall.SIGTERM, syscall.SIGINT)
		<-end
	default:
		res, err := http.Get(os.Args[1])
		if err != nil {
			log.Fatal(err)
		}
		if _, err := io.Copy(os.Stdout, res.Body); err != nil {
			log.Fatal(err)
		}
	}
}
