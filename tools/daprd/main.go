// Command daprd is Dapr's sidecar runtime, unchanged, with the components this project uses and no others.
//
// Upstream's own command registers every component behind build tags, which costs several times the download,
// the build and the binary; the runtime it wraps is a package, so the choice can be made here. A daprd that the
// machine already has serves as well, because it has all of these.
package main

import (
	"context"

	"github.com/dapr/components-contrib/bindings"
	"github.com/dapr/components-contrib/bindings/aws/sqs"
	"github.com/dapr/components-contrib/bindings/cron"
	contribmiddleware "github.com/dapr/components-contrib/middleware"
	"github.com/dapr/components-contrib/middleware/http/ratelimit"
	"github.com/dapr/components-contrib/nameresolution/sqlite"
	"github.com/dapr/components-contrib/pubsub/aws/snssqs"
	"github.com/dapr/components-contrib/secretstores/local/file"
	postgresql "github.com/dapr/components-contrib/state/postgresql/v2"
	"github.com/dapr/dapr/cmd/daprd/app"
	bindingsloader "github.com/dapr/dapr/pkg/components/bindings"
	middlewareloader "github.com/dapr/dapr/pkg/components/middleware/http"
	nameresolutionloader "github.com/dapr/dapr/pkg/components/nameresolution"
	pubsubloader "github.com/dapr/dapr/pkg/components/pubsub"
	secretstoresloader "github.com/dapr/dapr/pkg/components/secretstores"
	stateloader "github.com/dapr/dapr/pkg/components/state"
	"github.com/dapr/dapr/pkg/middleware"
	"github.com/dapr/kit/logger"
)

func main() {
	bindingsloader.DefaultRegistry.RegisterInputBinding(cron.NewCron, "cron")
	bindingsloader.DefaultRegistry.RegisterInputBinding(func(log logger.Logger) bindings.InputBinding {
		return sqs.NewAWSSQS(log)
	}, "aws.sqs")
	middlewareloader.DefaultRegistry.RegisterComponent(func(log logger.Logger) middlewareloader.FactoryMethod {
		return func(metadata contribmiddleware.Metadata) (middleware.HTTP, error) {
			return ratelimit.NewRateLimitMiddleware(log).GetHandler(context.Background(), metadata)
		}
	}, "ratelimit")
	nameresolutionloader.DefaultRegistry.RegisterComponent(sqlite.NewResolver, "sqlite")
	pubsubloader.DefaultRegistry.RegisterComponent(snssqs.NewSnsSqs, "aws.snssqs")
	secretstoresloader.DefaultRegistry.RegisterComponent(file.NewLocalSecretStore, "local.file")
	stateloader.DefaultRegistry.RegisterComponent(postgresql.NewPostgreSQLStateStore, "postgresql/v2")

	app.Run()
}
