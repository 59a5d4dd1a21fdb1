// Command daprd is Dapr's sidecar runtime. It is built with Dapr's tag stablecomponents and registers two more
// components that this project uses and that are not stable in Dapr. Dapr itself is changed only by the command patch.
//
// A build with all components (the tag allcomponents) takes about twice as long.
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
