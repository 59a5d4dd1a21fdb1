package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// purgeBatch is how many rows a transaction of Purge deletes and locks at most.
const purgeBatch = 1000

// Purge deletes the rows of a table whose column is earlier than before and, if condition is not empty, that meet the
// condition. It returns how many rows it has deleted. It deletes the oldest rows first, in batches of one transaction
// each, and pauses after each batch for as long as the batch took. The column needs an index, so that the cost depends
// on the number of deleted rows only. Rows that are locked, for example by another replica that purges, are skipped.
func Purge(
	ctx context.Context, pool *pgxpool.Pool, table, column string, before time.Time, condition string,
) (int, error) {
	if condition != "" {
		condition = " AND " + condition
	}
	deleted := 0
	var from *time.Time // end of the previous batch, so that the next one does not scan the deleted rows again
	for {
		began := time.Now()
		var rows int
		var batch pgx.Batch // one transaction, whose commit does not wait for the disk
		batch.Queue(`SELECT set_config('synchronous_commit', 'off', true)`)
		batch.Queue(`
			WITH deleted AS (
				DELETE FROM `+table+` WHERE ctid = ANY (ARRAY(
					SELECT ctid FROM `+table+`
					WHERE `+column+` < $1 AND `+column+` >= coalesce($2, timestamptz '-infinity')`+condition+`
					ORDER BY `+column+` LIMIT $3 FOR UPDATE SKIP LOCKED))
				RETURNING `+column+` AS at)
			SELECT count(*), max(at) FROM deleted`, before, from, purgeBatch).
			QueryRow(func(row pgx.Row) error { return row.Scan(&rows, &from) })
		if err := pool.SendBatch(ctx, &batch).Close(); err != nil {
			return deleted, fmt.Errorf("purge %s: %w", table, err)
		}
		deleted += rows
		if rows < purgeBatch {
			return deleted, nil
		}
		select {
		case <-ctx.Done():
			return deleted, ctx.Err()
		case <-time.After(time.Since(began)):
		}
	}
}
