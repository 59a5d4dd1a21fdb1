// Command probe is the only program in the pods of the node's test. With "serve" it writes the host name to a file and
// then serves it. With "wait" it waits for a signal, as the pause container does. With a URL it prints the response to
// a GET.
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
		log.Fatal(http.ListenAndServe(":8080", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, name)
		})))
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
