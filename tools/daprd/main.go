// Command daprd is Dapr's sidecar runtime, built with Dapr's tag stablecomponents, plus the two components this project uses
// that Dapr counts as alpha or beta. Of Dapr itself, only what package patch says is changed.
//
// Building everything (the tag allcomponents) would take about twice as long.
package main

import (
	"github.com/dapr/components-contrib/bindings"
	"github.com/dapr/components-contrib/bindings/aws/sqs"
	"github.com/dapr/components-contrib/nameresolution/sqlite"
	"github.com/dapr/dapr/cmd/daprd/app"
	bindingsloader "github.com/dapr/dapr/pkg/components/bindings"
	nameresolutionloader "github.com/dapr/dapr/pkg/components/nameresolution"
	"github.com/dapr/kit/logger"
)

func main() {
	nameresolutionloader.DefaultRegistry.RegisterComponent(sqlite.NewResolver, "sqlite")
	bindingsloader.DefaultRegistry.RegisterInputBinding(func(log logger.Logger) bindings.InputBinding {
		return sqs.NewAWSSQS(log)
	}, "aws.sqs")

	app.Run()
}
